"""The reward network: its training beside bare steps, what judging costs, and the quick form.

    python benchmarks/reward_net.py [--images 8] [--steps 40] [--rounds 5] [--env gpu] [--size 256]
                                    [--parts training judging quick]

Draws images with `vesselrl.synthetic`, asks the segmenter about them, then measures, each in a
process of its own, on the best device there is:

- *training*: the loop that trains a member (choosing images, cutting and changing squares, loss,
  optimiser, averaged weights) beside bare steps of the same network and optimiser (forward, binary
  cross-entropy, backward, optimiser) on one batch of the same size that is on the device already.
  They take turns, so that a busy machine slows both alike; a ratio is always of one round;
- *judging*: what a user waits for with 20 images: the members' opinions, making all masks that
  prompts, thresholds and operations give, and judging them;
- *quick*: the whole training of the quick form, ``quick_overrides`` folded in, on as many drawn
  images of each split as it uses: steps, checks on validation images, calibration.

Parameters are those of ``conf/base``, with ``--env`` those of another folder folded over them.
Memory is the largest resident memory of the process. *Cores* is how many cores it kept busy on
average: less than one if others are at work on the machine.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import PROJECT, Clock, device_name, in_a_process, project_parameters, table

if TYPE_CHECKING:
    import torch

    from vesselrl.reward.batches import Loader
    from vesselrl.reward.parameters import RewardParameters

JUDGED = 20
"""Images that are judged."""
WARM_UP = 10
"""Steps that are not counted: in the first ones libraries choose their kernels."""


@dataclass(frozen=True)
class Bench:
    """What the command line asks for, and the drawn images.

    Attributes:
        images: how many the training loop draws from.
        steps: of a round, of the training loop and bare alike.
        rounds: how often both take their turn.
        size: side of the drawn images in pixels; None is that of the sample.
        env: whose settings are folded over ``conf/base``; None is none.
        folder: of the drawn images, a file for each and one for its reward examples.
    """

    images: int
    steps: int
    rounds: int
    size: int | None
    env: str | None
    folder: Path

    def parameters(self, quick: bool = False) -> dict[str, Any]:
        """The project's, see `measuring.project_parameters`."""
        return project_parameters(self.env, quick)

    def reward(self, quick: bool = False) -> "RewardParameters":
        """The group ``reward`` of them."""
        from vesselrl.reward.parameters import RewardParameters

        return RewardParameters(**self.parameters(quick)["reward"])

    def draw(self, count: int) -> None:
        """Draw patients until there are `count` images, and ask the segmenter about each."""
        import numpy as np

        from vesselrl.datasets.npz import NpzDataset
        from vesselrl.reward.examples import reward_examples
        from vesselrl.segmenters.base import build_segmenter
        from vesselrl.segmenters.candidates import make_candidates
        from vesselrl.segmenters.parameters import SegmenterParameters
        from vesselrl.synthetic.angiogram import draw_patient

        conf, examples = self.parameters(), self.reward().examples
        segmenter, sample = SegmenterParameters.model_validate(conf["segmenter"]), conf["sample"]
        model, size = build_segmenter(segmenter), self.size or sample["size"]
        for number in range(count):
            patient, frame = divmod(number, sample["frames"])
            if frame == 0:
                drawn = draw_patient(sample["seed"] + patient, sample["frames"], size)
            image, mask = drawn[frame].image, drawn[frame].mask
            levels = make_candidates(str(number), image, model, list(segmenter.prompts))["levels"]
            example = reward_examples(image, mask, levels, examples, np.random.default_rng(number))
            for kind, arrays in (
                ("image", {"image": image, "levels": levels}),
                ("example", example),
            ):
                NpzDataset(filepath=self._file(kind, number)).save(arrays)

    def loaders(self, kind: str, numbers: Iterable[int]) -> "dict[str, Loader]":
        """Number → loader, as a catalog's partitions have it; `kind` is image or example."""
        from vesselrl.datasets.npz import NpzDataset

        return {str(i): NpzDataset(filepath=self._file(kind, i)).load for i in numbers}

    def _file(self, kind: str, number: int) -> str:
        return str(self.folder / f"{kind}{number}.npz")


def measure_training(bench: Bench) -> str:
    """The training loop beside bare steps."""
    import numpy as np
    import torch

    from vesselrl.devices import best_device
    from vesselrl.reward.batches import residents, sample_batch
    from vesselrl.reward.training import Member
    from vesselrl.threads import one_thread

    clock = Clock(device := best_device())
    # A schedule of the learning rate ends after so many steps: more than are made.
    enough = {"iterations": bench.steps * bench.rounds + 2 * WARM_UP}
    parameters = bench.reward().training.model_copy(update=enough)
    loaders = list(bench.loaders("example", range(bench.images)).values())
    pool = residents(loaders, device)
    rng, noise = np.random.default_rng(0), torch.Generator(device).manual_seed(0)

    def sample() -> Any:
        chosen = rng.integers(0, len(pool), parameters.batch)
        return sample_batch([pool[int(i)] for i in chosen], parameters.patch, rng, noise)

    def member(seed: int) -> Member:
        return Member(parameters, seed, device, pool, [], [])

    turns: dict[str, Callable[[], Any]] = {
        "training loop": member(0).step,
        "bare steps": _bare(member(1), sample(), device),
        "squares alone": sample,
    }
    with one_thread():
        _ = [pool[i] for i in range(bench.images)]  # to load them once is no part of a step
        for number in range(bench.rounds + 1):
            # Whoever begins one round ends the next.
            for name in list(turns)[:: 1 if number % 2 else -1]:
                with clock(name):
                    for _ in range(bench.steps if number else WARM_UP):
                        turns[name]()
            if number == 0:
                clock.reset()
    ratios = {
        name: [b / s for b, s in zip(clock.seconds["bare steps"], seconds, strict=True)]
        for name, seconds in clock.seconds.items()
    }
    rows = [("", "images/s", "ms a step", "× bare steps")]
    for name in turns:
        step = statistics.median(clock.seconds[name]) / bench.steps
        ratio = f"{statistics.median(ratios[name]):.2f}"
        rows.append((name, f"{parameters.batch / step:.0f}", f"{1e3 * step:.1f}", ratio))
    loop = ratios["training loop"]
    return (
        f"## Training: {parameters.batch} squares of {parameters.patch} pixels a step, "
        f"from {bench.images} images\n\n{table(rows)}\n\n"
        f"The loop makes {statistics.median(loop):.2f} ({min(loop):.2f} to {max(loop):.2f}) times "
        f"as many images/s as bare steps; goal: 0.8. Median of {bench.rounds} rounds of "
        f"{bench.steps} steps. {clock.told()}"
    )


def _bare(member: Any, batch: Any, device: "torch.device") -> Callable[[], None]:
    """What no training can do without, with a member's own network and optimiser."""
    import torch
    from torch.nn import functional

    from vesselrl.reward.network import network_input

    network, optimiser = member._network, member.optimiser
    shown = network_input(batch.image, batch.candidate)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(shown)[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits.float(), batch.truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def measure_judging(bench: Bench) -> str:
    """What a user waits for; the network's weights are drawn, which costs what trained ones do."""
    from vesselrl.devices import best_device
    from vesselrl.reward.network import RewardNetwork, mean_candidate
    from vesselrl.reward.scoring import Scoring
    from vesselrl.rl.actions import ActionSet
    from vesselrl.rl.parameters import ActionParameters
    from vesselrl.segmenters.levels import from_levels

    clock = Clock(device := best_device())
    conf, reward = bench.parameters(), bench.reward()
    training, prompts = reward.training, list(conf["segmenter"]["prompts"])
    network = RewardNetwork(
        [training.architecture.build(seed).to(device) for seed in range(training.members)],
        training.architecture,
        reward.examples.max_side,
        Scoring(training.aggregation, training.kappa),
    )
    actions = ActionSet.of(prompts, prompts[0], ActionParameters(**conf["actions"]))
    loaders = list(bench.loaders("image", range(JUDGED)).values())
    for number, load in enumerate([loaders[0], *loaders]):
        if number == 1:
            clock.reset()  # the first image comes twice
        loaded = load()
        maps = from_levels(loaded["levels"])
        with clock("the network's opinions"):
            opinions = network.opinions(loaded["image"], mean_candidate(maps))
        made = actions.masks_by_prompt(maps)
        for _ in prompts:
            with clock("making the masks"):
                masks = next(made)
            with clock("judging them"):
                network.scoring.raw_scores(masks, opinions)
    totals = {name: sum(seconds) for name, seconds in clock.seconds.items()}
    totals["all"] = sum(totals.values())
    rows = [("", "seconds an image", "share")]
    for name, seconds in totals.items():
        rows.append((name, f"{seconds / JUDGED:.3f}", f"{seconds / totals['all']:.0%}"))
    return (
        f"## Judging {JUDGED} images of {' × '.join(map(str, maps.shape[1:]))} pixels: "
        f"{len(prompts)} prompts × {len(actions.operation_names)} operations, to do nothing among "
        f"them, × {len(actions.thresholds)} thresholds; {training.members} members\n\n"
        f"{table(rows)}\n\n{clock.told()}"
    )


def measure_quick(bench: Bench) -> str:
    """The training of the quick form, from its beginning to a calibrated network."""
    from vesselrl.checkpoints import Checkpoints
    from vesselrl.devices import best_device
    from vesselrl.reward.training import train_reward_network

    clock = Clock(best_device())
    conf, reward = bench.parameters(quick=True), bench.reward(quick=True)
    objective, seed = conf["report"]["objective"], conf["seed"]
    train, val = (conf["split"]["max_images"][split] for split in ("train", "val"))
    with clock("all"), tempfile.TemporaryDirectory() as folder:
        _, history = train_reward_network(
            training=bench.loaders("example", range(train)),
            validation=bench.loaders("example", range(train, train + val)),
            examples=reward.examples,
            parameters=reward.training,
            objective=objective,
            seed=seed,
            checkpoints=Checkpoints(Path(folder)),
        )
    last = {record["member"]: record for record in history}.values()
    row = {
        "members": f"{len(last)}",
        "steps in all": f"{sum(record['iteration'] for record in last):.0f}",
        "checks": f"{len(history)}",
        "seconds (goal: 30)": f"{clock.seconds['all'][0]:.1f}",
        "CPU seconds": f"{clock.busy:.1f}",
        "last tau": ", ".join(f"{record['tau']:.2f}" for record in last),
    }
    return (
        f"## The quick form: training on {train} images, checked and calibrated on {val}\n\n"
        f"{table([tuple(row), tuple(row.values())])}\n\n{clock.told()}"
    )


PARTS = {"training": measure_training, "judging": measure_judging, "quick": measure_quick}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=8, help="that the training loop draws from")
    parser.add_argument("--steps", type=int, default=40, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, help="side of the drawn images, in pixels")
    parser.add_argument("--env", help="a folder in conf/ that is folded over conf/base")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = vars(parser.parse_args())
    if options["env"] and not (PROJECT / "conf" / options["env"]).is_dir():
        parser.error(f"there is no folder conf/{options['env']}")
    os.environ["OMP_NUM_THREADS"] = "1"
    parts = options.pop("parts")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(**options, folder=Path(folder))
        used = bench.parameters(quick=True)["split"]["max_images"]
        needed = {
            "training": bench.images, "judging": JUDGED, "quick": used["train"] + used["val"],
        }  # fmt: skip
        bench.draw(max(needed[part] for part in parts))
        print(f"Device: {in_a_process(device_name)}.", flush=True)
        for part in parts:
            print(f"\n{in_a_process(PARTS[part], bench)}", flush=True)


if __name__ == "__main__":
    main()
