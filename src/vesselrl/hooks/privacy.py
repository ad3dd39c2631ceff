"""What runs without pseudonyms left behind is put where names may stand."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from vesselrl.datasets.private import private_folder
from vesselrl.hooks.contents import out_dir_of
from vesselrl.provenance import Ledger, Record

logger = logging.getLogger(__name__)

SETTING = "pseudonymise"
"""Under this name the ledger notes whether the latest run replaced names."""
_MADE = ("0[2-8]_*", "cache", "logs", "fingerprints.json")
_WITH, _WITHOUT = Record("on", ""), Record("off", "")


class PrivacyHooks:
    """Keeps results with names and results with pseudonyms apart."""

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
            _put_away(out_dir)
            Ledger(out_dir).record(SETTING, _WITH)
        elif before == _WITH and not replaced:
            Ledger(out_dir).record(SETTING, _WITHOUT)


def _put_away(out_dir: Path) -> None:
    found = [path for pattern in _MADE for path in sorted(out_dir.glob(pattern))]
    if not found:
        return
    private_folder(out_dir / "00_private")
    earlier = out_dir / "00_private/earlier"
    earlier.mkdir(mode=0o700, exist_ok=True)
    kept = earlier / time.strftime("%Y-%m-%dT%H-%M-%S")
    kept.mkdir(mode=0o700)
    for path in found:
        shutil.move(path, kept)
    logger.warning(
        "%s held results made without pseudonyms, with names in them: they are in %s now.",
        out_dir,
        kept,
    )
