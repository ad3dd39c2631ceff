"""Learning from the table beside asking in the loop, and what the table's environment costs.

    python benchmarks/rl.py [--steps 2048] [--loop-steps 64] [--rounds 3]
                            [--parts loop ppo environments images]

Draws 20 images with `vesselrl.synthetic`, then measures, each in a process of its own, with the
parameters of the quick form and one thread:

- *loop*: the experiment ``reward_rl``, paid by the reward network. From the table: asking the
  segmenter and the reward network about each image once, then PPO. In the loop: PPO on
  `vesselrl.rl.reference.SegmentationEnv`, which asks both in every episode, the segmenter in one
  call for all prompts. It takes few steps, and its time is scaled to as many as the table's by the
  number of episodes begun. Once with the ridge segmenter and once with a stand-in that does nothing
  but sleep, as long as a large model thinks;
- *ppo*: PPO on the table beside PPO on environments of the same shapes that do nothing. They take
  turns, so that a busy machine slows both alike; a ratio is always of one round. *Empty* is a table
  in which no mask has been judged yet: most steps make one and judge it. Here and below seconds are
  the CPU's: PPO keeps one core busy, and others at work on the machine do not count;
- *environments*: the same in ``reward_rl`` with more and more environments, all states known, and
  the environments alone under random actions;
- *images*: ``reward_rl`` with more and more images, small stand-ins that a stand-in judges. Memory
  is what Python and NumPy allocate, the scenes that the loader keeps counted apart.

The reward network's weights are drawn, which costs what trained ones do.
"""

import argparse
import gc
import os
import statistics
import sys
import time
import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
from measuring import device_name, in_a_process, table
from rl_world import CALL, Believer, Idle, Project, Sleeper, Watched, small_loaders
from stable_baselines3.common.vec_env import VecEnv

from vesselrl.reward import scenes
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scenes import SceneLoader
from vesselrl.rl.actions import Rules
from vesselrl.rl.environments import CandidateVecEnv
from vesselrl.rl.parameters import EXPERIMENTS
from vesselrl.segmenters.base import Segmenter, build_segmenter

GOALS = {"ridge": 10, "stand-in": 40}
"""How many times longer than from the table learning in the loop should take."""
ENVIRONMENTS = (2, 8, 64, 256)
ROLLOUT = 512
"""Steps of an update, whatever the number of environments."""
MANY = (20, 2_000, 20_000)
SMALL_CACHE = 2**23
"""Memory for scenes of small images: the limit of `SceneLoader`, lowered as they are smaller."""


@dataclass(frozen=True)
class Bench:
    """What the command line asks for.

    Attributes:
        steps: of PPO.
        loop_steps: of PPO in the loop.
        rounds: how often those that are compared take their turn.
    """

    steps: int
    loop_steps: int
    rounds: int


def measure_loop(bench: Bench) -> str:
    """All of learning, from the table and in the loop."""
    project, name = Project(), "reward_rl"
    images, truths = project.draw()
    n_envs = project.ppo.n_envs
    # Episodes of one step: as many begin as there are steps, and one more in each environment.
    scale = (bench.steps + n_envs) / (bench.loop_steps + n_envs)

    def from_table(segmenter: Segmenter, network: RewardNetwork) -> float:
        load = project.load(images, truths, segmenter, network)
        outcomes = project.outcomes(name, tuple(images), load)
        environment = project.environment(name, outcomes, n_envs)
        return project.learn(environment, bench.steps, project.rollout, time.perf_counter)

    def in_the_loop(segmenter: Segmenter, network: RewardNetwork) -> float:
        environment = project.in_the_loop(name, images, truths, segmenter, network)
        return project.learn(environment, bench.loop_steps, bench.loop_steps, time.perf_counter)

    in_the_loop(Sleeper(), project.network(Believer))  # the libraries load what they need
    rows = [
        ("segmenter", "asked", "steps", "encoder passes", "passes of the reward network",
         "steps/s", f"s, {bench.steps} steps", "of them segmenter", "reward network", "all else",
         "ratio"),
    ]  # fmt: skip
    told = []
    for kind, goal in GOALS.items():
        totals: list[float] = []
        for way, run, steps, factor in (
            ("once an image", from_table, bench.steps, 1.0),
            ("in the loop", in_the_loop, bench.loop_steps, scale),
        ):
            segmenter = build_segmenter(project.segmenter) if kind == "ridge" else Sleeper()
            network = project.network()
            asked, judged = Watched(segmenter, "probabilities"), Watched(network, "opinions")
            started = time.perf_counter()
            learning = run(segmenter, network)
            before = time.perf_counter() - started - learning
            totals.append(before + learning * factor)
            parts = [asked.seconds * factor, judged.seconds * factor]
            parts.append(totals[-1] - sum(parts))
            rows.append(
                (kind, way, f"{steps}", f"{asked.calls}", f"{judged.calls}",
                 f"{steps / learning:.1f}", f"{totals[-1]:.1f}",
                 *(f"{part:.1f}" for part in parts), f"{totals[-1] / totals[0]:.1f}")
            )  # fmt: skip
        told.append(f"{kind}: {goal}; the segmenter's part alone: {parts[0] / totals[0]:.1f}")
    return (
        f"## From the table and in the loop: `{name}`, {len(images)} images, "
        f"{len(project.prompts)} prompts\n\n{table(rows)}\n\n"
        "Steps/s are measured; for the table all images have been asked about before. Seconds in "
        f"the loop are scaled by {scale:.1f} from {bench.loop_steps} steps. The stand-in sleeps "
        f"{CALL} s a call. Goals of the ratio: {'. '.join(told)}."
    )


def measure_ppo(bench: Bench) -> str:
    """PPO on the table beside PPO on nothing, in each experiment."""
    project = Project()
    images, truths = project.draw()
    load = project.load(images, truths, build_segmenter(project.segmenter), project.network())
    n_envs, rows = project.ppo.n_envs, [
        ("experiment", "states", "nothing, steps/s", "table", "ratio", "table, empty", "ratio")
    ]  # fmt: skip
    for name in EXPERIMENTS:
        outcomes = project.outcomes(name, tuple(images), load)

        def speed(kind: type[CandidateVecEnv], name: str = name, known: Any = outcomes) -> float:
            environment = project.environment(name, known, n_envs, kind)
            return bench.steps / project.learn(environment, bench.steps, project.rollout)

        nothing = [speed(Idle)]
        empty = speed(CandidateVecEnv)
        full = []
        for number in range(bench.rounds):
            # Whoever begins one round ends the next.
            for kind in (Idle, CandidateVecEnv)[:: 1 if number % 2 else -1]:
                (nothing if kind is Idle else full).append(speed(kind))
        ratios = [f / n for f, n in zip(full, nothing[1:], strict=True)]
        rows.append(
            (name, f"{outcomes.of.cache_info().currsize}", f"{statistics.median(nothing):.0f}",
             f"{statistics.median(full):.0f}", f"{statistics.median(ratios):.2f}",
             f"{empty:.0f}", f"{empty / nothing[0]:.2f}")
        )  # fmt: skip
    return (
        f"## PPO on the table beside PPO on nothing: {n_envs} environments, {bench.steps} steps\n\n"
        f"{table(rows)}\n\nGoal: 0.85. Medians of {bench.rounds} rounds; the first *nothing* is "
        "the one beside the empty table."
    )


def measure_environments(bench: Bench) -> str:
    """PPO and the environments alone, as these grow in number."""
    project, name = Project(), "reward_rl"
    images, truths = project.draw()
    load = project.load(images, truths, build_segmenter(project.segmenter), project.network())
    outcomes = project.outcomes(name, tuple(images), load)
    rows = [
        ("environments", "µs a step, alone", "PPO on nothing, steps/s", "on the table", "ratio")
    ]
    for n_envs in ENVIRONMENTS:

        def speed(kind: type[CandidateVecEnv], n_envs: int = n_envs) -> float:
            environment = project.environment(name, outcomes, n_envs, kind)
            return bench.steps / project.learn(environment, bench.steps, ROLLOUT)

        actions = _random_actions(outcomes.rules, n_envs, bench.steps)
        alone = []
        for _ in range(bench.rounds + 1):  # the first time fills the table
            environment = project.environment(name, outcomes, n_envs)
            alone.append(_play(environment, actions) / bench.steps * 1e6)
        speed(CandidateVecEnv)
        speeds = [(speed(Idle), speed(CandidateVecEnv)) for _ in range(bench.rounds)]
        nothing, full = map(statistics.median, zip(*speeds, strict=True))
        ratio = statistics.median(f / n for n, f in speeds)
        rows.append(
            (f"{n_envs}", f"{statistics.median(alone[1:]):.1f}", f"{nothing:.0f}", f"{full:.0f}",
             f"{ratio:.2f}")
        )  # fmt: skip
    return (
        f"## More environments: `{name}`, {bench.steps} steps, {ROLLOUT} an update, states known"
        f"\n\n{table(rows)}\n\nMedians of {bench.rounds} rounds."
    )


def measure_images(bench: Bench) -> str:
    """PPO and memory, as images grow in number."""
    scenes.CACHE_BYTES = SMALL_CACHE
    project, name = Project(), "reward_rl"
    network, n_envs = project.network(Believer), project.ppo.n_envs
    rows = [
        ("images", "steps/s of PPO", "shown", "states", "table, MB", "bytes a state",
         "order of images, MB", "scenes kept, MB"),
    ]  # fmt: skip
    tables, memory = {}, {}
    for count in MANY:
        samples = tuple(map(str, range(count)))
        load = SceneLoader(*small_loaders(samples, len(project.prompts)), network)
        actions = _random_actions(project.rules(name), n_envs, bench.steps)
        gc.collect()
        tracemalloc.start()
        outcomes = tables[count] = project.outcomes(name, samples, load)
        environment = project.environment(name, outcomes, n_envs)
        _play(environment, actions)
        gc.collect()
        order = sum(map(sys.getsizeof, environment._ahead))
        kept = sum(scene.nbytes for scene in load._scenes._kept.values())
        grown = tracemalloc.get_traced_memory()[0] - order - kept
        tracemalloc.stop()
        states = outcomes.of.cache_info().currsize
        memory[count] = (
            f"{outcomes.image_features.cache_info().currsize}", f"{states}", f"{grown / 1e6:.1f}",
            f"{grown / states:.0f}", f"{order / 1e6:.2f}", f"{kept / 1e6:.1f}",
        )  # fmt: skip
    speeds: dict[int, list[float]] = {count: [] for count in MANY}
    for _ in range(bench.rounds + 1):
        for count, outcomes in tables.items():
            environment = project.environment(name, outcomes, n_envs)
            seconds = project.learn(environment, bench.steps, project.rollout)
            speeds[count].append(bench.steps / seconds)
    for count in MANY:  # the first time fills the table
        rows.append((f"{count}", f"{statistics.median(speeds[count][1:]):.0f}", *memory[count]))
    return (
        f"## More images: `{name}`, {n_envs} environments, {bench.steps} steps\n\n{table(rows)}\n\n"
        f"Memory after {bench.steps} random steps; the loader may keep {SMALL_CACHE / 1e6:.1f} MB "
        f"of scenes. Speed with all states known, median of {bench.rounds} rounds."
    )


def _random_actions(rules: Rules, n_envs: int, steps: int) -> Any:
    """Ints (steps / n_envs, n_envs, parts)."""
    shape = (steps // n_envs, n_envs, len(rules.choices))
    return np.random.default_rng(0).integers(0, rules.choices, shape)


def _play(environment: VecEnv, actions: Any) -> float:
    """Seconds of all steps, by the CPU's clock."""
    environment.reset()
    started = time.process_time()
    for action in actions:
        environment.step(action)
    return time.process_time() - started


PARTS = {
    "loop": measure_loop,
    "ppo": measure_ppo,
    "environments": measure_environments,
    "images": measure_images,
}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=2048, help="of PPO")
    parser.add_argument("--loop-steps", type=int, default=64, help="of PPO in the loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = vars(parser.parse_args())
    os.environ["OMP_NUM_THREADS"] = "1"
    parts = options.pop("parts")
    bench = Bench(**options)
    print(f"Device: {in_a_process(device_name)}.", flush=True)
    for part in parts:
        print(f"\n{in_a_process(PARTS[part], bench)}", flush=True)


if __name__ == "__main__":
    main()
