"""What ``--params`` may say, and which value wins: conf < quick_overrides < ``--params``."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from omegaconf import OmegaConf

from vesselrl.errors import VesselrlError
from vesselrl.storage import is_remote

QUICK_FOLDER = "quick"
QUICK_BLOCK = "quick_overrides"
MAYBE_REMOTE = ("input_dir", "publish_to")
"""Paths that may be URLs, of whatever store fsspec knows; see `vesselrl.storage`."""


def parse(text: str) -> dict[str, Any]:
    r"""Read the text of ``--params``.

    Items are separated by commas, keys from values by the first ``:`` or ``=``, so that a value may
    hold both; dots in a key go down into a group. Values are YAML: a list, ``[1, 2]``, a mapping,
    ``{train: 3}``, or a quoted text, ``'a,b'``, may hold commas.

    >>> parse("quick:true,rl.seeds=[1,2],raw_dir=C:\data,out_dir='a,b'")
    {'quick': True, 'rl': {'seeds': [1, 2]}, 'raw_dir': 'C:\\data', 'out_dir': 'a,b'}

    Raises:
        VesselrlError: an item has no key or no value, or its value is not YAML.
    """
    items = []
    for item in _split_at_commas(text):
        separators = [item.index(sign) for sign in ":=" if sign in item]
        at = min(separators, default=0)
        if not item[:at].strip():
            raise VesselrlError(
                f"--params: '{item}' is no parameter; expected key=value or key:value, items "
                "separated by commas. A value that holds a comma goes in quotes: "
                "--params \"raw_dir='/data/a,b'\"."
            )
        items.append((item[:at].strip(), item[at + 1 :].strip()))
    merged = OmegaConf.create()
    for key, value in items:
        try:
            merged = OmegaConf.merge(merged, OmegaConf.from_dotlist([f"{key}={value}"]))
            OmegaConf.resolve(merged)
        except Exception as error:  # YAML and OmegaConf have many kinds
            raise VesselrlError(
                f"--params: the value of '{key}', {value}, cannot be read; a text with special "
                f"characters goes in quotes: --params \"{key}='…'\"."
            ) from error
    return {str(key): value for key, value in OmegaConf.to_container(merged).items()}


def _split_at_commas(text: str) -> Iterator[str]:
    """The items of a text; commas within a value's brackets or quotes do not separate."""
    closing = {"[": "]", "{": "}", "'": "'", '"': '"'}
    item = ""
    expected: list[str] = []  # what closes the brackets and quotes that are open
    for sign in text:
        opens = item.rstrip().endswith((":", "=")) or bool(expected)
        if expected and sign == expected[-1]:
            expected.pop()
        elif sign in closing and opens and (not expected or expected[-1] not in "'\""):
            expected.append(closing[sign])
        if sign == "," and not expected:
            yield item
            item = ""
        else:
            item += sign
    if item.strip():
        yield item


def resolve(
    conf: Mapping[str, Any], paths: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge the run-time parameters into those of ``conf/``.

    Args:
        conf: parameters as ``conf/`` has them, with their ``quick_overrides`` block.
        paths: the paths of ``globals.yml`` (``raw_dir``, ``out_dir``, …), which ``--params`` may
            replace; None where there is none unless it is given.
        given: what ``--params`` said, nested.

    Returns:
        The merged parameters without the ``quick_overrides`` block, and the paths of this run. A
        quick run writes to a folder of its own, so that it never touches a full run's results.

    Raises:
        VesselrlError: a key is unknown (near matches are listed), ``quick`` or
            ``pseudonymise`` is neither true nor false, ``seed`` is no seed, or a path is none.
    """
    # Kedro reads the files of conf/ in an order of chance, which must not show in fingerprints.
    settings = {key: value for key, value in sorted(conf.items()) if key != QUICK_BLOCK}
    overrides = conf.get(QUICK_BLOCK) or {}
    _refuse_unknown(given, {**settings, **paths}, "")
    _refuse_unknown(overrides, settings, f"{QUICK_BLOCK}.")
    wanted = {key: value for key, value in given.items() if key not in paths}
    run_paths = {
        key: _as_path(key, given.get(key, value))
        for key, value in paths.items()
        if value is not None or given.get(key) is not None
    }
    quick = _switch("quick", wanted.get("quick", settings.get("quick", False)))
    if quick:
        run_paths["out_dir"] += f"/{QUICK_FOLDER}"
    merged = _merged(_merged(settings, overrides if quick else {}), wanted)
    _check_seed(merged.get("seed", 0))
    _switch("pseudonymise", merged.get("pseudonymise", False))
    return merged, run_paths


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes folded in, groups entry by entry; all else, lists too, is replaced."""
    merged = dict(settings)
    for name, change in changes.items():
        both = isinstance(change, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], change) if both else change
    return merged


def _as_path(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise VesselrlError(
            f"Parameter '{key}' is {value!r}; expected a path, as in --params {key}=./folder."
        )
    if is_remote(value) and key not in MAYBE_REMOTE:
        raise VesselrlError(
            f"Parameter '{key}' is '{value}'; expected a path on this machine: mount the remote "
            "folder, or copy it first."
        )
    return value


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise VesselrlError(
            f"Parameter '{name}' is {value!r}; expected true or false, as in --params {name}:true."
        )
    return value


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise VesselrlError(
            f"Parameter 'seed' is {seed!r}; expected a whole number from 0 to 2^32-1."
        )


def suggestion(name: str, names: Collection[str], otherwise: str) -> str:
    """What may have been meant by a name that does not exist; ``otherwise`` if nothing is near."""
    in_groups = [known for known in names if known.endswith(f".{name}")]
    near = list(dict.fromkeys([*in_groups, *get_close_matches(name, names)]))[:3]
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> None:
    everything = dict(walk(known))
    for name, value in walk(given):
        if name not in everything:
            hint = suggestion(name, everything, "conf/base lists all of them.")
            raise VesselrlError(f"Unknown parameter '{prefix}{name}': {hint}")
        group = everything[name]
        if isinstance(group, Mapping) and not isinstance(value, Mapping):
            raise VesselrlError(
                f"Parameter '{prefix}{name}' is a group, and got {value!r}; expected values for "
                f"what it holds, as in {name}.{next(iter(group), 'name')}=…"
            )


def walk(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every entry, the groups themselves included."""
    for key, value in tree.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from walk(value, f"{prefix}{key}.")
