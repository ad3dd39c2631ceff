from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch

from interruptions import Stops
from vesselrl.checkpoints import Checkpoints
from vesselrl.errors import VesselrlError
from vesselrl.networks.architecture import Architecture
from vesselrl.rl.pixel.parameters import PolicyParameters
from vesselrl.rl.pixel.ppo import PixelLearner
from vesselrl.rl.pixel.training import learn, learned
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.threads import one_thread

OBJECTIVE = ["dice", "recall"]


@pytest.fixture
def train(world, pools, make_guard, policy_parameters, strength, tmp_path_factory):
    def run(pools=pools, guard=None, seed=0, checkpoints=None, tell=lambda _: None, **changes):
        settings = policy_parameters.model_copy(update=changes)
        checkpoints = checkpoints or Checkpoints(tmp_path_factory.mktemp("states"))
        learner = PixelLearner(world.start, settings, strength, OBJECTIVE, seed)
        guard = guard or make_guard()
        with one_thread():
            state = learn(learner, *pools, guard, settings, checkpoints, "fingerprint", tell)
        return learned(settings, state)

    return run


def network_of(start, trained):
    state = start.state() | {"weights": trained.weights}
    return SegmentationNetwork.from_state(state)


def upside_down(image):
    """A reward that takes vessels for background."""
    return torch.stack([image[0], 255 - image[1], image[2]])


@pytest.mark.parametrize(("unlabelled", "labelled"), [(4, 0), (0, 4), (2, 2)])
def test_reward_makes_a_badly_placed_segmenter_better_on_patients_it_never_saw(
    train, unlabelled, labelled
):
    trained = train(unlabelled=unlabelled, labelled=labelled)
    start, best = trained.history[0], max(row["val_gold"] for row in trained.history)
    assert best > start["val_gold"] + 0.05
    assert trained.result["gained"] == pytest.approx(best - start["val_gold"])
    assert trained.result["kept_step"] > 0


def test_the_start_is_kept_when_the_reward_misleads(train, world, pools, make_guard):
    misled = [upside_down(image) for image in pools[0]], []
    guard = make_guard(predict=np.logical_not)
    trained = train(misled, guard, learning_rate=0.02, kl=0.0, patience=2)
    assert trained.result["kept_step"] == 0
    assert trained.result["gained"] == 0
    assert trained.result["overoptimised"]
    assert "2 looks" in trained.result["ended"]
    torch.testing.assert_close(trained.weights, world.start.module.state_dict(), rtol=0, atol=0)


def test_the_start_is_not_changed(train, world):
    before = deepcopy(world.start.module.state_dict())
    train(iterations=2)
    torch.testing.assert_close(world.start.module.state_dict(), before, rtol=0, atol=0)


def test_history_tells_reward_divergence_gold_and_proxy_at_every_look(train):
    history = train(iterations=12).history
    assert [row["steps"] for row in history] == [0, 5, 10, 12]
    assert set(history[0]) == {"steps", "val_dice", "val_gold", "val_proxy", "proxy"}
    for row in history[1:]:
        assert {"loss", "ep_rew_mean", "kl"} < set(row)
    assert history[1]["kl"] < history[-1]["kl"]


def test_a_stronger_penalty_holds_the_policy_nearer_to_the_start(train, world):
    runs = [train(kl=kl, iterations=10) for kl in (0.0, 30.0)]
    free, held = (network_of(world.start, trained) for trained in runs)
    image = world.images[6]
    moved = [
        np.abs(network.probability(image) - world.start.probability(image)).mean()
        for network in (free, held)
    ]
    assert moved[1] < 0.3 * moved[0]


def test_statistics_of_the_normalisation_stay_those_of_the_start(train, world):
    trained = train(iterations=2)
    for name, of_start in world.start.module.named_buffers():
        torch.testing.assert_close(trained.weights[name], of_start, rtol=0, atol=0)


def test_the_seed_fixes_the_weights(train):
    one, same, other = (train(seed=seed, iterations=3) for seed in (0, 0, 1))
    assert one.history == same.history
    torch.testing.assert_close(one.weights, same.weights, rtol=0, atol=0)
    assert one.history != other.history


@pytest.mark.parametrize(("at", "after"), [(1, True), (2, False), (3, True), (4, True)])
def test_an_interrupted_training_ends_in_the_same_segmenter(train, tmp_path, at, after):
    run = partial(train, iterations=8, check_every=3, unlabelled=2, labelled=1)
    whole = run(checkpoints=Checkpoints(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=Stops(tmp_path / "cut", at, after))
    resumed = run(checkpoints=Checkpoints(tmp_path / "cut"))
    assert resumed.history == whole.history
    torch.testing.assert_close(resumed.weights, whole.weights, rtol=0, atol=0)


def test_whoever_watches_is_told_the_history_so_far(train):
    heard = []
    trained = train(iterations=7, tell=lambda history: heard.append(len(history)))
    assert heard == [1, 2, 3]
    assert len(trained.history) == 3


def test_without_validation_images_the_last_policy_is_kept(train, world, make_guard):
    trained = train(guard=make_guard(validation=()), iterations=6)
    assert trained.result["kept_step"] == 6
    assert trained.result["val_dice"] is None
    assert trained.result["gained"] is None
    moved, start = trained.weights, world.start.module.state_dict()
    assert any(not torch.equal(moved[name], start[name]) for name in start)


def test_the_first_batch_has_no_divergence_and_the_mean_reward_of_the_start(
    world, pools, policy_parameters, strength
):
    once = policy_parameters.model_copy(update={"inner_steps": 1})
    learner = PixelLearner(world.start, once, strength, OBJECTIVE, 0)
    step = learner.step(*pools)
    assert float(step.kl) == pytest.approx(0, abs=1e-5)
    assert 0 < float(step.reward) < 1


def test_squares_that_do_not_fit_the_segmenter_are_an_error(world, policy_parameters, strength):
    network = SegmentationNetwork(world.start.module, Architecture(1, (4,) * 6, 4), 64)
    uneven = policy_parameters.model_copy(update={"patch": 96})
    with pytest.raises(VesselrlError, match=r"patch is 96.*multiple of 64"):
        PixelLearner(network, uneven, strength, OBJECTIVE, 0)


def test_a_batch_of_nothing_is_refused(policy_parameters):
    with pytest.raises(ValueError, match="nothing to learn from"):
        PolicyParameters(**policy_parameters.model_dump() | {"unlabelled": 0, "labelled": 0})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_a_step_is_the_same_step(world, pools, policy_parameters, strength):
    learners, found = {}, {}
    for device in ("cpu", "cuda"):
        start = SegmentationNetwork(
            world.start.module.to(device), world.start.architecture, world.start.max_side
        )
        learners[device] = PixelLearner(start, policy_parameters, strength, OBJECTIVE, 0)
        on_device = [[image.to(device) for image in pool] for pool in pools]
        found[device] = [learners[device].step(*on_device) for _ in range(3)]
    world.start.module.to("cpu")
    for ours, theirs in zip(found["cpu"], found["cuda"], strict=True):
        assert float(ours.reward) == pytest.approx(float(theirs.reward), abs=0.05)
