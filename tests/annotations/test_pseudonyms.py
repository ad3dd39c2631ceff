import json
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesselrl.annotations import pseudonyms as module
from vesselrl.annotations.entries import Refusal, read_entry, refused
from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.pseudonyms import PseudonymousFiles, Pseudonyms
from vesselrl.annotations.splits import group_files, obey_splits_file, strangers
from vesselrl.errors import VesselrlError

KEY = bytes(range(32))
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]
NAME = "Müller-Anna"


def hidden(raw):
    return Pseudonyms(KEY).entry(raw)


def test_a_pseudonym_is_the_same_for_the_same_key_only():
    one, two, other = Pseudonyms(KEY), Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    assert one.file("x.png") == two.file("./x.png") == "img-4cc1d786b18228f4.png"
    assert one.file("x.png") != other.file("x.png")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("anna.PNG", r"img-[0-9a-f]{16}\.png"),
        ("scan.Müller", r"img-[0-9a-f]{16}"),
        ("../../Müller/x.tif", r"img-[0-9a-f]{16}\.tif"),
        ("\ud800.png", r"img-[0-9a-f]{16}\.png"),
        ("  ", "  "),
    ],
)
def test_of_a_file_only_a_known_ending_stays(name, form):
    assert re.fullmatch(form, Pseudonyms(KEY).file(name))


def test_without_a_key_nothing_changes_and_nothing_is_kept():
    off = Pseudonyms(None)
    raw = {"image": "./x.png", "mask": [SQUARE], "text": "Anna"}
    assert off.entry(raw) is raw
    assert (off.file("./x.png"), off.group("g"), off.text("t")) == ("./x.png", "g", "t")
    assert (off.message('the text "a"'), off.original("a"), off.table) == ('the text "a"', "a", {})


def test_the_table_tells_what_each_pseudonym_stands_for():
    one = Pseudonyms(KEY)
    file, group, text = one.file("a/./x.png"), one.group("Anna"), one.text("vessel of Anna")
    assert one.table == {"files": {file: "a/x.png"}, "groups": {group: "Anna"},
                         "texts": {text: "vessel of Anna"}}  # fmt: skip
    assert Pseudonyms(KEY, json.loads(json.dumps(one.table))).original(file) == "a/x.png"


def test_two_names_of_one_pseudonym_are_an_error(monkeypatch):
    monkeypatch.setattr(module, "_DIGITS", 0)
    one = Pseudonyms(KEY)
    one.file("a.png")
    with pytest.raises(VesselrlError, match="Two names have the same pseudonym, img-.png"):
        one.file("b.png")


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="3 bytes"):
        Pseudonyms(b"abc")


def test_an_entry_keeps_its_form():
    rle = {"size": [20, 30], "counts": "Anna1"}
    raw = {"image": "Anna.png", "mask": [[SQUARE], rle], "text": ["Anna", "vein"], "frame": 2,
           "stated_size": [30, 20], "Anna": {"born": 1950}}  # fmt: skip
    entry = hidden(raw)
    assert entry["mask"] == raw["mask"]
    assert entry["frame"] == 2
    assert entry["stated_size"] == [30, 20]
    assert [text[:4] for text in entry["text"]] == ["txt-", "txt-"]
    assert "Anna" not in json.dumps({**entry, "mask": None})


@pytest.mark.parametrize(
    "raw",
    [
        NAME,
        [NAME],
        {NAME: NAME},
        {"image": NAME},
        {"image": [NAME], "mask": []},
        {"file_name": NAME, "mask": []},
        {"image": NAME, "mask": NAME},
        {"image": NAME, "mask": [[NAME, *SQUARE[1:]]]},
        {"image": NAME, "mask": [SQUARE], "text": [NAME, NAME, {NAME: 1}]},
        {"image": NAME, "mask": [[[{NAME: [[[[[[[[[NAME]]]]]]]]]}]]]},
        {"image": NAME, "mask": {"size": [NAME, 3], "counts": [1]}},
        {"image": NAME, "frame": NAME, "mask": []},
        {"image": NAME, "stated_size": [NAME, NAME], "mask": []},
        {"mask_file": {NAME: 1}, "image": NAME},
        refused(NAME, "shapes[0]", f'the label is "{NAME}"', f"expected what '{NAME}' has"),
    ],
)
def test_no_refusal_tells_a_name(raw):
    def finding(entry):
        with pytest.raises(Refusal) as caught:
            read_entry(entry)
        return [caught.value.field, caught.value.reason, caught.value.hint]

    assert NAME not in json.dumps(hidden(raw), ensure_ascii=False)
    told, open_ = finding(hidden(raw)), finding(raw)
    assert NAME not in " ".join(told)
    assert told[0] == open_[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.just(NAME),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image", "mask", "text", "size", NAME]), inner)
    ),
    max_leaves=15,
)


@settings(max_examples=300)
@given(JSON)
def test_whatever_an_entry_holds_no_name_stays(raw):
    entry = hidden(raw)
    assert NAME not in json.dumps(entry, ensure_ascii=False)

    def outcome(given):
        try:
            return "accepted", read_entry(given).polygons
        except Refusal as refusal:
            return "refused", refusal.field

    assert outcome(entry) == outcome(raw)


@given(st.text(max_size=30))
def test_what_a_message_quotes_is_hidden(text):
    quoted = Pseudonyms(KEY).message(f"found \"{text}\" and 'mask'")
    assert quoted.endswith("and 'mask'") or '"' in text or "'" in text
    if '"' not in text and "'" not in text and text.strip() and text not in module._WORDS:
        assert re.fullmatch(r"found \"txt-[0-9a-f]{16}\" and 'mask'", quoted)


def test_files_are_found_by_their_pseudonyms(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "Anna.png").write_bytes(b"pixels")
    (tmp_path / "secret.png").write_bytes(b"outside")
    names = Pseudonyms(KEY)
    files = PseudonymousFiles(ImageFolder(tmp_path / "images"), names)
    (file,) = files
    assert len(files) == 1
    assert file == names.file("Anna.png")
    assert files[file]() == b"pixels"
    for unknown in ("Anna.png", names.file("Berta.png")):
        assert unknown not in files
    with pytest.raises(Refusal, match=r"by '\.\.'"):
        files[names.file("../secret.png")]
    with pytest.raises(Refusal, match="an absolute path"):
        files[names.file(str(tmp_path / "secret.png"))]


def test_another_process_is_told_of_its_own_files_alone():
    names = Pseudonyms(KEY)
    anna, berta = names.file("anna.png"), names.file("berta.png")
    own = pickle.loads(pickle.dumps(names.only(anna, "", "never given")))
    assert own.original(anna) == "anna.png"
    assert own.original("") == ""
    assert own.file("anna.png") == anna
    with pytest.raises(KeyError):
        own.original(berta)
    assert Pseudonyms(None).only("x.png").original("x.png") == "x.png"


def test_groups_are_found_by_the_names_and_told_by_pseudonyms():
    names = Pseudonyms(KEY)
    anna, berta, odd = (names.file(name) for name in ("anna_1.png", "berta_1.png", "odd.png"))
    groups, (warning,) = group_files([anna, berta, odd], None, "^(anna|berta)_", names)
    assert groups == {anna: names.group("anna"), berta: names.group("berta"), odd: odd}
    assert odd in warning
    assert "odd.png" not in warning
    told, _ = group_files([anna, berta], {"anna_1.png": "A", "./berta_1.png": "A"}, None, names)
    assert told == dict.fromkeys([anna, berta], names.group("A"))


def test_of_a_wrong_groups_json_no_name_is_told():
    names = Pseudonyms(KEY)
    with pytest.raises(VesselrlError, match=r"groups.json names 'grp-\w+', which holds a line br"):
        group_files([names.file("a.png")], {"a.png": "Anna\nBerta"}, None, names)
    (warning,) = strangers({"groups.json": {"./Anna.png": "x"}, "splits.json": None}, ["b"], names)
    assert names.file("Anna.png") in warning
    assert "Anna" not in warning


def test_splits_are_given_by_the_names_and_told_by_pseudonyms():
    names = Pseudonyms(KEY)
    anna, berta = names.file("anna.png"), names.file("berta.png")
    given = names.splits_table({"./anna.png": "train", "berta.png": "test"})
    aside = names.splits_table({"anna.png": "unlabelled"})
    assert obey_splits_file(aside, {anna: "1"}, [anna])[0] == {anna: "unlabelled"}
    assert obey_splits_file(given, {anna: "1", berta: "2"}, [anna, berta])[0] == {
        anna: "train",
        berta: "test",
    }
    with pytest.raises(VesselrlError, match=rf"puts {berta} in 'txt-\w+'; expected train"):
        obey_splits_file(names.splits_table({"berta.png": "Anna"}), {berta: "1"}, [berta])
    assert names.splits_table(["anna.png"]) == ["anna.png"]
