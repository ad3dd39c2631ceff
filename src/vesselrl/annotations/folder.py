"""A folder of source images or masks: files by name, and nothing outside it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from vesselrl.annotations.entries import Refusal


class ImageFolder(Mapping[str, Callable[[], bytes]]):
    """File name relative to the folder → a loader of the file's bytes, read only on demand.

    Args:
        root: the folder.
        field: what its files are called in an entry.
    """

    def __init__(self, root: Path, field: str = "image") -> None:
        self._root = root.resolve()
        self._name = root.name
        self._field = field

    def __getitem__(self, file: str) -> Callable[[], bytes]:
        """The loader of one file.

        Raises:
            Refusal: the name leads out of the folder.
            KeyError: there is no such file.
        """
        # Windows' rules know both separators and drives, wherever the annotations were made.
        parts = PureWindowsPath(file)
        hint = f"expected a path relative to {self._name}/"
        if parts.anchor or PurePosixPath(file).is_absolute():
            raise Refusal(self._field, "an absolute path", hint)
        if ".." in parts.parts:
            raise Refusal(self._field, f"the path leads out of {self._name}/ by '..'", hint)
        try:
            path = (self._root / file).resolve()
            if not path.is_relative_to(self._root):
                reason = f"a link that leads out of {self._name}/"
                raise Refusal(self._field, reason, "copy the file itself")
            if not path.is_file():
                raise KeyError(file)
        except (OSError, ValueError, RuntimeError):  # too long, odd characters, links in a circle
            raise KeyError(file) from None
        return path.read_bytes

    def __iter__(self) -> Iterator[str]:
        """Names of all files, in order, hidden ones and annotations beside them left out."""
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and not path.name.startswith(".") and path.suffix != ".json":
                yield path.relative_to(self._root).as_posix()

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read(
    files: Mapping[str, Callable[[], bytes]],
    file: str,
    field: str = "image",
    folder: str = "images",
) -> bytes:
    """The bytes of an image or mask file.

    Args:
        files: file name → loader of the file's bytes.
        file: the name.
        field: what the file is called in an entry.
        folder: what the folder is called.

    Raises:
        Refusal: the name leads out of the folder, or the file is missing or unreadable.
    """
    try:
        return files[file]()
    except KeyError:
        raise Refusal(
            field, f"no such file in {folder}/", "add the file, or correct the name (case counts)"
        ) from None
    except OSError as error:
        raise Refusal(
            field, f"cannot be read: {error.strerror}", "check the file's permissions"
        ) from None


def normalised(file: str) -> str:
    """One spelling for each path: ``./a//b.png`` is ``a/b.png``."""
    return PurePosixPath(file).as_posix()
