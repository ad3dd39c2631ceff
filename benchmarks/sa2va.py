"""Eleven prompts about an image: a Sa2VA model's own code in a loop beside vesselrl's segmenter.

    python benchmarks/sa2va.py [--small] [--prompts 11] [--images 5] [--dtype bfloat16]
                               [--families internvl qwen2.5 qwen3]

The models are stand-ins with random weights, made and loaded as a user's model is, with code of
their own: two encoders of the size of ViT-L that see 1024 × 1024 pixels, and a small decoder. With
``--small`` they are tiny, for the CPU. The loop calls ``predict_forward`` once a prompt, as a
script would; the segmenter asks the same prompts and lets each encoder run once an image. They take
turns, image by image, so that a busy machine slows both alike: a ratio is always of one image.
Compared are the masks at 0.5, which must be the same to the last pixel.

*Encoder passes* are of both encoders together. *GPU s* are what the GPU itself computed and copied
for one more image, by torch's profiler; the rest of the time it waits for the processor. *Memory*
is the most that was in use on the GPU.
Needs no more than torch, transformers, numpy, pillow, pydantic and safetensors.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import PROJECT, device_name, table
from PIL import Image

sys.path.insert(0, str(PROJECT / "tests/segmenters/sa2va"))

import stand_in

from vesselrl.segmenters.sa2va.borrowing import computing_on, listening
from vesselrl.segmenters.sa2va.parameters import with_image
from vesselrl.segmenters.sa2va.segmenter import Sa2vaSegmenter

LARGE = {"width": 1024, "depth": 24, "side": 1024, "patch": 16, "mask_side": 1024}
HEADINGS = (
    "family", "asked by", "s an image", "encoder passes", "GPU s", "GPU MB",
    "times faster (range)", "same masks",
)  # fmt: skip
SMALL = {"width": 64, "depth": 8, "side": 128, "patch": 8, "mask_side": 128}


@dataclass
class Side:
    """One way to ask: seconds of each image, seconds of the GPU, encoder passes, memory."""

    seconds: list[float] = field(default_factory=list)
    busy: float = float("nan")
    passes: int = 0
    memory: float = float("nan")


class Bench:
    """A model, asked both ways."""

    def __init__(self, folder: Path, prompts: int, dtype: str) -> None:
        names = [f"prompt {number}" for number in range(prompts)]
        texts = [f"Please segment the blood vessels of kind {number}." for number in range(prompts)]
        parameters = stand_in.parameters_of(
            folder,
            dtype=dtype,
            device=None,
            default_prompt=names[0],
            prompts={name: {"text": text} for name, text in zip(names, texts, strict=True)},
        )
        self.segmenter = Sa2vaSegmenter(parameters)
        self.loaded = self.segmenter._loaded
        self.names = names
        self.texts = [with_image(text) for text in texts]
        self.encoders = [one for one in self.loaded.model.modules() if hasattr(one, "runs")]

    def loop(self, image: np.ndarray) -> np.ndarray:
        """The masks of the model's own code, bool (P, H, W)."""
        picture = Image.fromarray(image).convert("RGB")
        model, device = self.loaded.model, self.loaded.device
        masks = []
        with (
            computing_on(device, self.loaded.dtype),
            torch.inference_mode(),
            listening(model, device),
        ):
            for text in self.texts:
                answer = model.predict_forward(image=picture, text=text, **self.loaded.helpers)
                masks.append(answer["prediction_masks"][0][0])
        return np.array(masks)

    def once(self, image: np.ndarray) -> np.ndarray:
        """The masks of vesselrl's segmenter, bool (P, H, W)."""
        masks: np.ndarray = self.segmenter.probabilities(image, self.names) > 0.5
        return masks

    def measure(self, side: Side, ask: Any, image: np.ndarray) -> np.ndarray:
        """Ask one way about an image, and note what it cost."""
        runs = sum(one.runs for one in self.encoders)
        gpu = self.loaded.device.type == "cuda"
        if gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        started = time.perf_counter()
        masks = ask(image)
        if gpu:
            torch.cuda.synchronize()
            side.memory = np.fmax(side.memory, torch.cuda.max_memory_allocated() / 1e6)
        side.seconds.append(time.perf_counter() - started)
        side.passes = sum(one.runs for one in self.encoders) - runs
        return masks

    def measure_gpu(self, side: Side, ask: Any, image: np.ndarray) -> None:
        """Ask one way about an image, and note how long the GPU worked."""
        if self.loaded.device.type != "cuda":
            return
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            ask(image)
            torch.cuda.synchronize()
        side.busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def compare(
    folder: Path, family: str, images: int, prompts: int, dtype: str
) -> list[tuple[str, ...]]:
    """Rows of the table for one family."""
    bench = Bench(folder, prompts, dtype)
    random = np.random.default_rng(0)
    loop, once = Side(), Side()
    same = True
    for number in range(images + 1):
        image = random.integers(0, 256, (512, 480, 3)).astype(np.uint8)
        if number == 0:  # warms up
            bench.once(image), bench.loop(image)
            continue
        turns = [(loop, bench.loop), (once, bench.once)]
        first, second = (
            bench.measure(side, ask, image) for side, ask in (turns if number % 2 else turns[::-1])
        )
        same &= np.array_equal(first, second) and 0 < first.mean() < 1
    image = random.integers(0, 256, (512, 480, 3)).astype(np.uint8)
    bench.measure_gpu(once, bench.once, image)
    bench.measure_gpu(loop, bench.loop, image)
    ratios = [a / b for a, b in zip(loop.seconds, once.seconds, strict=True)]
    parts = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    return [
        (
            family,
            name,
            f"{statistics.median(side.seconds):.3f}",
            str(side.passes),
            f"{side.busy:.3f}" if np.isfinite(side.busy) else "",
            f"{side.memory:.0f}" if np.isfinite(side.memory) else "",
            *(("", "") if side is loop else (parts, "yes" if same else "NO")),
        )
        for name, side in (("its own code, a prompt at a time", loop), ("the segmenter", once))
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--prompts", type=int, default=11)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--families", nargs="+", default=list(stand_in.CLASSES))
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    sizes = SMALL if given.small else LARGE
    rows = [HEADINGS]
    with tempfile.TemporaryDirectory() as folder:
        for family in given.families:
            path = stand_in.build(Path(folder) / family, family, language_depth=2, **sizes)
            rows += compare(path, family, given.images, given.prompts, given.dtype)
    print(
        f"{device_name()}, {given.dtype}; encoders of width {sizes['width']} and depth "
        f"{sizes['depth']} at {sizes['side']} pixels; {given.prompts} prompts, {given.images} "
        f"images\n\n{table(rows)}"
    )


if __name__ == "__main__":
    main()
