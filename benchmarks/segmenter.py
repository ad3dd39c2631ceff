"""Our own segmenter: its training loop beside bare steps, and what an image costs.

    python benchmarks/segmenter.py [--images 32] [--steps 40] [--rounds 5] [--full] [--size 304]
                                   [--networks 1 4]

Draws images with `vesselrl.synthetic`, then measures, each in a process of its own, on the best
device there is:

- *training*: the loop that trains a network (choosing images, cutting and changing squares, loss,
  optimiser, averaged weights) beside bare steps of the same network and optimiser (the same loss,
  forward and backward, as CUDA graphs on a GPU, and the optimiser) on one batch that is on the
  device already. They take turns, so that a busy machine slows both alike; a ratio is always of one
  round. With several ``--networks`` so many train side by side, in threads, as the pipeline does;
- *mapping*: the time from an image to its map, without and with test-time augmentation.

The networks are the light ones of ``conf/base``, with ``--full`` those of ``conf/gpu``.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from measuring import Clock, device_name, in_a_process, table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from vesselrl.segmenters.unet.fitting import Pair, SegmenterLearner
    from vesselrl.segmenters.unet.parameters import SupervisedParameters

WARM_UP = 10
"""Steps that are not counted: in the first ones libraries choose their kernels."""
TRAINING = {
    "features": [16, 24, 32, 48, 64, 16],
    "downscale": 4,
    "norm": "batch",
    "patch": 192,
    "batch": 8,
    "iterations": 300,
    "learning_rate": 0.01,
    "ema_decay": 0.95,
    "cldice": 0,
    "checks": [0.2, 0.5, 0.8, 1],
    "patience": 4,
}
"""As in conf/base, which is not read: Kedro and PyYAML need not be installed."""
FULL_SIZE = {
    "features": [32, 32, 64, 128, 256, 32],
    "downscale": 1,
    "patch": 288,
    "iterations": 700,
    "learning_rate": 0.002,
    "ema_decay": 0.99,
    "checks": [0.07, 0.25, 0.6, 1],
}
"""As in conf/gpu."""
SETTINGS: dict[str, Any] = {
    "devices": None,
    "pretrained": "none",
    "max_side": 320,
    "folds": 3,
    "students": {"iterations": 100, "learning_rate": 0.003},
    "augmentation": {
        "angle": 60, "zoom": 0.25, "shear": 0.2, "bend": 4, "gamma": 0.5, "gain": 0.25,
        "sharpness": 0.7, "noise": 0.06, "shadows": 0.3, "inverted": 0,
    },
}  # fmt: skip
"""As in conf/base."""
FRAMES = 4
"""Images of one patient."""
MAPPED = 20
"""Images whose maps are made."""


@dataclass(frozen=True)
class Bench:
    """What the command line asks for.

    Attributes:
        images: how many the training loop draws from.
        steps: of a round, of the training loop and bare alike.
        rounds: how often both take their turn.
        size: side of the drawn images in pixels.
        full: whether the networks are those of ``conf/gpu``.
    """

    images: int
    steps: int
    rounds: int
    size: int
    full: bool

    def parameters(self) -> "SupervisedParameters":
        """The sizes that were asked for."""
        from vesselrl.segmenters.unet.parameters import SupervisedParameters

        training = TRAINING | (FULL_SIZE if self.full else {})
        return SupervisedParameters(**SETTINGS | {"training": training})

    def drawn(self, count: int) -> "list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]":
        """So many images with their truths."""
        from vesselrl.synthetic.angiogram import draw_patient

        patients = range(-(-count // FRAMES))
        frames = [frame for n in patients for frame in draw_patient(n, FRAMES, self.size)]
        return [(frame.image, frame.mask) for frame in frames[:count]]


def measure_training(bench: Bench, networks: int) -> str:
    """The training loop beside bare steps."""
    import torch

    from vesselrl.devices import best_device
    from vesselrl.segmenters.unet.examples import pairs, segmenter_example
    from vesselrl.segmenters.unet.fitting import SegmenterLearner
    from vesselrl.threads import one_thread

    clock = Clock(device := best_device())
    supervised = bench.parameters()
    # A schedule of the learning rate ends after so many steps: more than are made.
    enough = {"iterations": bench.steps * bench.rounds + 2 * WARM_UP}
    parameters = supervised.training.model_copy(update=enough)
    strength, size = supervised.augmentation.strength, supervised.max_side
    examples = {
        str(number): segmenter_example(image, truth, size)
        for number, (image, truth) in enumerate(bench.drawn(bench.images))
    }
    pool = pairs({name: (lambda e=example: e) for name, example in examples.items()}, device)
    on_device = [pool[i] for i in range(len(pool))]  # to load them once is no part of a step

    def learners(seed: int) -> "list[SegmenterLearner]":
        return [
            SegmenterLearner(parameters.architecture, parameters, strength, seed + n, device)
            for n in range(networks)
        ]

    turns: dict[str, list[Callable[[], Any]]] = {
        "training loop": [(lambda one=one: one.step([on_device])) for one in learners(0)],
        "bare steps": [_bare(one, parameters.batch, parameters.patch, device)
                       for one in learners(networks)],
    }  # fmt: skip

    def repeat(step: Callable[[], Any], times: int) -> None:
        torch.set_num_threads(1)
        for _ in range(times):
            step()

    with one_thread(), ThreadPoolExecutor(networks) as threads:
        for number in range(bench.rounds + 1):
            # Whoever begins one round ends the next.
            for name in list(turns)[:: 1 if number % 2 else -1]:
                with clock(name):
                    times = bench.steps if number else WARM_UP
                    list(threads.map(repeat, turns[name], [times] * networks))
            if number == 0:
                clock.reset()
    seconds = clock.seconds
    ratios = [
        bare / loop
        for bare, loop in zip(seconds["bare steps"], seconds["training loop"], strict=True)
    ]
    rows = [("", "images/s", "ms a step")]
    for name in turns:
        step = statistics.median(seconds[name]) / bench.steps
        rows.append((name, f"{networks * parameters.batch / step:.0f}", f"{1e3 * step:.2f}"))
    return (
        f"## Training {networks} at a time: {parameters.batch} squares of {parameters.patch} "
        f"pixels a step, features {parameters.features}, downscale {parameters.downscale}\n\n"
        f"{table(rows)}\n\n"
        f"The loop makes {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
        f"times as many images/s as bare steps; goal: 0.8. Median of {bench.rounds} rounds of "
        f"{bench.steps} steps. {clock.told()}"
    )


def _bare(
    learner: "SegmenterLearner", batch: int, patch: int, device: "torch.device"
) -> Callable[[], None]:
    """What no training can do without, with a learner's own network, loss and optimiser."""
    import torch

    image = torch.randn((batch, 1, patch, patch), device=device)
    target = torch.rand((batch, 1, patch, patch), device=device)

    def step() -> None:
        loss = learner._loss(image, target)
        learner.optimiser.zero_grad()
        loss.backward()
        learner.optimiser.step()

    return step


def measure_mapping(bench: Bench, _: int) -> str:
    """From an image to its map; weights are drawn, which cost what trained ones do."""
    from vesselrl.devices import best_device
    from vesselrl.segmenters.unet.network import SegmentationNetwork

    clock = Clock(device := best_device())
    supervised = bench.parameters()
    architecture = supervised.training.architecture
    module = architecture.build(0).to(device).eval()
    network = SegmentationNetwork(module, architecture, supervised.max_side)
    kinds = {"one pass": False, "four mirrored views": True}
    images: list[Pair] = [image for image, _ in bench.drawn(MAPPED)]
    for number, image in enumerate([images[0], *images]):
        if number == 1:
            clock.reset()  # the first image comes twice
        for kind, flips in kinds.items():
            with clock(kind):
                network.probability(image, flips=flips)
    rows = [("", "ms an image")]
    rows += [(kind, f"{1e3 * statistics.median(clock.seconds[kind]):.1f}") for kind in kinds]
    shape = " × ".join(map(str, images[0].shape[:2]))
    return f"## Mapping images of {shape} pixels\n\n{table(rows)}\n\n{clock.told()}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=32, help="that the training loop draws from")
    parser.add_argument("--steps", type=int, default=40, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=304, help="of the drawn images, in pixels")
    parser.add_argument("--full", action="store_true", help="the networks of conf/gpu")
    parser.add_argument(
        "--networks", type=int, nargs="+", default=[1, 4], help="that train side by side"
    )
    options = vars(parser.parse_args())
    os.environ["OMP_NUM_THREADS"] = "1"
    networks = options.pop("networks")
    bench = Bench(**options)
    print(f"Device: {in_a_process(device_name)}.", flush=True)
    for count in networks:
        print(f"\n{in_a_process(measure_training, bench, count)}", flush=True)
    print(f"\n{in_a_process(measure_mapping, bench, 1)}", flush=True)


if __name__ == "__main__":
    main()
