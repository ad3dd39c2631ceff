import gc
import os
import signal
import time
import weakref
from functools import partial
from multiprocessing import active_children
from typing import ClassVar

import pytest

from vesselrl import ahead
from vesselrl.ahead import made_ahead
from vesselrl.errors import VesselrlError

NAMES = [f"image {number:02}" for number in range(40)]


class Square:
    """Tells the process it worked in, too; numbers under `slow` take longer."""

    def __init__(self, slow=0):
        self.slow = slow

    def __call__(self, number):
        time.sleep(0.1 if number < self.slow else 0.01)
        return number**2, os.getpid()


class DieOnce(Square):
    def __init__(self, mark):
        super().__init__()
        self.mark = mark

    def __call__(self, number):
        if number == 7 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(number)


class Refuse(Square):
    def __call__(self, number):
        if number == 7:
            raise VesselrlError("There is nothing to see.")
        return super().__call__(number)


class Picture:
    def __init__(self, number):
        self.size = number


class Received:
    """A result; those that came from a worker process and were not let go yet are `alive`."""

    alive: ClassVar = weakref.WeakSet()

    def __init__(self, number):
        self.number, self.process = number, os.getpid()

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.alive.add(self)


class Late:
    """Is stuck at one number, or dies of it."""

    def __init__(self, number, dies):
        self.number, self.dies, self.parent = number, dies, os.getpid()

    def __call__(self, number):
        if number == self.number and os.getpid() != self.parent:
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(20)
        return Received(number)


def size_of(picture):
    return picture.size


class Loads:
    """Loaders of numbers, which note what was loaded; they cannot be pickled."""

    def __init__(self):
        self.loaded = []
        self.loaders = {
            name: lambda number=number: self.loaded.append(number) or number
            for number, name in enumerate(NAMES)
        }


@pytest.fixture
def workers():
    """The processes that this one has started in the test, and that have not ended."""
    before = set(active_children())
    return lambda: set(active_children()) - before


@pytest.fixture
def nothing_collected():
    """Nothing ends because the collector of cycles happens to come by."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def two_cores_that_are_worth_it(monkeypatch):
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    monkeypatch.setattr(ahead, "WORTH_IT", 1e-9)


def test_results_come_in_order_from_worker_processes_and_are_loaded_here():
    loads = Loads()
    makers = made_ahead(Square(slow=5), loads.loaders)
    made = {name: make() for name, make in makers.items()}
    assert list(made) == NAMES
    assert [value for value, _ in made.values()] == [number**2 for number in range(40)]
    assert loads.loaded == list(range(40))
    processes = [process for _, process in made.values()]
    assert processes[:2] == [os.getpid()] * 2  # which tell how long it takes
    assert os.getpid() not in processes[2:]


def test_results_that_will_be_asked_for_in_another_order_are_made_in_that():
    loads, order = Loads(), [*reversed(NAMES)]
    makers = made_ahead(Square(), loads.loaders, order)
    assert list(makers) == order
    made = [make() for make in makers.values()]
    assert [value for value, _ in made] == [number**2 for number in reversed(range(40))]
    assert loads.loaded == [*reversed(range(40))]
    assert os.getpid() not in [process for _, process in made[2:]]


def test_what_was_loaded_is_let_go_when_a_worker_has_it():
    alive, most = weakref.WeakSet(), []

    def load(number):
        alive.add(picture := Picture(number))
        most.append(len(alive))
        return picture

    loaders = {name: partial(load, number) for number, name in enumerate(NAMES)}
    makers = made_ahead(size_of, loaders)
    assert [make() for make in makers.values()] == list(range(40))
    assert max(most) <= 2


def test_nothing_is_loaded_and_no_process_started_before_a_result_is_asked_for(workers):
    loads = Loads()
    made_ahead(Square(), loads.loaders)
    assert loads.loaded == []
    assert not workers()


@pytest.mark.parametrize(("cores", "worth_it"), [(2, 10), (1, 1e-9)])
def test_what_is_soon_done_and_all_on_one_core_is_done_here(cores, worth_it, monkeypatch):
    monkeypatch.setattr(ahead, "cores", lambda: cores)
    monkeypatch.setattr(ahead, "WORTH_IT", worth_it)
    makers = made_ahead(lambda number: (number, os.getpid()), Loads().loaders)
    assert [make() for make in makers.values()] == [(n, os.getpid()) for n in range(40)]


def test_whoever_asks_in_another_order_gets_what_was_asked_for():
    makers = made_ahead(Square(), Loads().loaders)
    order = [3, 0, 1, 1, 39, 2, 3, 4]
    assert [makers[NAMES[number]]()[0] for number in order] == [number**2 for number in order]


def test_a_worker_that_dies_costs_no_result(tmp_path):
    makers = made_ahead(DieOnce(tmp_path / "died"), Loads().loaders)
    assert [make()[0] for make in makers.values()] == [number**2 for number in range(40)]
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("dies", [False, True])
def test_one_that_is_late_does_not_keep_all_others_in_memory(dies):
    loaders = {f"{number:03}": partial(int, number) for number in range(300)}
    numbers, most = [], 0
    for make in made_ahead(Late(5, dies), loaders).values():
        result = make()
        most = max(most, len(Received.alive))
        numbers.append(result.number)
        if result.number == 5:
            assert result.process == os.getpid()
    assert numbers == list(range(300))
    assert most < 60


@pytest.mark.parametrize("fails", ["work", "loader"])
def test_what_is_raised_is_raised_here_and_ends_all_workers(fails, workers):
    loaders = dict(Loads().loaders)
    if fails == "loader":
        loaders[NAMES[7]] = partial(Refuse(), 7)
    makers = made_ahead(Refuse() if fails == "work" else Square(), loaders)
    with pytest.raises(VesselrlError, match="nothing to see"):
        [make() for make in makers.values()]
    assert not workers()
    with pytest.raises(VesselrlError, match="nothing to see"):
        makers[NAMES[7]]()
    assert [makers[name]()[0] for name in NAMES[8:]] == [number**2 for number in range(8, 40)]


def test_workers_end_with_the_last_result(workers, nothing_collected):
    makers = made_ahead(Square(), Loads().loaders)
    for name in NAMES[:-1]:
        makers[name]()
    assert workers()
    makers[NAMES[-1]]()
    assert not workers()


def test_workers_end_when_nobody_wants_the_results_any_more(workers, nothing_collected):
    makers = made_ahead(Square(), Loads().loaders)
    for name in NAMES[:3]:
        makers[name]()
    assert workers()
    del makers
    assert not workers()
