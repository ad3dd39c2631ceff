from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch

from interruptions import Stops
from vesselrl.checkpoints import Checkpoints
from vesselrl.errors import VesselrlError
from vesselrl.networks.graphs import graphed
from vesselrl.reward import rankings
from vesselrl.reward.calibration import PlattScaling
from vesselrl.reward.examples import reward_examples
from vesselrl.reward.loss import reward_loss
from vesselrl.reward.rankings import Ranking
from vesselrl.reward.report_card import within_image_tau
from vesselrl.reward.training import MemberLoss, train_reward_network


@pytest.fixture(scope="module")
def loaders(drawn, reward_parameters):
    examples = {
        sample: reward_examples(*parts, reward_parameters.examples, np.random.default_rng(number))
        for number, (sample, parts) in enumerate(drawn.items())
    }
    return {sample: partial(examples.get, sample) for sample in examples}


@pytest.fixture(scope="module")
def train(loaders, reward_parameters, tmp_path_factory):
    ids = list(loaders)

    def run(
        seed=0, training=ids[:6], validation=ids[6:8], checkpoints=None, devices=None, **changes
    ):
        return train_reward_network(
            {sample: loaders[sample] for sample in training},
            {sample: loaders[sample] for sample in validation},
            reward_parameters.examples,
            reward_parameters.training.model_copy(update=changes),
            ["dice", "recall"],
            seed,
            checkpoints or Checkpoints(tmp_path_factory.mktemp("training")),
            devices,
        )

    return run


@pytest.fixture(scope="module")
def trained(train):
    return train()


def weights(network):
    return torch.cat([p.flatten() for member in network.members for p in member.parameters()])


def test_it_learns_to_rank_the_masks_of_images_it_never_saw(trained, loaders):
    network, _ = trained
    unseen = [Ranking.of(loaders[sample]()) for sample in ("i8", "i9")]
    scores = [network.scoring.calibrated(ranking.raw_scores(network)) for ranking in unseen]
    pairs = zip(scores, unseen, strict=True)
    assert within_image_tau((s["dice"], r.true["dice"]) for s, r in pairs) > 0.5
    for score, ranking in zip(scores, unseen, strict=True):
        for key, true in ranking.true.items():
            assert np.abs(score[key] - true).mean() < 0.15


def test_history_tells_loss_and_tau_of_every_member_and_check(trained):
    _, history = trained
    assert [(row["member"], row["iteration"]) for row in history] == [(0, 60), (0, 120)]
    assert history[1]["loss"] < history[0]["loss"]
    assert all(-1 <= row["tau"] <= 1 for row in history)
    assert 0 < history[0]["seconds"] < history[1]["seconds"]


def test_calibration_holds_the_evidence_of_few_of_many_images(train, loaders, monkeypatch):
    fitted = []

    def fit(images, _):
        fitted.extend(images)
        return PlattScaling()

    monkeypatch.setattr(rankings, "ENOUGH", 2)
    monkeypatch.setattr(PlattScaling, "fit", fit)
    many = [f"i{number}" for number in range(5, 10)]
    train(validation=many, iterations=1, checks=1)
    spread = [Ranking.of(loaders[sample]()).true["dice"].tolist() for sample in ("i5", "i8")]
    assert [image.true["dice"].tolist() for image in fitted] == spread


def test_the_seed_fixes_the_weights(train):
    one, same, other = (train(seed, iterations=3, checks=1)[0] for seed in (0, 0, 1))
    torch.testing.assert_close(weights(one), weights(same), rtol=0, atol=0)
    assert not torch.equal(weights(one), weights(other))


def test_the_number_of_threads_changes_nothing(train):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one, _ = train(iterations=3, checks=1)
        torch.set_num_threads(3)
        three, _ = train(iterations=3, checks=1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(weights(one), weights(three), rtol=0, atol=0)


def test_training_leaves_the_callers_random_numbers_alone(train):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    train(iterations=1, checks=1)
    torch.testing.assert_close(torch.rand(3), expected)


def test_members_differ(train):
    network, _ = train(members=2, iterations=2, checks=1)
    first, second = (torch.cat([p.flatten() for p in m.parameters()]) for m in network.members)
    assert not torch.equal(first, second)


def test_members_that_train_on_two_devices_are_those_of_one(train, quick_workers):
    size = {"members": 3, "iterations": 4, "checks": 2}
    one, history = train(**size, devices=["cpu"])
    two, same_history = train(**size, devices=["cpu", "cpu"])
    assert untimed(same_history) == untimed(history)
    assert two.scoring == one.scoring
    torch.testing.assert_close(weights(two), weights(one), rtol=0, atol=0)


def untimed(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


class Aged(Checkpoints):
    """Checkpoints of a training that had taken an hour longer until it was broken off."""

    hour = 3600

    def load(self, name, fingerprint):
        state = super().load(name, fingerprint)
        for record in state["records"]:
            record["seconds"] += self.hour
        self.hour = 0
        return state


def test_the_time_before_an_interruption_counts_as_training_time(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(iterations=6, checks=2, checkpoints=Stops(tmp_path, 1, after=True))
    _, history = train(iterations=6, checks=2, checkpoints=Aged(tmp_path))
    assert 3600 < history[0]["seconds"] < history[1]["seconds"] < 3700


@pytest.mark.parametrize(("at", "after"), [(1, True), (2, False), (2, True), (3, True), (4, True)])
def test_an_interrupted_training_ends_in_the_same_network(train, tmp_path, at, after):
    size = {"members": 2, "iterations": 6, "checks": 2}
    whole, history = train(**size)
    with pytest.raises(KeyboardInterrupt):
        train(**size, checkpoints=Stops(tmp_path / "states", at, after))
    resumed, same_history = train(**size, checkpoints=Checkpoints(tmp_path / "states"))
    assert untimed(same_history) == untimed(history)
    assert resumed.scaling == whole.scaling
    assert resumed.scoring == whole.scoring
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


def test_training_stops_when_checks_bring_nothing_better(train, monkeypatch):
    monkeypatch.setattr("vesselrl.reward.training.ranking_tau", lambda *_: 0.5)
    _, history = train(iterations=12, checks=6, patience=2)
    assert [row["iteration"] for row in history] == [2, 4, 6]


@pytest.mark.parametrize("empty", ["training", "validation"])
def test_a_split_without_images_is_an_error_that_says_what_to_do(train, empty):
    with pytest.raises(VesselrlError, match="has no images.*split.fractions"):
        train(**{empty: []})


def test_the_loss_is_least_at_the_truth():
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.random((2, 16, 16)) > 0.7).float()
    judged = torch.from_numpy(rng.random((2, 16, 16), dtype=np.float32))
    right, unsure, wrong = (
        reward_loss(logits, judged, torch.tensor([0.3, 0.7]), truth).item()
        for logits in (20 * truth - 10, torch.zeros_like(truth), 10 - 20 * truth)
    )
    assert right < 0.01 < unsure < wrong


def test_masks_of_a_ranking_have_their_true_scores(loaders, drawn):
    ranking = Ranking.of(loaders["i0"]())
    assert ranking.masks.shape == (20, 96, 96)
    assert ranking.true["dice"].shape == (20,)
    good, noise = ranking.true["dice"][8], ranking.true["dice"][11]
    assert good > 0.9
    assert noise < 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_the_graphed_loss_is_the_loss(reward_parameters):
    parameters, device = reward_parameters.training, torch.device("cuda")
    network = parameters.architecture.build(0).to(device)
    twin = deepcopy(network)
    shape = (parameters.batch, parameters.patch, parameters.patch)
    shapes = [shape] * 3 + [shape[:1], shape]
    losses = graphed(MemberLoss(network), shapes, device), MemberLoss(twin)
    for _ in range(3):
        parts = [torch.rand(shape, device=device) for _ in range(5)]
        parts[3] = parts[3][:, 0, 0].contiguous()
        of_graph, of_module = (loss(*parts) for loss in losses)
        torch.testing.assert_close(of_graph, of_module, rtol=1e-3, atol=1e-3)
