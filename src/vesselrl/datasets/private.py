"""What must not leave the hospital: the key of the pseudonyms and the names they stand for."""

import json
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.errors import VesselrlError
from vesselrl.files import UNFINISHED, write_atomically

_KEY_BYTES = 32


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter and that git ignores, itself included."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        write_atomically(ignore, lambda stream: stream.write(b"*\n"), mode=0o600)


class PrivateJsonDataset(AbstractDataset[dict[str, Any], Any]):
    """JSON ↔ a file that only its owner can read, in a folder of the same kind.

    An object without anything in it is not written where there is no such folder yet, and an absent
    file loads as an empty one: who keeps no secrets gets no folder for them.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """The content of the file, an empty object where there is none.

        Raises:
            VesselrlError: the file is not JSON.
        """
        try:
            return json.loads(self._filepath.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise VesselrlError(
                f"{self._filepath} is damaged: delete it and run again to make it anew."
            ) from error

    def save(self, data: dict[str, Any]) -> None:
        """Replace the file."""
        if not any(data.values()) and not self._filepath.parent.exists():
            return
        private_folder(self._filepath.parent)
        text = json.dumps(data, indent=1)
        write_atomically(self._filepath, lambda stream: stream.write(text.encode()), mode=0o600)

    def _exists(self) -> bool:
        return self._filepath.is_file() or not self._filepath.parent.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class PrivateKeyDataset(AbstractDataset[NoReturn, Callable[[], bytes]]):
    """A random key that is drawn once, by whoever first asks for it, and kept."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Callable[[], bytes]:
        """A getter of the key, 32 bytes; nothing is read or made until it is called."""
        return self._key

    def save(self, data: NoReturn) -> None:
        """Not possible: the key is drawn, not given."""
        raise DatasetError(f"{self._filepath} is drawn at random and never replaced.")

    def _key(self) -> bytes:
        if not self._filepath.exists():
            self._draw()
        try:
            key = bytes.fromhex(json.loads(self._filepath.read_text(encoding="utf-8"))["key"])
        except (ValueError, KeyError, TypeError):
            key = b""
        if len(key) != _KEY_BYTES:
            raise VesselrlError(
                f"{self._filepath} holds no key of {_KEY_BYTES} bytes: restore it, or delete it to "
                "draw another; all pseudonyms change then."
            )
        return key

    def _draw(self) -> None:
        folder = self._filepath.parent
        private_folder(folder)
        handle, temporary = tempfile.mkstemp(UNFINISHED, ".key.", folder)  # made with mode 600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({"key": secrets.token_hex(_KEY_BYTES)}, stream)
            # Unlike renaming, linking never replaces a key that another process drew meanwhile.
            os.link(temporary, self._filepath)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            Path(temporary).replace(self._filepath)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
