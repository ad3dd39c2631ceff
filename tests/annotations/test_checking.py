"""What is remembered of checks of entries."""

import errno

import numpy as np

from vesselrl.annotations.checking import Check, check_all
from vesselrl.annotations.png import png_of_image
from vesselrl.annotations.pseudonyms import Pseudonyms
from vesselrl.journal import Journal


def test_what_could_not_be_read_once_is_tried_again_and_what_was_accepted_is_not(tmp_path):
    reads = []
    data = png_of_image(np.zeros((8, 8), np.uint8))

    def load():
        reads.append(1)
        if len(reads) == 1:
            raise OSError(errno.EIO, "the store did not answer")
        return data

    def check():
        entries, hashes = [{"image": "a.png", "mask": []}], {"images/a.png": "stamp"}
        checked = check_all(
            entries, Pseudonyms(None), Check({"a.png": load}, {}, 100), hashes,
            Journal(tmp_path / "checks.tsv"), workers=1,
        )  # fmt: skip
        return [next(iter(entry.finding)) for entry in checked]

    assert check() == ["refused"]
    assert check() == ["accepted"]
    assert check() == ["accepted"]
    assert len(reads) == 2
