"""What is kept of one image: the segmenter's answer to every prompt."""

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.segmenters import gpus
from vesselrl.segmenters.base import PromptsFailed, Segmenter, levels_from, levels_of

logger = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8]
Arrays = dict[str, npt.NDArray[Any]]


def make_candidates(
    sample: str, image: Image, segmenter: Segmenter, prompts: Sequence[str]
) -> Arrays:
    """Ask a segmenter all prompts about one image.

    A failure of the segmenter, of all prompts or some, is logged and kept with maps of zeros, so
    that one image never stops a run.

    Args:
        sample: the id, for the log.
        image: uint8 (H, W) or (H, W, 3).
        segmenter: see `vesselrl.segmenters.base.Segmenter`.
        prompts: P names.

    Returns:
        ``levels`` uint8 (P, H, W), see `vesselrl.segmenters.levels`; ``prompts`` str (P,);
        ``seconds`` float64 (), the time for all prompts; ``error`` str (), empty if all went well;
        ``failed`` bool (P,), the prompts without an answer; ``encoder_passes`` float64 (), how
        often the segmenter's encoder ran, NaN if it does not tell; ``gpu_mb`` float64 (), the most
        memory in use on a GPU, in MB, NaN without one.
    """
    passes = encoder_passes(segmenter)
    gpus.reset_peak()
    start = time.perf_counter()
    levels, errors, error = _ask(image, segmenter, prompts)
    seconds = time.perf_counter() - start
    failed = np.array([prompt in errors for prompt in prompts], bool)
    if errors:
        levels[failed] = 0
        which = "all" if failed.all() else ", ".join(errors)
        logger.warning(
            "Segmenting '%s' failed; empty are the maps of: %s. %s", sample, which, error
        )
        for one in {id(one): one for one in errors.values()}.values():
            logger.debug("Segmenting '%s' failed.", sample, exc_info=one)
    return {
        "levels": levels,
        "prompts": np.array(prompts, dtype=np.str_),
        "seconds": np.array(seconds),
        "error": np.array(error, dtype=np.str_),
        "failed": failed,
        "encoder_passes": np.array(encoder_passes(segmenter) - passes),
        "gpu_mb": np.array(gpus.peak_mb()),
    }


def _ask(
    image: Image, segmenter: Segmenter, prompts: Sequence[str]
) -> tuple[Image, Mapping[str, Exception], str]:
    """The levels, which prompts failed and why, and that as a line; empty if none did."""
    errors: Mapping[str, Exception] = {}
    error = ""
    try:
        try:
            levels = levels_from(segmenter, image, prompts)
        except PromptsFailed as failure:
            levels = levels_of(failure.probabilities, image, prompts)
            errors, error = failure.errors, str(failure)
        return levels, errors, error
    except Exception as exception:
        error = traceback.format_exception_only(exception)[-1].strip()
        levels = np.zeros((len(prompts), *image.shape[:2]), np.uint8)
        return levels, dict.fromkeys(prompts, exception), error


def encoder_passes(segmenter: Segmenter) -> float:
    """How often the segmenter's encoder has run; NaN if it does not tell."""
    passes = getattr(segmenter, "encoder_passes", None)
    return np.nan if passes is None else float(passes)


def extend_candidates(
    sample: str,
    image: Image,
    segmenter: Callable[[], Segmenter],
    keys: Mapping[str, str],
    earlier: Mapping[str, npt.NDArray[Any]] | None,
) -> Arrays:
    """Ask a segmenter those prompts about an image that it has not answered before.

    Args:
        sample: the id, for the log.
        image: uint8 (H, W) or (H, W, 3).
        segmenter: gives it; called only if there is something to ask.
        keys: prompt → a text that differs if anything does that its map depends on.
        earlier: what this function returned in an earlier run; None if it did not.

    Returns:
        What `make_candidates` returns of all prompts, in the order of the keys, and ``keys`` str
        (P,): that of each map, empty where the segmenter failed. Maps kept from earlier count with
        their share of the seconds of that time. ``encoder_passes`` is of the last time that the
        segmenter was asked, ``gpu_mb`` the most of all times.
    """
    prompts = list(keys)
    missing = unanswered(keys, earlier)
    made: Arrays = {name: np.array(np.nan) for name in ("encoder_passes", "gpu_mb")}
    made |= {"error": np.array("", np.str_), "seconds": np.array(0.0)}
    failed: set[str] = set()
    if missing:
        made = make_candidates(sample, image, segmenter(), missing)
        failed.update(made["prompts"][made.pop("failed")].tolist())
    if earlier is not None and len(missing) < len(prompts):
        levels = np.empty((len(prompts), *image.shape[:2]), np.uint8)
        if missing:
            levels[[prompts.index(prompt) for prompt in missing]] = made["levels"]
        place = {str(key): i for i, key in enumerate(earlier["keys"])}
        kept = [i for i, prompt in enumerate(prompts) if prompt not in missing]
        levels[kept] = earlier["levels"][[place[keys[prompts[i]]] for i in kept]]
        made["seconds"] = made["seconds"] + earlier["seconds"] * len(kept) / len(earlier["keys"])
        made["gpu_mb"] = np.fmax(made["gpu_mb"], earlier["gpu_mb"])
        if not missing:
            made["encoder_passes"] = earlier["encoder_passes"]
        made["levels"] = levels
    return made | {
        "prompts": np.array(prompts, dtype=np.str_),
        "keys": np.array(["" if p in failed else keys[p] for p in prompts], dtype=np.str_),
    }


def unanswered(
    keys: Mapping[str, str], earlier: Mapping[str, npt.NDArray[Any]] | None
) -> list[str]:
    """The prompts of which there is no map, in their order.

    Args:
        keys: prompt → a text that differs if anything does that its map depends on.
        earlier: ``keys`` str (P,) of the maps that there are; None if there are none.
    """
    there = set() if earlier is None else set(earlier["keys"].tolist())
    return [prompt for prompt, key in keys.items() if key not in there]
