import json
import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesselrl.annotations import json_files
from vesselrl.annotations.json_files import first_character, read_json, stream_list
from vesselrl.errors import VesselrlError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(json_files, "_CHUNK", 3)


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "a.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@settings(max_examples=150, deadline=None)
@given(items=st.lists(JSON), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_a_list_read_item_by_item_is_the_list(tmp_path_factory, items, indent, ascii_only):
    path = tmp_path_factory.mktemp("list") / "a.json"
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode("utf-8", "replace"))
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 7, 2**20):
            patch.setattr(json_files, "_CHUNK", size)
            assert list(stream_list(path)) == json.loads(path.read_text())


def test_nan_and_infinity_are_read_wherever_the_text_is_cut(file, small_chunks):
    values = list(stream_list(file("[NaN, -Infinity, [12345.678e2, NaN], 1234567]")))
    assert math.isnan(values[0])
    assert values[1] == -math.inf
    assert values[2][0] == 1234567.8
    assert values[3] == 1234567


def test_a_byte_order_mark_and_space_are_passed_over(file):
    path = file(b"\xef\xbb\xbf \n[1, 2] \n")
    assert list(stream_list(path)) == [1, 2]
    assert first_character(path) == "["
    assert first_character(file(b" \n ")) == ""


def test_memory_stays_flat_however_long_the_list(file):
    path = file("[" + ", ".join(['{"mask": [' + "1.25, " * 999 + "1.25]}"] * 3000) + "]")
    assert path.stat().st_size > 17e6
    tracemalloc.start()
    assert sum(1 for _ in stream_list(path)) == 3000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", r"entry 0, line 1: expected '\[' at the start"),
        ("{}", r"entry 0, line 1: expected '\[' at the start"),
        ("[", "entry 0, line 1: Expecting value"),
        ("[{", "entry 0, line 1: Expecting property name"),
        ('[{"a": 1},\n{"a": 2},\n{"a"', "entry 2, line 3: Expecting ':'"),
        ('[{"a": 1},\n{"a": "cut', "entry 1, line 2: Unterminated string"),
        ("[1,\n2", "entry 1, line 2: the file ends after it"),
        ("[1,\n2 3]", "entry 1, line 2: expected ',' or ']' after it"),
        ("[1, 2,]", "entry 2, line 1: Expecting value"),
        ("[1]\n[2]", "line 2: expected nothing after the list"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "Exceeds the limit"),
        (b"\xff\xfe[\0", "can't decode byte 0xff in position 0"),
    ],
)
def test_a_list_that_breaks_off_is_told_with_its_place(file, content, problem):
    with pytest.raises(VesselrlError, match=f"is not JSON.*{problem}.*correct or replace it"):
        list(stream_list(file(content)))


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(file, monkeypatch):
    monkeypatch.setattr(json_files, "_CHUNK", 100)
    monkeypatch.setattr(json_files, "_LONGEST", 1000)
    with pytest.raises(VesselrlError, match="entry 1, line 2: longer than 1,000 characters, or a"):
        list(stream_list(file('[1,\n"' + "x" * 10_000)))


def test_a_file_too_large_to_be_read_whole_is_refused_with_what_to_do(file):
    path = file(json.dumps({"images": ["x" * 2000]}))
    assert read_json(path, max_mb=1)
    with pytest.raises(VesselrlError, match="limit of 0.001 MB.*raise annotations.max_json_mb"):
        read_json(path, max_mb=0.001)


@pytest.mark.parametrize("read", [lambda path: read_json(path, 1), first_character, stream_list])
def test_a_file_that_is_not_there_is_told(tmp_path, read):
    with pytest.raises(VesselrlError, match=r"gone.json cannot be read: No such file"):
        list(read(tmp_path / "gone.json"))
