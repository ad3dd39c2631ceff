"""Modules of your own: a segmenter, a post-processing operation or a metric in one file each.

A name in conf that is not built in is looked for among the modules of this package:

==============================  ==================================================================
``segmenter.kind``              ``Segmenter``, as `vesselrl.segmenters.base.Segmenter` describes
                                it, and its ``Parameters``, a `SegmenterParameters`
``actions.operations.*.kind``   ``operation(settings, mask, probability) -> mask``, as
                                `vesselrl.rl.operations.apply_operation`
``evaluation.metrics``          ``metric(prediction, truth) -> float``, of two
                                `vesselrl.metrics.geometry.Geometry`
==============================  ==================================================================

No other code can be named in conf, so settings from elsewhere, such as those of a bundle, run none.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from vesselrl.errors import VesselrlError


def extensions() -> list[str]:
    """The names of the modules."""
    return [module.name for module in iter_modules(__path__)]


def known_or_extension(what: str, name: str, part: str, known: tuple[str, ...] = ()) -> str:
    """The name, if it is built in or a module of this package that has ``part``.

    Raises:
        ValueError: it is neither, and ``what`` it should name, or the module has no such part or
            cannot be loaded; for validators of parameters.
    """
    names = [*known, *extensions()]
    if name not in names:
        expected = f"one of {', '.join(names)}, or" if names else "the name of"
        raise ValueError(
            f"{what} is '{name}'; expected {expected} a module in src/vesselrl/extensions"
        )
    if name not in known:
        try:
            extension(name, part)
        except VesselrlError as error:
            raise ValueError(str(error)) from error
    return name


def built_in_or_extension(built_in: Mapping[str, str], name: str, part: str) -> Any:
    """What is built in under a name, imported only now, or else an extension's ``part``.

    Args:
        built_in: name → where it is, as ``module:name``.
        name: what conf asks for.
        part: see `extension`.
    """
    if name not in built_in:
        return extension(name, part)
    module, found = built_in[name].split(":")
    return getattr(import_module(module), found)


def extension(name: str, part: str) -> Any:
    """What a module calls ``part``.

    Raises:
        VesselrlError: there is no such module, it cannot be loaded, or it has no such part.
    """
    if name not in extensions():
        raise VesselrlError(
            f"'{name}' is not built in, and src/vesselrl/extensions has no module of that name: "
            "whoever asks for it needs that module."
        )
    try:
        module = import_module(f"{__name__}.{name}")
    except Exception as error:  # whatever is wrong with a user's module
        raise VesselrlError(
            f"src/vesselrl/extensions/{name}.py cannot be loaded: {type(error).__name__}: {error}."
        ) from error
    if not hasattr(module, part):
        raise VesselrlError(
            f"{module.__file__} has no '{part}', which conf asks it for: see docs/extend.md."
        )
    return getattr(module, part)
