import threading
import time

import pytest

from vesselrl import overlapping
from vesselrl.overlapping import Steps, overlapped

SOON = 10  # seconds: what does not come until then never will


class Squares(Steps):
    """Squares numbers; notes what was done in which order, and may be made to wait or fail."""

    def __init__(self, **before):
        self.noted = []
        self._before = before  # step_item: what is called before it

    def _step(self, step, item):
        if before := self._before.get(f"{step}_{item}"):
            before()
        self.noted.append(f"{step}_{item}")

    def load(self, item):
        self._step("load", item)
        return item

    def compute(self, loaded):
        self._step("compute", loaded)
        return loaded, loaded**2, threading.current_thread()

    def store(self, computed):
        self._step("store", computed[0])
        return computed[1:]

    def waits_for(self, noted):
        """A function that returns when that has been noted."""

        def wait():
            deadline = time.monotonic() + SOON
            while noted not in self.noted:
                assert time.monotonic() < deadline, f"{noted} did not come"
                time.sleep(0.001)

        return wait


def failing(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_results_come_in_the_order_of_the_items_computed_in_this_thread(count):
    results = list(overlapped(Squares(), range(count)))
    assert [square for square, _ in results] == [number**2 for number in range(count)]
    assert {thread for _, thread in results} <= {threading.current_thread()}


def test_one_item_is_computed_while_the_next_is_loaded_and_the_one_before_is_stored():
    steps = Squares()
    steps._before = {
        "compute_1": steps.waits_for("load_2"),
        "store_0": steps.waits_for("load_1"),
        "compute_2": steps.waits_for("store_0"),
        "store_2": steps.waits_for("compute_3"),
    }
    assert len(list(overlapped(steps, range(5)))) == 5


def test_few_items_are_underway_at_a_time():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    for done, _ in enumerate(overlapped(Squares(), items()), 1):
        assert len(taken) <= done + 8


@pytest.mark.parametrize("step", ["load", "compute", "store"])
@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_what_was_computed_before_a_step_fails_is_stored_and_told(step, error):
    steps, told = Squares(**{f"{step}_3": failing(error)}), []
    with pytest.raises(type(error)):
        told.extend(square for square, _ in overlapped(steps, range(9)))
    assert told[:3] == [0, 1, 4]
    assert 9 not in told  # the one that failed
    computed = {name[-1] for name in steps.noted if name.startswith("compute")}
    stored = {name[-1] for name in steps.noted if name.startswith("store")}
    assert computed - stored == ({"3"} if step == "store" else set())
    assert len(told) == len(stored)


def test_what_took_long_is_told_before_another_is_computed(monkeypatch):
    told = []
    # a busy machine may store late: it is waited for, whatever share of the time that is
    monkeypatch.setattr(overlapping, "_PATIENCE", SOON / overlapping._LONG)

    class Slow(Squares):
        def compute(self, loaded):
            assert len(told) == loaded
            time.sleep(1.1 * overlapping._LONG)
            return super().compute(loaded)

    for square, _ in overlapped(Slow(), range(4)):
        told.append(square)
    assert told == [0, 1, 4, 9]


def test_who_stops_listening_ends_the_work():
    steps, before = Squares(), threading.active_count()
    done = overlapped(steps, range(1000))
    next(done)
    done.close()
    assert threading.active_count() == before
    assert len(steps.noted) < 50


def test_one_after_the_other_they_are_one_function():
    steps = Squares()
    assert steps(3)[0] == 9
    assert steps.noted == ["load_3", "compute_3", "store_3"]
