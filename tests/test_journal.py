import json

import pytest

from vesselrl.journal import Journal


@pytest.fixture
def file(tmp_path):
    return tmp_path / "deep" / "journal.tsv"


def filled(file, **values):
    with Journal(file) as journal:
        for name, value in values.items():
            journal.add(name, value)
    return journal


def test_what_was_added_is_there_in_the_next_run(file):
    filled(file, a=[1, "x\ty\n"], b={"c": None})
    journal = Journal(file)
    assert (journal.get("a"), journal.get("b"), journal.get("z")) == (
        [1, "x\ty\n"],
        {"c": None},
        None,
    )
    assert list(journal) == ["a", "b"]


def test_each_line_is_on_disk_at_once(file):
    journal = Journal(file)
    journal.add("a", 1)
    assert file.read_text() == "a\t1\n"
    journal.close()


@pytest.mark.parametrize("torn", ["b\t[1, ", "b", "b\t2", "\n", "\x00\x00"])
def test_a_line_that_was_being_written_is_ignored_and_overwritten(file, torn):
    filled(file, a=1)
    with file.open("a") as stream:
        stream.write(torn)
    with Journal(file) as journal:
        assert (journal.get("a"), journal.get("b")) == (1, None)
        journal.add("c", 3)
    assert file.read_text() == "a\t1\nc\t3\n"


def test_a_line_that_is_no_json_counts_as_absent(file):
    filled(file, a=1)
    file.write_text("a\t[1\nb\t2\n")
    assert (Journal(file).get("a"), Journal(file).get("b")) == (None, 2)


def test_of_two_values_the_later_holds(file):
    filled(file, a=1, b=2)
    with Journal(file) as journal:
        journal.add("a", 3)
    assert Journal(file).get("a") == 3
    journal.keep(["b", "a"])
    assert file.read_text() == "b\t2\na\t3\n"


def test_keeping_what_is_there_writes_nothing(file):
    journal = filled(file, a=1, b=2)
    before = file.stat().st_mtime_ns, file.stat().st_ino
    journal.keep(["a", "b", "unknown"])
    assert before == (file.stat().st_mtime_ns, file.stat().st_ino)
    journal.keep(["b"])
    assert file.read_text() == "b\t2\n"


@pytest.mark.parametrize(
    "name", ["a\tb", "a\nb", '"a\\tb"', "\u2028", "\udc80", "", '"', "\r", " "]
)
def test_any_text_can_be_a_name(file, name):
    filled(file, other=1)
    with Journal(file) as journal:
        journal.add(name, 7)
    assert Journal(file).get(name) == 7
    assert list(Journal(file)) == ["other", name]
    Journal(file).keep([name])
    assert list(Journal(file)) == [name]


def test_an_empty_journal_makes_no_file(file):
    with Journal(file) as journal:
        journal.keep([])
        assert json.dumps(list(journal)) == "[]"
    assert not file.parent.exists()
