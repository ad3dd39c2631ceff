import logging
from contextlib import nullcontext

from vesselrl import progress
from vesselrl.progress import SharedProgress, tracked, with_progress


def test_work_passes_through_and_the_log_tells_how_long_it_will_take(caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="vesselrl")
    assert list(tracked(iter("abc"), "Reading", 3)) == ["a", "b", "c"]
    assert not caplog.records
    monkeypatch.setattr(progress, "LOG_EVERY", 0.0)
    list(tracked(iter("ab"), "Reading", 2, unit="file"))
    assert [record.getMessage() for record in caplog.records] == [
        "Reading: 1 of 2 files, about 0.0 h to go.",
        "Reading: 2 of 2 files, about 0.0 h to go.",
    ]


def test_steps_of_several_trainings_are_one_bar(monkeypatch):
    bars = []

    class Bar(nullcontext):
        n = 0

        def __init__(self, total, desc):
            super().__init__(self)
            self.total = total
            bars.append(self)

        def update(self, count):
            self.n += count

    monkeypatch.setattr("tqdm.tqdm", Bar)
    progress = SharedProgress(["a", "b"])
    with progress.shown("Training", 12):
        progress.tell("a", 5)
        progress.tell("b", 6)
        progress.tell("a", 3)  # it went on in another process from its last check
    (bar,) = bars
    assert (bar.n, bar.total) == (9, 12)


def test_work_on_nothing_shows_no_bar(capsys):
    assert with_progress({}, "Writing animations") == {}
    assert capsys.readouterr().err == ""
