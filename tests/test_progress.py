import logging

from vesselrl import progress
from vesselrl.progress import tracked


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
