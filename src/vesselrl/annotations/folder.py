"""The folder of source images: files by name, and nothing outside it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from vesselrl.annotations.entries import Refusal


class ImageFolder(Mapping[str, Callable[[], bytes]]):
    """File name relative to the folder → a loader of the file's bytes, read only on demand."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def __getitem__(self, file: str) -> Callable[[], bytes]:
        """The loader of one file.

        Raises:
            Refusal: the name leads out of the folder.
            KeyError: there is no such file.
        """
        # Windows' rules know both separators and drives, wherever the annotations were made.
        parts = PureWindowsPath(file)
        hint = "expected a path relative to images/"
        if parts.anchor or PurePosixPath(file).is_absolute():
            raise Refusal("image", "an absolute path", hint)
        if ".." in parts.parts:
            raise Refusal("image", "the path leads out of images/ by '..'", hint)
        try:
            path = (self._root / file).resolve()
            if not path.is_relative_to(self._root):
                raise Refusal("image", "a link that leads out of images/", "copy the file itself")
            if not path.is_file():
                raise KeyError(file)
        except (OSError, ValueError, RuntimeError):  # too long, odd characters, links in a circle
            raise KeyError(file) from None
        return path.read_bytes

    def __iter__(self) -> Iterator[str]:
        """Names of all files, in order, hidden ones left out."""
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                yield path.relative_to(self._root).as_posix()

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read(images: Mapping[str, Callable[[], bytes]], file: str) -> bytes:
    """The bytes of an image file.

    Raises:
        Refusal: the name leads out of the folder, or the file is missing or unreadable.
    """
    try:
        return images[file]()
    except KeyError:
        raise Refusal(
            "image", "no such file in images/", "add the file, or correct the name (case counts)"
        ) from None
    except OSError as error:
        raise Refusal(
            "image", f"cannot be read: {error.strerror}", "check the file's permissions"
        ) from None


def normalised(file: str) -> str:
    """One spelling for each path: ``./a//b.png`` is ``a/b.png``."""
    return PurePosixPath(file).as_posix()
