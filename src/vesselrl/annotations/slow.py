"""Files that Pillow decodes in Python, byte after byte."""

from typing import Any, NoReturn

from vesselrl.annotations.entries import Refusal

MOST_BYTES = 2**23
"""About a second. Nothing that makes angiograms writes such files."""
MOST_COMMENTS = 100
"""Of a plain PNM file; each costs a copy of a megabyte around it. A good file has a few."""
_SLOW = {"bmp_rle": "run-length-encoded BMP", "ppm_plain": "plain PNM"}


def refuse_slow(source: Any, data: bytes) -> None:
    """A few megabytes of them take as long as hundreds of other images.

    Args:
        source: the Pillow image, not yet decoded.
        data: the bytes of its file.

    Raises:
        Refusal: it is a run-length-encoded BMP or a plain PNM of more than `MOST_BYTES`, or one of
            more than `MOST_COMMENTS`.
    """
    kind = next((_SLOW[tile.codec_name] for tile in source.tile if tile.codec_name in _SLOW), None)
    comments = data.count(b"#") if kind == "plain PNM" else 0
    if kind and len(data) > MOST_BYTES:
        _refuse(kind, f"{len(data):,} bytes, more than the limit of {MOST_BYTES:,}")
    if kind and comments > MOST_COMMENTS:
        _refuse(kind, f"{comments:,} comments, more than the limit of {MOST_COMMENTS}")


def _refuse(kind: str, found: str) -> NoReturn:
    raise Refusal(
        "image", f"a {kind} file, which is slow to read, of {found}", "save the image as PNG"
    )
