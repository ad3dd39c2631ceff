"""Training of several networks side by side."""

import multiprocessing
import signal
import time

import numpy as np
import pytest
import torch

from interruptions import Stops
from vesselrl.checkpoints import Checkpoints
from vesselrl.errors import VesselrlError
from vesselrl.metrics.masks import overlap_scores
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.residents import Part
from vesselrl.segmenters.unet.examples import pairs
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.start import weights_to_start_from
from vesselrl.segmenters.unet.training import Task, train_networks


def train(
    examples, supervised, folder, tasks=("one",), training=6, validation=2, devices=None, **changes
):
    ids = list(examples)
    labelled = pairs({sample: examples[sample] for sample in ids[:training]})
    unseen = pairs({s: examples[s] for s in ids[training : training + validation]})
    parameters = supervised.training.model_copy(update=changes)
    pools = {"one": labelled, "half": Part(labelled, [0, 2, 4]), "other": labelled}
    return train_networks(
        {name: Task([pools[name]], seed, None) for seed, name in enumerate(tasks)},
        unseen,
        parameters,
        supervised.augmentation.strength,
        Checkpoints(folder) if not isinstance(folder, Checkpoints) else folder,
        "fingerprint",
        devices,
    )


def network_of(trainee):
    return SegmentationNetwork.from_state(trainee.network(64))


def weights(trainee):
    return torch.cat([w.flatten().double() for w in trainee.network(64)["weights"].values()])


def without_time(history):
    return [{key: v for key, v in row.items() if key != "seconds"} for row in history]


def test_it_learns_to_see_vessels_in_images_it_never_saw(examples, supervised, tmp_path):
    trained, history = train(examples, supervised, tmp_path)
    assert [row["iteration"] for row in history] == [20, 40, 80]
    assert history[-1]["loss"] < history[0]["loss"]
    network = network_of(trained["one"])
    for sample in ("i8", "i9"):
        example = examples[sample]()
        mask = network.probability(example["image"]) > 0.5
        assert overlap_scores(mask[None], example["truth"] > 127)["dice"][0] > 0.5


def test_the_weights_of_the_best_check_are_kept(examples, supervised, tmp_path, monkeypatch):
    scores = iter([0.3, 0.7, 0.5])
    monkeypatch.setattr("vesselrl.segmenters.unet.training.Trainee._dice", lambda *_: next(scores))
    trained, history = train(examples, supervised, tmp_path, iterations=8)
    assert [row["val_dice"] for row in history] == [0.3, 0.7, 0.5]
    kept, stage = trained["one"].network(64), trained["one"].network(64, 4)
    for name, tensor in kept["weights"].items():
        assert tensor.equal(stage["weights"][name])


def test_training_ends_when_checks_bring_nothing_better(
    examples, supervised, tmp_path, monkeypatch
):
    monkeypatch.setattr("vesselrl.segmenters.unet.training.Trainee._dice", lambda *_: 0.5)
    changes = {"iterations": 12, "checks": [1 / 6, 1 / 3, 0.5, 0.75, 1], "patience": 2}
    _, history = train(examples, supervised, tmp_path, **changes)
    assert [row["iteration"] for row in history] == [2, 4, 6]


def test_networks_that_train_side_by_side_are_those_that_train_alone(
    examples, supervised, tmp_path
):
    together, _ = train(examples, supervised, tmp_path / "1", ("one", "half"), iterations=4)
    alone, _ = train(examples, supervised, tmp_path / "2", iterations=4)
    assert weights(together["one"]).equal(weights(alone["one"]))
    assert not weights(together["half"]).equal(weights(alone["one"]))


def test_networks_that_train_on_two_devices_are_those_of_one(
    examples, supervised, tmp_path, quick_workers
):
    job = {"tasks": ("one", "half", "other"), "iterations": 4}
    one, history = train(examples, supervised, tmp_path / "1", devices=["cpu"], **job)
    two, same_history = train(examples, supervised, tmp_path / "2", devices=["cpu", "cpu"], **job)
    assert without_time(same_history) == without_time(history)
    for name in one:
        assert weights(two[name]).equal(weights(one[name]))


def test_two_devices_that_share_batches_see_what_one_sees(
    examples, supervised, tmp_path, quick_workers
):
    one, (row,) = train(examples, supervised, tmp_path / "1", iterations=1, devices=["cpu"])
    together = [["cpu", "cpu"]]
    two, (same,) = train(examples, supervised, tmp_path / "2", iterations=1, devices=together)
    assert same["loss"] == pytest.approx(row["loss"], rel=1e-5)
    assert same["val_dice"] == pytest.approx(row["val_dice"], abs=0.01)
    torch.testing.assert_close(weights(two["one"]), weights(one["one"]), rtol=0, atol=0.05)


def test_images_of_a_left_out_fold_have_no_part_in_training(examples, supervised, tmp_path):
    black = {"image": np.zeros((64, 64), np.uint8), "truth": np.full((64, 64), 255, np.uint8)}
    changed = examples | {sample: (lambda: black) for sample in ("i1", "i3", "i5")}
    first, _ = train(examples, supervised, tmp_path / "1", ("half",), iterations=4)
    second, _ = train(changed, supervised, tmp_path / "2", ("half",), iterations=4)
    assert weights(first["half"]).equal(weights(second["half"]))


@pytest.mark.parametrize(("at", "after"), [(1, True), (2, False), (3, True), (6, True)])
def test_an_interrupted_training_ends_in_the_same_networks(
    examples, supervised, tmp_path, at, after
):
    job = {"tasks": ("one", "half"), "iterations": 6}
    whole, history = train(examples, supervised, tmp_path / "whole", **job)
    with pytest.raises(KeyboardInterrupt):
        train(examples, supervised, Stops(tmp_path / "states", at, after), **job)
    resumed, same_history = train(examples, supervised, tmp_path / "states", **job)
    assert without_time(same_history) == without_time(history)
    for name, trainee in whole.items():
        assert weights(resumed[name]).equal(weights(trainee))
        assert list(resumed[name].stages) == list(trainee.stages)


def killed(examples, supervised, folder):
    """Train in a process of its own that is killed after its first state is on disk."""
    state = folder / "one.pth"
    process = multiprocessing.get_context("forkserver").Process(
        target=train, args=(examples, supervised, folder), kwargs={"iterations": 40}
    )
    process.start()
    while process.is_alive() and not state.exists():
        time.sleep(0.002)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_loses_nothing(examples, supervised, tmp_path):
    preloaded = ["vesselrl.segmenters.unet.training"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(preloaded)
    whole, _ = train(examples, supervised, tmp_path / "whole", iterations=40)
    assert killed(examples, supervised, tmp_path / "states")
    resumed, _ = train(examples, supervised, tmp_path / "states", iterations=40)
    assert weights(resumed["one"]).equal(weights(whole["one"]))


def test_a_finished_training_is_not_trained_again(examples, supervised, tmp_path, monkeypatch):
    whole, _ = train(examples, supervised, tmp_path, iterations=4)
    monkeypatch.setattr("vesselrl.segmenters.unet.training.Trainee.step", None)
    again, _ = train(examples, supervised, tmp_path, iterations=4)
    assert weights(again["one"]).equal(weights(whole["one"]))


def test_time_spent_before_an_interruption_counts(examples, supervised, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(examples, supervised, Stops(tmp_path, 1, after=True), iterations=4)
    states = Checkpoints(tmp_path)
    state = states.load("one", "fingerprint")
    state["records"][-1]["seconds"] += 1000
    states.save("one", "fingerprint", state)
    _, history = train(examples, supervised, tmp_path, iterations=4)
    assert 1000 < history[-1]["seconds"] < 1100


@pytest.mark.parametrize("empty", ["training", "validation"])
def test_a_split_without_images_is_an_error_that_says_what_to_do(
    examples, supervised, tmp_path, empty
):
    with pytest.raises(VesselrlError, match="has no images.*split.fractions"):
        train(examples, supervised, tmp_path, **{empty: 0})


def test_training_starts_from_weights_that_are_given(examples, supervised):
    start = supervised.training.architecture.build(7)
    state = SegmentationNetwork(start, supervised.training.architecture, 64).state()
    given = weights_to_start_from(state, supervised)
    for name, tensor in start.state_dict().items():
        assert given[name].equal(tensor)
    assert weights_to_start_from(None, supervised) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"features": (4,) * 6}, r"\[4, 4, 4, 4, 4, 4\]"),
        ({"downscale": 1}, "downscale 1"),
        ({"norm": "instance"}, "norm instance"),
    ],
)
def test_weights_of_a_network_of_another_size_are_refused(supervised, change, named):
    size = {"features": (4, 8, 8, 8, 8, 4), "downscale": 2, "norm": "batch"} | change
    architecture = Architecture(1, **size)
    state = SegmentationNetwork(architecture.build(0), architecture, 64).state()
    with pytest.raises(VesselrlError, match=f"pretrained.*{named}.*asks for.*pretrained: none"):
        weights_to_start_from(state, supervised)
