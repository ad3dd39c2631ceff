"""What ``--params`` may say, and in which order parameters win: conf < quick_overrides < --params."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from omegaconf import OmegaConf

from vesselrl.errors import VesselrlError

QUICK_FOLDER = "quick"


def resolve(
    conf: Mapping[str, Any], paths: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Merge the run-time parameters into those of ``conf/``.

    Args:
        conf: parameters as ``conf/`` has them, with their ``quick_overrides`` block.
        paths: the paths of ``globals.yml`` (``raw_dir``, ``out_dir``, …), each of which ``--params``
            may replace.
        given: what ``--params`` said, nested.

    Returns:
        The merged parameters without the ``quick_overrides`` block, and the paths of this run. A
        quick run writes to a folder of its own, so that it never touches a full run's results.

    Raises:
        VesselrlError: a key is unknown (near matches are listed) or ``quick`` is neither true nor
            false.
    """
    _refuse_unknown(given, {**conf, **paths})
    settings = {key: value for key, value in conf.items() if key != "quick_overrides"}
    wanted = {key: value for key, value in given.items() if key not in paths}
    run_paths = {key: given.get(key, value) for key, value in paths.items()}
    quick = wanted.get("quick", settings.get("quick", False))
    if not isinstance(quick, bool):
        raise VesselrlError(
            f"Parameter 'quick' is {quick!r}; expected true or false, as in --params quick:true."
        )
    layers = [settings]
    if quick:
        layers.append(dict(conf.get("quick_overrides", {})))
        run_paths["out_dir"] = f"{run_paths['out_dir']}/{QUICK_FOLDER}"
    merged = OmegaConf.to_container(OmegaConf.merge(*layers, wanted))
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}, run_paths


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    names = set(_dotted(known))
    for name in _dotted(given):
        if name in names:
            continue
        near = get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "conf/base lists all of them."
        raise VesselrlError(f"Unknown parameter '{name}': {hint}")


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
