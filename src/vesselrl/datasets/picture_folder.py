"""A folder of PNG files, of which only those are written that another content would change."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from kedro.io import AbstractDataset, DatasetError
from tqdm import tqdm

from vesselrl.journal import Journal
from vesselrl.parallel import ordered_map

if TYPE_CHECKING:
    from vesselrl.annotations.writing import Pictures

Pixels = npt.NDArray[Any]


def read_image(path: Path) -> Pixels:
    """The pixels of a PNG file, uint8 (H, W) or (H, W, 3)."""
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """The mask in a PNG file, bool (H, W)."""
    return read_image(path) > 0


class ImageFolderDataset(AbstractDataset["Pictures", dict[str, Callable[[], Pixels]]]):
    """Pictures by name, uint8 (H, W) or (H, W, 3), ↔ a folder of 8-bit grey or RGB PNG files.

    Saving makes the pictures in worker processes, which write them too. What each was made from is
    recorded in a journal: a picture whose file is there, and was made from the same, stays as it
    is. So a run that broke off goes on where it was, and files of pictures that are gone are
    removed.

    Args:
        path: the folder.
        journal: the file of the journal.
        metadata: for Kedro's plugins.
    """

    _read = staticmethod(read_image)

    def __init__(self, *, path: str, journal: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(path)
        self._journal = Path(journal)
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], Pixels]]:
        """Name → loader of one picture, in the order of the names.

        Raises:
            DatasetError: there are none.
        """
        names = sorted(self._sizes())
        if not names:
            raise DatasetError(f"No pictures in {self._path}.")
        return {name: partial(self._read, self._path / f"{name}.png") for name in names}

    def save(self, data: "Pictures") -> None:
        """Make and write what is missing or changed, and remove the rest."""
        from vesselrl.annotations.writing import PngWriter

        self._path.mkdir(parents=True, exist_ok=True)
        keys, sizes = data.keys_of_content, self._sizes()
        workplace = self._path.with_name(f"{self._path.name}.unfinished")
        with Journal(self._journal) as journal:
            done = [
                name
                for name, key in keys.items()
                if key and name in sizes and journal.get(name) == [key, sizes[name]]
            ]
            missing = dict.fromkeys(keys)
            for name in done:
                del missing[name]
            journal.keep(done)  # what is about to be replaced does not count from here on
            try:
                workplace.mkdir(exist_ok=True)
                write = PngWriter(self._path, workplace)
                with closing(ordered_map(write, data.makers(missing), data.workers)) as made:
                    for name, size in tqdm(made, data.title, len(missing), unit="image"):
                        journal.add(name, [keys[name], size])
            finally:
                shutil.rmtree(workplace, ignore_errors=True)
            for name in sizes.keys() - keys.keys():
                (self._path / f"{name}.png").unlink()
            journal.keep(keys)

    def _sizes(self) -> dict[str, int]:
        """Name and number of bytes of each file."""
        if not self._path.is_dir():
            return {}
        with os.scandir(self._path) as entries:
            return {e.name[:-4]: e.stat().st_size for e in entries if e.name.endswith(".png")}

    def _exists(self) -> bool:
        sizes, made = self._sizes(), Journal(self._journal)
        whole = all((made.get(name) or [None, -1])[1] == sizes.get(name) for name in made)
        return whole and len(made) > 0

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}


class MaskFolderDataset(ImageFolderDataset):
    """Masks by name, bool (H, W), ↔ a folder of PNG files with 0 for False and 255 for True."""

    _read = staticmethod(read_mask)
