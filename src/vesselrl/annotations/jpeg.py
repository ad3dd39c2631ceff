"""How often a JPEG file asks for all of its pixels to be gone through."""

import re

from vesselrl.annotations.entries import Refusal

MOST_SCANS = 100
"""As libtiff has it. A progressive JPEG has about ten."""
_START_OF_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")


def refuse_many_scans(data: bytes) -> None:
    """A scan takes a few bytes and, of a large image, a good part of a second.

    Args:
        data: the bytes of the file.

    Raises:
        Refusal: it has more scans than `MOST_SCANS`.
    """
    if (scans := len(_START_OF_SCAN.findall(data))) > MOST_SCANS:
        raise Refusal(
            "image",
            f"a JPEG file of {scans} scans, made to take long: more than the limit of {MOST_SCANS}",
            "save the image anew if you trust it",
        )
