"""RL through the mask decoder: rewards are learnt, and only the adapters change."""

from functools import partial

import numpy as np
import pytest
import torch
from stand_in import build, parameters_of

from interruptions import Stops
from vesselrl.checkpoints import Checkpoints
from vesselrl.rl.pixel.adapters import AdapterLearner, AdapterPolicy, Judged
from vesselrl.rl.pixel.guard import Guard
from vesselrl.rl.pixel.parameters import LearningParameters, LoraParameters
from vesselrl.rl.pixel.reward_maps import RewardMap, rewarded
from vesselrl.rl.pixel.training import learn, learned
from vesselrl.segmenters.sa2va.adapters import attach, weights_of
from vesselrl.segmenters.sa2va.decoding import load_decoder, map_of
from vesselrl.segmenters.sa2va.encoding import Encoder

OBJECTIVE = ["dice", "recall"]
LORA = LoraParameters(rank=4, alpha=8)
PARAMETERS = LearningParameters(
    unlabelled=3, labelled=0, samples=2, inner_steps=2, iterations=12, learning_rate=2e-2,
    ema_decay=0.5, clip=0.2, kl=0.02, kappa=2.0, check_every=4, patience=9,
)  # fmt: skip
SHAPES = [(32, 32), (24, 40), (40, 28), (32, 32)]


@pytest.fixture(scope="module")
def parameters(tmp_path_factory):
    return parameters_of(build(tmp_path_factory.mktemp("models") / "model", "internvl", patch=4))


@pytest.fixture(scope="module")
def world(parameters):
    """Images of several sizes, and where vessel shall be: where the model sees none."""
    rng = np.random.default_rng(0)
    encoder, found = Encoder(parameters, "vessels"), []
    for height, width in SHAPES:
        image = rng.integers(0, 256, (height, width)).astype(np.uint8)
        encoded = encoder(image)
        truth = (map_of(encoded.start, encoded, "union") < 0.5).astype(np.float32)
        maps = rewarded(image, RewardMap(truth, np.zeros_like(truth)))
        found.append((Judged(encoded, torch.from_numpy(maps)), truth))
    return found


@pytest.fixture
def decoder(parameters):
    return load_decoder(parameters)


def guard_of(world, validation=(3,)):
    def view(number, times):
        judged, truth = world[number]
        return judged.encoded, np.stack([truth] * times)

    return Guard(
        [partial(view, number, 2) for number in validation],
        [partial(view, number, 1) for number in range(3)],
        OBJECTIVE,
    )


@pytest.fixture
def train(world, decoder, tmp_path_factory):
    def run(seed=0, checkpoints=None, validation=(3,), **changes):
        settings = PARAMETERS.model_copy(update=changes)
        learner = AdapterLearner(decoder, "union", LORA, settings, OBJECTIVE, seed)
        pool = [judged for judged, _ in world[:3]]
        try:
            state = learn(
                learner, pool, pool, guard_of(world, validation), settings,
                checkpoints or Checkpoints(tmp_path_factory.mktemp("states")), "fingerprint",
            )  # fmt: skip
        except KeyboardInterrupt:
            learner._decoder.unload()
            raise
        found = learned(settings, state)
        return found, learner.release(found.weights, "base")

    return run


@pytest.mark.parametrize(("unlabelled", "labelled"), [(3, 0), (0, 3), (2, 1)])
def test_a_planted_reward_is_learnt_on_images_of_several_sizes(train, unlabelled, labelled):
    found, _ = train(unlabelled=unlabelled, labelled=labelled)
    rows = found.history
    assert rows[-1]["proxy"] > rows[0]["proxy"] + 0.03
    assert rows[-1]["ep_rew_mean"] > rows[1]["ep_rew_mean"]
    assert rows[-1]["kl"] > 0


def test_everything_but_the_adapters_stays_as_it_was_bit_for_bit(train, decoder):
    before = {name: one.clone() for name, one in decoder.state_dict().items()}
    _, adapters = train(iterations=3, validation=())
    after = decoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(one.requires_grad for one in decoder.parameters())
    moved = {name for name, one in adapters.weights.items() if "lora_B" in name and one.any()}
    for part in ("text_hidden_fcs.0", "text_hidden_fcs.2", "token_to_image.v_proj"):
        assert any(part in name for name in moved)


def test_the_first_batch_has_no_divergence_and_the_mean_reward_of_the_start(world, decoder):
    once = PARAMETERS.model_copy(update={"inner_steps": 1})
    step = AdapterLearner(decoder, "union", LORA, once, OBJECTIVE, 0).step([world[0][0]], [])
    assert float(step.kl) == pytest.approx(0, abs=1e-6)
    assert 0 < float(step.reward) < 1


def test_a_stronger_penalty_holds_the_policy_nearer_to_the_start(train):
    free, held = (train(kl=kl)[0].history[-1]["kl"] for kl in (0.0, 30.0))
    assert held < 0.3 * free


def test_the_seed_fixes_the_adapters(train):
    (one, a), (same, b), (other, c) = (train(seed=seed, iterations=2) for seed in (0, 0, 1))
    assert one.history == same.history != other.history
    assert all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
    assert not all(torch.equal(a.weights[name], c.weights[name]) for name in a.weights)


@pytest.mark.parametrize(("at", "after"), [(1, True), (2, False), (3, True)])
def test_an_interrupted_training_ends_in_the_same_adapters(train, tmp_path, at, after):
    run = partial(train, iterations=6, check_every=2, unlabelled=2, labelled=1)
    whole, expected = run(checkpoints=Checkpoints(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=Stops(tmp_path / "cut", at, after))
    resumed, found = run(checkpoints=Checkpoints(tmp_path / "cut"))
    assert resumed.history == whole.history
    for name, one in expected.weights.items():
        torch.testing.assert_close(found.weights[name], one, rtol=0, atol=0)


def test_the_start_is_kept_when_the_reward_misleads(world, decoder, tmp_path):
    judged, _ = world[3]
    own = (map_of(judged.encoded.start, judged.encoded, "union") > 0.5).astype(np.float32)
    guard = Guard([lambda: (judged.encoded, np.stack([own, own]))], [], OBJECTIVE)
    settings = PARAMETERS.model_copy(update={"kl": 0.0})
    learner = AdapterLearner(decoder, "union", LORA, settings, OBJECTIVE, 0)
    pool = [judged for judged, _ in world[:3]]
    state = learn(learner, pool, [], guard, settings, Checkpoints(tmp_path), "fingerprint")
    found = learned(settings, state)
    assert found.result["kept_step"] == 0
    assert found.result["gained"] == 0
    adapters = learner.release(found.weights, "base")
    assert not any(one.any() for name, one in adapters.weights.items() if "lora_B" in name)


def test_what_is_kept_gives_the_maps_that_were_looked_at(world, train, decoder):
    found, adapters = train(validation=())
    attached = attach(decoder, 4, 8, seed=9)
    policy = AdapterPolicy(attached, weights_of(attached, adapters), "union")
    masks = [policy.probability(judged.encoded) > 0.5 for judged, _ in world[:3]]
    scores = []
    for mask, (_, truth) in zip(masks, world[:3], strict=True):
        both = (mask * truth).sum()
        scores.append((2 * both / (mask.sum() + truth.sum()) + both / truth.sum()) / 2)
    assert np.mean(scores) == pytest.approx(found.history[-1]["proxy"], abs=1e-5)


def test_an_image_in_which_the_model_saw_nothing_has_a_map_of_zeros(parameters, decoder):
    encoded = Encoder(parameters, "none")(np.zeros((20, 30), np.uint8))
    found = AdapterPolicy(attach(decoder, 2, 2, 0), {}, "union").probability(encoded)
    assert found.shape == (20, 30)
    assert not found.any()


def test_weights_in_bfloat16_are_learnt_through_adapters_in_float32(parameters, world):
    half = load_decoder(parameters.model_copy(update={"dtype": "bfloat16"}))
    learner = AdapterLearner(half, "union", LORA, PARAMETERS, OBJECTIVE, 0)
    pool = [
        Judged(
            judged.encoded._replace(
                features=tuple(one.bfloat16() for one in judged.encoded.features),
                hidden=judged.encoded.hidden.bfloat16(),
            ),
            judged.maps,
        )
        for judged, _ in world[:3]
    ]
    rewards = [float(learner.step(pool, []).reward) for _ in range(12)]
    assert {one.dtype for one in learner.averaged().values()} == {torch.float32}
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_a_reward_is_learnt_too(world, parameters):
    on_gpu = load_decoder(parameters.model_copy(update={"device": "cuda"}))
    learner = AdapterLearner(on_gpu, "union", LORA, PARAMETERS, OBJECTIVE, 0)
    pool = [judged for judged, _ in world[:3]]
    rewards = [float(learner.step(pool, []).reward) for _ in range(12)]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3])
    assert learner.network().probability(world[0][0].encoded).shape == (32, 32)
