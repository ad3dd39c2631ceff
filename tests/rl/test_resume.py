"""An interrupted training goes on and ends as if nothing had happened."""

import multiprocessing
import signal
import time

import numpy as np
import pytest
from drawn_world import drawn_outcomes, rl_parameters
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vesselrl.checkpoints import Checkpoints
from vesselrl.rl.monitoring import Monitor
from vesselrl.rl.training import train_policy

PPO_SETTINGS = {"total_timesteps": 700, "n_epochs": 3, "ent_coef": 0.01}
UPDATES = 6


def train(folder, fingerprint="fingerprint", **changes):
    """Episodes of three steps: rollouts end within some."""
    return train_policy(
        "tried",
        drawn_outcomes("prompts", 3, ("i0", "i1", "i2", "i3")),
        drawn_outcomes("prompts", 3, ("i4", "i5")),
        "ground_truth",
        rl_parameters(PPO_SETTINGS, **changes),
        seed=3,  # whose best look is not its last
        folder=folder,
        fingerprint=fingerprint,
    )


def weights(model):
    return {name: tensor.numpy() for name, tensor in model.policy.state_dict().items()}


def checkpoints(folder):
    return {file.name: weights(PPO.load(file)) for file in (folder / "checkpoints").glob("*.zip")}


def scalars(folder):
    """Tag → (step, value) of all event files together, as TensorBoard reads them."""
    log = EventAccumulator(str(folder / "logs" / "PPO_1"))
    log.Reload()
    tags = set(log.Tags()["scalars"]) - {"time/fps"}
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in tags}


def untimed(result):
    return {key: value for key, value in result.items() if "second" not in key}


def assert_same(one, other, folders):
    assert one.history == other.history
    assert untimed(one.result) == untimed(other.result)
    np.testing.assert_equal(weights(one.model), weights(other.model))
    np.testing.assert_equal(one.policy.weights, other.policy.weights)
    first, second = ([checkpoints(folder), scalars(folder)] for folder in folders)
    np.testing.assert_equal(first, second)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return train(folder), folder


def in_step(steps):
    """The process dies while the step is made that reaches so many."""

    def set_up(patch):
        on_step = Monitor._on_step

        def dies(monitor):
            if monitor.num_timesteps >= steps:
                raise KeyboardInterrupt
            return on_step(monitor)

        patch.setattr(Monitor, "_on_step", dies)

    return set_up


def at_update(number, written):
    """The process dies as the state after an update is written, before or after it is on disk."""

    def set_up(patch):
        save = Checkpoints.save

        def dies(states, name, fingerprint, state):
            now = len(state["model"]["history"]) == number
            if written or not now:
                save(states, name, fingerprint, state)
            if now:
                raise KeyboardInterrupt

        patch.setattr(Checkpoints, "save", dies)

    return set_up


def interrupt(set_up, folder, **changes):
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch)
        with pytest.raises(KeyboardInterrupt):
            train(folder, **changes)


INTERRUPTIONS = {
    "before the first update": [in_step(20)],
    "before the first state": [at_update(1, written=False)],
    "after the first update": [at_update(1, written=True)],
    "in mid-rollout": [in_step(330)],
    "after a look": [at_update(4, written=False)],
    "twice": [at_update(2, written=True), in_step(600)],
    "after the last update": [at_update(UPDATES, written=True)],
}


@pytest.mark.parametrize("interruptions", INTERRUPTIONS.values(), ids=INTERRUPTIONS)
def test_an_interrupted_training_ends_in_the_same_policy_and_files(
    undisturbed, interruptions, tmp_path
):
    for set_up in interruptions:
        interrupt(set_up, tmp_path)
    run, folder = undisturbed
    assert_same(run, train(tmp_path), [folder, tmp_path])
    assert [step for step, _ in scalars(tmp_path)["train/policy_loss"]] == [
        128 * update for update in range(1, UPDATES + 1)
    ]


def test_a_finished_training_is_not_trained_again(undisturbed, monkeypatch):
    run, folder = undisturbed
    in_step(0)(monkeypatch)
    assert_same(run, train(folder), [folder, folder])


def test_the_state_of_another_training_is_not_gone_on_with(tmp_path):
    interrupt(at_update(2, written=True), tmp_path, fingerprint="one")
    interrupt(in_step(200), tmp_path, fingerprint="other")
    assert [step for step, _ in scalars(tmp_path)["train/policy_loss"]] == [128]


def test_time_spent_before_an_interruption_counts(tmp_path):
    interrupt(at_update(2, written=True), tmp_path)
    states = Checkpoints(tmp_path / "checkpoints" / "resume")
    state = states.load("state", "fingerprint")
    states.save("state", "fingerprint", state | {"seconds": state["seconds"] + 1000})
    assert 1000 < train(tmp_path).result["seconds"] < 1100


def test_a_clock_that_runs_backwards_changes_nothing(undisturbed, monkeypatch, tmp_path):
    now = [time.time_ns()]

    def earlier():
        now[0] -= 3600 * 10**9
        return now[0]

    monkeypatch.setattr(time, "time_ns", earlier)
    monkeypatch.setattr(time, "time", lambda: earlier() / 1e9)
    for set_up in INTERRUPTIONS["twice"]:
        interrupt(set_up, tmp_path)
    run, folder = undisturbed
    assert_same(run, train(tmp_path), [folder, tmp_path])
    speeds = EventAccumulator(str(tmp_path / "logs" / "PPO_1")).Reload().Scalars("time/fps")
    assert max(event.value for event in speeds) < 10**9


def killed(folder, seconds):
    """Train in a process of its own that is killed so long after it has written a state."""
    state = folder / "checkpoints" / "resume" / "state.pth"
    before = state.stat().st_mtime_ns if state.exists() else None
    process = multiprocessing.get_context("forkserver").Process(target=train, args=(folder,))
    process.start()
    while process.is_alive() and not (state.exists() and state.stat().st_mtime_ns != before):
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()  # or finds it finished
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_loses_nothing(undisturbed, tmp_path):
    multiprocessing.get_context("forkserver").set_forkserver_preload(["vesselrl.rl.training"])
    run, folder = undisturbed
    pauses = np.random.default_rng().uniform(0, run.result["seconds"] / 5, 3)
    print("Seconds from a state to the death of the process:", pauses)
    assert sum(killed(tmp_path, pause) for pause in pauses)
    assert_same(run, train(tmp_path), [folder, tmp_path])
