import io
import struct
import warnings
import zipfile

import numpy as np
import pytest

from vesselrl.arrays import names_of_arrays, read_arrays, write_arrays
from vesselrl.errors import VesselrlError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.npz"


def write(file, **arrays):
    with file.open("wb") as stream:
        write_arrays(stream, arrays)


def test_arrays_of_every_kind_are_read_as_they_were_written(file):
    arrays = {
        "levels": np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::-1].T,
        "names": np.array(["a", "ü", ""]),
        "scalar": np.float64(0.25),
        "none": np.empty((0, 5), bool),
        "big_endian": np.arange(3, dtype=">i4"),
    }
    write(file, **arrays)
    read = read_arrays(file)
    assert list(read) == names_of_arrays(file) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
    assert list(read_arrays(file, "names")) == ["names"]
    with np.load(file) as plain:  # as anybody would
        np.testing.assert_array_equal(plain["levels"], arrays["levels"])


def test_the_same_arrays_make_the_same_bytes(file, tmp_path, monkeypatch):
    write(file, a=np.arange(5))
    monkeypatch.setattr("time.time", lambda: 2e9)
    write(tmp_path / "later.npz", a=np.arange(5))
    assert file.read_bytes() == (tmp_path / "later.npz").read_bytes()


def test_an_array_that_is_not_there_is_a_key_that_is_not_there(file):
    write(file, a=np.arange(5))
    with pytest.raises(KeyError, match="b"):
        read_arrays(file, "b")


def header(text):
    content = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content)) + content


def described(descr, shape):
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n")


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def damaged(content):
    start = content.index(b"a.npy") + len(b"a.npy") + 6
    end = start + 6
    return content[:start] + bytes(255 - byte for byte in content[start:end]) + content[end:]


ARRAY = io.BytesIO()
np.save(ARRAY, np.arange(5))
HOSTILE = {
    "a shape beyond any number": zipped(("a.npy", described("'|u1'", f"({2**80},)"))),
    "a shape beyond memory": zipped(("a.npy", described("'|u1'", f"({2**60},)"))),
    "elements of no size": zipped(("a.npy", described("'<U0'", f"({2**40},)"))),
    "no type": zipped(("a.npy", described("()", "(1,)"))),
    "half a type": zipped(("a.npy", described("('|u1',)", "(1,)"))),
    "an open bracket": zipped(("a.npy", header("(\n"))),
    "an open text": zipped(("a.npy", header("'''abc\n"))),
    "objects": zipped(("a.npy", described("'|O'", "(1,)") + b"cos\nsystem\n")),
    "one name twice": zipped(("a.npy", ARRAY.getvalue()), ("a.npy", ARRAY.getvalue())),
    "no array": zipped(("a.npy", ARRAY.getvalue()), ("b.pkl", b"x")),
    "a folder": zipped(("a.npy/", b"")),
    "damaged LZMA": damaged(zipped(("a.npy", ARRAY.getvalue()), method=zipfile.ZIP_LZMA)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_made_to_do_harm_is_refused_in_a_sentence(kind, file):
    file.write_bytes(HOSTILE[kind])
    with pytest.raises(VesselrlError, match=r"x\.npz cannot be read as arrays .*delete it"):
        read_arrays(file)
