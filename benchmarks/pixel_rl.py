"""RL on a segmenter's weights: its training beside bare steps, and what more masks cost.

    python benchmarks/pixel_rl.py [--size full] [--images 16] [--side 300] [--batches 20]
                                  [--rounds 7] [--samples 4]

On noise, with drawn weights, on the best device there is, these take turns in one process, so that
a busy machine slows all alike; a ratio is always of one round:

- *bare steps*: forward, binary cross-entropy, backward and optimiser of the same network on one
  batch of the same size that is on the device already, on a GPU as CUDA graphs too;
- *training*: `PixelLearner.step`: choosing images, cutting and changing squares, the start's
  answer, drawing and paying masks, objective, optimiser, averaged weights. A batch is learnt from
  in several inner steps, and each counts as so many images as the batch has;
- *one mask*: the same with K = 1;
- *squares alone*: what cutting and changing them takes of it.

Sizes are those of ``conf/gpu`` (``--size full``, the default on a GPU) or of ``conf/base``
(``--size light``).
"""

import argparse
import os
import statistics
from collections.abc import Callable
from typing import Any

from measuring import Clock, device_name, table

WARM_UP = 3
"""Batches that are not counted: in the first ones libraries choose their kernels."""
SIZES: dict[str, dict[str, Any]] = {
    "full": {"features": (32, 32, 64, 128, 256, 32), "downscale": 1, "patch": 288},
    "light": {"features": (16, 24, 32, 48, 64, 16), "downscale": 2, "patch": 192},
}


def measure(size: str, images: int, side: int, batches: int, rounds: int, samples: int) -> str:
    """All of it."""
    import numpy as np
    import torch

    from vesselrl.devices import best_device
    from vesselrl.networks.architecture import Architecture
    from vesselrl.networks.augmentation import Augmentation
    from vesselrl.rl.pixel.parameters import PolicyParameters
    from vesselrl.rl.pixel.ppo import PixelLearner
    from vesselrl.segmenters.unet.fitting import sample_squares
    from vesselrl.segmenters.unet.network import SegmentationNetwork
    from vesselrl.threads import one_thread

    clock = Clock(device := best_device())
    architecture = Architecture(1, SIZES[size]["features"], SIZES[size]["downscale"])
    start = SegmentationNetwork(architecture.build().to(device).eval(), architecture, side)
    parameters = PolicyParameters(
        patch=SIZES[size]["patch"], unlabelled=8, labelled=4, samples=samples, inner_steps=2,
        iterations=1, learning_rate=1e-4, ema_decay=0.95, clip=0.2, kl=0.1, kappa=2.0,
        check_every=1, patience=1,
    )  # fmt: skip
    strength = Augmentation(shadows=0.3, inverted=0.1)
    rng, noise = np.random.default_rng(0), torch.Generator(device).manual_seed(0)
    stacks = rng.integers(0, 256, (images, 3, side, side), dtype=np.uint8)
    stacks[:, 2] //= 8  # members that mostly agree
    pool = [torch.from_numpy(stack).to(device) for stack in stacks]
    batch = parameters.unlabelled + parameters.labelled

    def squares() -> Any:
        chosen = [pool[int(i)] for i in rng.integers(0, images, batch)]
        return sample_squares(chosen, parameters.patch, strength, rng, noise)

    def learner(count: int) -> PixelLearner:
        drawing = parameters.model_copy(update={"samples": count})
        return PixelLearner(start, drawing, strength, ["dice"], 0)

    several, one = learner(samples), learner(1)
    step = bare_step(architecture, squares(), device)

    def bare() -> None:
        for _ in range(parameters.inner_steps):
            step()

    turns: dict[str, Callable[[], Any]] = {
        "bare steps": bare,
        f"training, {samples} masks": lambda: several.step(pool, pool),
        "training, one mask": lambda: one.step(pool, pool),
        "squares alone": squares,
    }
    with one_thread():
        for number in range(rounds + 1):
            for name in list(turns)[:: 1 if number % 2 else -1]:  # who begins ends the next
                with clock(name):
                    for _ in range(batches if number else WARM_UP):
                        turns[name]()
            if number == 0:
                clock.reset()
    bare_name, several_name, one_name, _ = turns
    seconds = clock.seconds

    def ratio(above: str, below: str) -> str:
        found = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
        return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"

    rows = [("", "images/s", "ms a batch")]
    for name in turns:
        each = statistics.median(seconds[name]) / batches
        per_second = f"{batch * parameters.inner_steps / each:.0f}"
        rows.append((name, "" if name == "squares alone" else per_second, f"{1e3 * each:.1f}"))
    weights = sum(weight.numel() for weight in start.module.parameters())
    return (
        f"## {batch} squares of {parameters.patch} pixels a batch, {parameters.inner_steps} inner "
        f"steps, {weights / 1e6:.1f} million weights\n\n{table(rows)}\n\n"
        f"Training makes {ratio(bare_name, several_name)} times as many images/s as bare steps; "
        f"goal: 0.8. {samples} masks take {ratio(several_name, one_name)} times as long as one; "
        f"goal: at most 1.3. Median (least to most) of {rounds} rounds of {batches} batches.\n\n"
        f"{clock.told()} Three networks and their optimisers are in memory together."
    )


def bare_step(architecture: Any, squares: Any, device: Any) -> Callable[[], None]:
    """What no training can do without."""
    import torch
    from torch import nn
    from torch.nn import functional

    from vesselrl.networks.graphs import graphed

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = architecture.build().to(device)

        def forward(self, image: Any, target: Any) -> Any:
            on_gpu = image.device.type == "cuda"
            with torch.autocast(image.device.type, torch.bfloat16, on_gpu, cache_enabled=False):
                logits = self.network(image)
            return functional.binary_cross_entropy_with_logits(logits.float(), target)

    image, target = squares[0], squares[1][:, :1].contiguous()
    module = Loss()
    optimiser = torch.optim.AdamW(module.parameters(), 1e-4, fused=True)
    shapes = tuple(image.shape), tuple(target.shape)
    loss_of = graphed(module, shapes, device)

    def step() -> None:
        optimiser.zero_grad()
        loss_of(image, target).backward()
        optimiser.step()

    return step


def main() -> None:
    """Read the command line."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    default = "full" if torch.cuda.is_available() else "light"
    parser.add_argument("--size", choices=SIZES, default=default)
    parser.add_argument("--images", type=int, default=16, help="that squares are cut from")
    parser.add_argument("--side", type=int, default=300, help="of the images, in pixels")
    parser.add_argument("--batches", type=int, default=20, help="of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=4, help="masks drawn of each square")
    options = vars(parser.parse_args())
    print(f"Device: {device_name()}.", flush=True)
    print(f"\n{measure(**options)}")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
