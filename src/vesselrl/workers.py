"""One function on many items, in a process of its own for each device."""

import contextlib
import logging
import logging.handlers
import os
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from vesselrl.errors import VesselrlError, first_few
from vesselrl.parallel import fresh_processes, live_and_die_with_the_parent
from vesselrl.parameters import Device

logger = logging.getLogger(__name__)

Place = Device | Sequence[Device]
"""Of one worker: a device, or several for a team of processes that work on each item together."""
Payload = TypeVar("Payload")
Result = TypeVar("Result")
Item = tuple[str, Payload]
"""A name, for messages, and what there is to work on."""


class DeviceLostError(VesselrlError):
    """A device can no longer be used by this process; by another it may be."""


_VISIBLE = "CUDA_VISIBLE_DEVICES"
_A_MOMENT = 2.0  # seconds


def _as_it_is(item: Item[Any]) -> Item[Any]:
    return item


def map_on_devices(
    function: Callable[[Item[Any]], Result],
    items: Iterable[Item[Payload]],
    devices: Sequence[Place] | None,
    prepare: Callable[[Item[Payload]], Item[Any]] = _as_it_is,
) -> Generator[Result, None, None]:
    """Apply a function to items, each given to whichever worker is free.

    A worker sees its own device alone, as ``cuda``, and logs through this process. The item of a
    worker that dies, or loses its device, goes to another after all others have had their turn: an
    item that kills does not keep the rest from being finished.

    Where several devices stand together, each has a process that calls the function with the same
    items; the processes find each other through `vesselrl.networks.data_parallel`. The result is
    that of the first of them, which alone logs less than errors. They live and die together.

    Args:
        function: picklable unless `devices` is None. Every worker has a copy, so that a model made
            at the first call stays.
        items: each with a name; picklable unless `devices` is None.
        devices: of each worker, or of each team of workers; one that is named twice has two. None
            does the work in this process in order, with whatever device the function chooses.
        prepare: what becomes of an item, in this process, just before a worker gets it; items need
            not be picklable then, but what they become.

    Yields:
        The results, in the order in which they come.

    Raises:
        VesselrlError: a device is not there, or all workers died.
        DeviceLostError: the function did, and `devices` is None.
        Exception: whatever the function raises, as VesselrlError if it is one, else as RuntimeError
            with the traceback.
    """
    if devices is None:
        yield from map(function, map(prepare, items))
        return
    teams = [tuple(place) if isinstance(place, list | tuple) else (place,) for place in devices]
    visible = {device: _visible(device) for team in teams for device in team}
    with tempfile.TemporaryDirectory(prefix="vesselrl") as folder:
        crew = _Crew(deque(items), prepare)
        try:
            for number, team in enumerate(teams):
                crew.hire(function, team, visible, Path(folder) / str(number))
            yield from crew.work()
        finally:
            crew.dismiss()


@dataclass
class _Team(Generic[Payload]):
    """Processes that work on one item together; most often it is one alone.

    Attributes:
        devices: of each process.
        processes: by the connection to each, in the order of the devices.
        item: what they work on.
        busy: connections of those that have not answered.
        result: of the first process.
    """

    devices: tuple[Device, ...]
    processes: dict[Connection, BaseProcess] = field(default_factory=dict)
    item: Item[Payload] | None = None
    busy: set[Connection] = field(default_factory=set)
    result: Any = None

    def lost(self) -> tuple[Device, BaseProcess] | None:
        """A process that died, if there is one."""
        pairs = zip(self.devices, self.processes.values(), strict=True)
        return next((pair for pair in pairs if pair[1].exitcode), None)

    def has_lost_a_process(self) -> bool:
        """Whether a process died, which the others of its team may notice a moment before us."""
        deadline = time.monotonic() + (_A_MOMENT if len(self.devices) > 1 else 0)
        while self.lost() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.lost() is not None

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()

    def part(self) -> None:
        """Wait for the ends of all, and close what led to them."""
        for connection, process in self.processes.items():
            process.join()
            connection.close()


class _Crew(Generic[Payload]):
    """The teams, by the connections to their processes, and the items that none has been given."""

    def __init__(
        self, waiting: deque[Item[Payload]], prepare: Callable[[Item[Payload]], Item[Any]]
    ) -> None:
        self._waiting = waiting
        self._prepare = prepare
        self._teams: list[_Team[Payload]] = []

    def hire(
        self,
        function: Callable[..., Any],
        devices: tuple[Device, ...],
        visible: dict[Device, str],
        meeting: Path,
    ) -> None:
        """Start a team, if there is anything for it to do; its processes meet through a file."""
        if len(self._teams) >= len(self._waiting):
            return
        context = fresh_processes(function)
        level = logging.getLogger("vesselrl").getEffectiveLevel()
        team: _Team[Payload] = _Team(devices)
        self._teams.append(team)
        for rank, device in enumerate(devices):
            ours, theirs = context.Pipe()
            seat = _Seat(device, visible[device], rank, len(devices), meeting)
            process = context.Process(  # type: ignore[attr-defined]
                target=_work, args=(theirs, function, seat, level), daemon=True
            )
            process.start()
            theirs.close()  # so that the end of the worker is the end of the connection
            team.processes[ours] = process

    def work(self) -> Generator[Any, None, None]:
        """Give out the items and hand on the results."""
        for team in self._teams:
            self._give(team)
        while self._teams:
            if not self._waiting and not any(team.item for team in self._teams):
                return
            for ready in wait([one for team in self._teams for one in team.processes]):
                assert isinstance(ready, Connection)
                of_it = [team for team in self._teams if ready in team.processes]
                if not of_it:  # of a team that was buried a moment ago
                    continue
                (team,) = of_it
                try:
                    kind, message = ready.recv()
                except (EOFError, OSError):
                    team.processes[ready].join()
                    self._bury(team)
                    continue
                if kind == "log":
                    logging.getLogger(message.name).handle(message)
                elif kind == "error":
                    if not team.has_lost_a_process():
                        raise message
                    self._bury(team)
                else:
                    team.busy.remove(ready)
                    if ready is next(iter(team.processes)):
                        team.result = message
                    if not team.busy:
                        result, team.item = team.result, None
                        self._give(team)
                        yield result

    def _give(self, team: _Team[Payload]) -> None:
        """Give a team the next item; one that has died meanwhile is noticed when it is read."""
        if self._waiting:
            team.item = self._waiting.popleft()
            team.busy = set(team.processes)
            given = self._prepare(team.item)
            for connection in team.processes:
                with contextlib.suppress(OSError):
                    connection.send(given)

    def _bury(self, team: _Team[Payload]) -> None:
        """A process has died: its team's item goes to the end of the queue, and to who idles."""
        device, process = team.lost() or (team.devices[0], next(iter(team.processes.values())))
        ended = f"The worker process on {_name(device)} ended with exit code {process.exitcode}"
        self._teams.remove(team)
        team.kill()
        team.part()
        if team.item:
            self._waiting.append(team.item)
        while_at = f" while at '{team.item[0]}'" if team.item else ""
        logger.warning("%s%s; %d go on.", ended, while_at, len(self._teams))
        for other in self._teams:
            if other.item is None:
                self._give(other)
        if self._waiting and not self._teams:
            raise VesselrlError(
                f"All worker processes were killed, perhaps for want of memory, the last"
                f"{while_at}. Not finished: {first_few([name for name, _ in self._waiting])}. "
                "Run the command again: it goes on where it was."
            )

    def dismiss(self) -> None:
        """End all processes, at once if they are still at work."""
        for team in self._teams:
            if team.item is not None:
                team.kill()
                continue
            for connection in team.processes:
                with contextlib.suppress(OSError):
                    connection.send(None)
        for team in self._teams:
            team.part()


def _visible(device: Device) -> str:
    """What CUDA_VISIBLE_DEVICES must be for a process to see this device alone."""
    if device == "cpu":
        return ""
    seen = os.environ.get(_VISIBLE)
    if seen is None:
        return str(device)
    names = [name for name in seen.split(",") if name.strip()]
    if device >= len(names):
        raise _not_there(device)
    return names[device]


def _name(device: Device) -> str:
    return "the CPU" if device == "cpu" else f"GPU {device}"


def _not_there(device: Device) -> VesselrlError:
    return VesselrlError(
        f"There is no GPU {device} that PyTorch can use on this machine: name others in the "
        "parameter devices, or cpu (once for each process)."
    )


class _LogConnection:
    """The queue that `logging.handlers.QueueHandler` expects."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        self._send = send

    def put_nowait(self, record: logging.LogRecord) -> None:
        self._send("log", record)


@dataclass(frozen=True)
class _Seat:
    """Where a process works.

    Attributes:
        device: its own.
        visible: what CUDA_VISIBLE_DEVICES must be.
        rank: which process of its team it is.
        ranks: how many the team has.
        meeting: a file through which those of a team find each other.
    """

    device: Device
    visible: str
    rank: int
    ranks: int
    meeting: Path


def _work(connection: Connection, function: Callable[[Any], Any], seat: _Seat, level: int) -> None:
    """What a worker process does."""
    live_and_die_with_the_parent()
    os.environ[_VISIBLE] = seat.visible  # before anything asks CUDA which devices there are
    lock = threading.Lock()

    def send(kind: str, message: Any) -> None:
        with lock:
            connection.send((kind, message))

    root = logging.getLogger()
    root.handlers = [logging.handlers.QueueHandler(_LogConnection(send))]  # type: ignore[arg-type]
    own = logging.getLogger("vesselrl")
    own.handlers = []  # Kedro, when it is imported, lets it write to the console too
    own.setLevel(level if seat.rank == 0 else logging.ERROR)
    try:
        if seat.device != "cpu":
            _check_gpu(seat.device)
        if seat.ranks > 1:
            from vesselrl.networks.data_parallel import join

            join(seat.rank, seat.ranks, seat.meeting)
        for item in iter(connection.recv, None):
            send("result", function(item))
    except DeviceLostError as error:
        logging.getLogger(__name__).warning("On %s: %s", _name(seat.device), error)
        sys.exit(1)
    except VesselrlError as error:
        send("error", VesselrlError(str(error)))
    except Exception:
        told = f"On {_name(seat.device)}:\n{traceback.format_exc()}"
        send("error", RuntimeError(told))
    if seat.ranks > 1:
        os._exit(0)  # an orderly end could wait for the others, or look like a kill


def _check_gpu(device: Device) -> None:
    """Without this, a network would quietly be computed on the CPU."""
    import torch

    if not torch.cuda.is_available():
        raise _not_there(device)
