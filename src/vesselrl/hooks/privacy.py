"""What runs without pseudonyms left behind is put where names may stand."""

import logging
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from vesselrl.datasets.private import private_folder
from vesselrl.errors import VesselrlError
from vesselrl.files import unused
from vesselrl.hooks.contents import out_dir_of
from vesselrl.overrides import walk
from vesselrl.provenance import Ledger, Record

logger = logging.getLogger(__name__)

SETTING = "pseudonymise"
"""Under this name the ledger notes whether the latest run replaced names."""
_MADE = ("0[2-8]_*", "cache", "logs", "fingerprints.json")
_OURS = ("0[2-8]_*", "logs/*_????-??-??T??-??-??*.log", "fingerprints.json")
"""Which tell an output folder from others, where ``cache`` and ``logs`` may be anybody's."""
_WITH, _WITHOUT = Record("on", ""), Record("off", "")


class PrivacyHooks:
    """Keeps results with names and results with pseudonyms apart."""

    def __init__(self) -> None:
        self._parameters: dict[str, Any] = {}

    @hook_impl
    def after_catalog_created(self, parameters: dict[str, Any]) -> None:
        """Remember what may name files of the user's."""
        self._parameters = parameters["parameters"]

    @hook_impl
    def before_pipeline_run(self, catalog: Any) -> None:
        """Before names are replaced for the first time, put away what was made with them.

        All of it would be made again in any case, but logs, trainings that were kept, and files
        that somebody corrected would stay, and keep the names.
        """
        out_dir = out_dir_of(catalog)
        replaced = catalog.load("params:pseudonymise")
        before = Ledger(out_dir).get(SETTING)
        if replaced and before != _WITH:
            if _found(out_dir, _OURS):
                made = _found(out_dir, _MADE)
                self._refuse_what_is_needed(out_dir, made)
                _refuse_links(made)
                _put_away(out_dir, made)
            Ledger(out_dir).record(SETTING, _WITH)
        elif before == _WITH and not replaced:
            Ledger(out_dir).record(SETTING, _WITHOUT)

    def _refuse_what_is_needed(self, out_dir: Path, made: Sequence[Path]) -> None:
        """Stop before what this run is to read is put away."""
        for name, value in walk(self._parameters):
            if isinstance(value, str) and any(_is_within(value, path) for path in made):
                raise VesselrlError(
                    f"{name} is in {out_dir}, whose results were made with names and are put away "
                    "before names are replaced: give another out_dir, or copy it elsewhere."
                )


def _is_within(value: str, folder: Path) -> bool:
    return Path(value).expanduser().resolve().is_relative_to(folder.resolve())


def _found(out_dir: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(out_dir.glob(pattern))]


def _refuse_links(made: Sequence[Path]) -> None:
    """Stop where only a link would be put away: the names behind it would stay where they are.

    What it leads to is not moved either: it may be elsewhere on purpose, and hold more than ours.
    """
    for path in made:
        for one in [path, *path.rglob("*")]:  # which does not follow links
            if one.is_symlink():
                raise VesselrlError(
                    f"{one} is a link to {os.path.realpath(one)}, which may hold results made with "
                    "names, and these are put away before names are replaced: move what it leads "
                    "to where names may stand, remove the link, and run again; or give another "
                    "out_dir."
                )


def _put_away(out_dir: Path, made: Sequence[Path]) -> None:
    private_folder(out_dir / "00_private")
    earlier = out_dir / "00_private/earlier"
    earlier.mkdir(mode=0o700, exist_ok=True)
    kept = unused(earlier / time.strftime("%Y-%m-%dT%H-%M-%S"))
    kept.mkdir(mode=0o700)
    for path in made:
        shutil.move(path, kept)
    logger.warning(
        "%s held results made without pseudonyms, with names in them: they are in %s now.",
        out_dir,
        kept,
    )
