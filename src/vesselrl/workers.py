"""One function on many items, in a process of its own for each device."""

import contextlib
import logging
import logging.handlers
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Literal, TypeVar

from vesselrl.errors import VesselrlError, first_few
from vesselrl.parallel import fresh_processes, live_and_die_with_the_parent

logger = logging.getLogger(__name__)

Device = int | Literal["cpu"]
"""The number of a CUDA GPU among those that this process sees, or ``cpu``."""
Payload = TypeVar("Payload")
Result = TypeVar("Result")
Item = tuple[str, Payload]
"""A name, for messages, and what there is to work on."""


class DeviceLostError(VesselrlError):
    """A device can no longer be used by this process; by another it may be."""


_VISIBLE = "CUDA_VISIBLE_DEVICES"


def map_on_devices(
    function: Callable[[Item[Payload]], Result],
    items: Iterable[Item[Payload]],
    devices: Sequence[Device] | None,
) -> Generator[Result, None, None]:
    """Apply a function to items, each given to whichever worker is free.

    A worker sees its own device alone, as ``cuda``, and logs through this process. The item of a
    worker that dies, or loses its device, goes to another after all others have had their turn: an
    item that kills does not keep the rest from being finished.

    Args:
        function: picklable unless `devices` is None. Every worker has a copy, so that a model made
            at the first call stays.
        items: each with a name; picklable unless `devices` is None.
        devices: of each worker; one that is named twice has two. None does the work in this process
            in order, with whatever device the function chooses.

    Yields:
        The results, in the order in which they come.

    Raises:
        VesselrlError: a device is not there, or all workers died.
        DeviceLostError: the function did, and `devices` is None.
        Exception: whatever the function raises, as VesselrlError if it is one, else as RuntimeError
            with the traceback.
    """
    if devices is None:
        yield from map(function, items)
        return
    visible = [_visible(device) for device in devices]
    crew = _Crew(deque(items))
    try:
        for device, environment in zip(devices, visible, strict=True):
            crew.hire(function, device, environment)
        yield from crew.work()
    finally:
        crew.dismiss()


@dataclass
class _Worker(Generic[Payload]):
    process: BaseProcess
    device: Device
    item: Item[Payload] | None = None


class _Crew(Generic[Payload]):
    """The workers, by the connection to each, and the items that none has been given."""

    def __init__(self, waiting: deque[Item[Payload]]) -> None:
        self._waiting = waiting
        self._workers: dict[Connection, _Worker[Payload]] = {}

    def hire(self, function: Callable[..., Any], device: Device, visible: str) -> None:
        """Start a worker, if there is anything for it to do."""
        if len(self._workers) >= len(self._waiting):
            return
        context = fresh_processes(function)
        ours, theirs = context.Pipe()
        level = logging.getLogger("vesselrl").getEffectiveLevel()
        process = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(theirs, function, device, visible, level), daemon=True
        )
        process.start()
        theirs.close()  # so that the end of the worker is the end of the connection
        self._workers[ours] = _Worker(process, device)

    def work(self) -> Generator[Any, None, None]:
        """Give out the items and hand on the results."""
        for connection in list(self._workers):
            self._give(connection)
        while self._workers:
            if not self._waiting and not any(w.item for w in self._workers.values()):
                return
            for ready in wait(list(self._workers)):
                assert isinstance(ready, Connection)
                try:
                    kind, message = ready.recv()
                except (EOFError, OSError):
                    self._bury(ready)
                    continue
                if kind == "log":
                    logging.getLogger(message.name).handle(message)
                elif kind == "error":
                    raise message
                else:
                    self._workers[ready].item = None
                    self._give(ready)
                    yield message

    def _give(self, connection: Connection) -> None:
        """Give a worker the next item; one that has died meanwhile is noticed when it is read."""
        if self._waiting:
            worker = self._workers[connection]
            worker.item = self._waiting.popleft()
            with contextlib.suppress(OSError):
                connection.send(worker.item)

    def _bury(self, connection: Connection) -> None:
        """A worker has died: its item goes to the end of the queue, and to a worker that idles."""
        worker = self._workers.pop(connection)
        connection.close()
        worker.process.join()
        if worker.item:
            self._waiting.append(worker.item)
        while_at = f" while at '{worker.item[0]}'" if worker.item else ""
        logger.warning(
            "The worker process on %s ended with exit code %s%s; %d go on.",
            _name(worker.device), worker.process.exitcode, while_at, len(self._workers),
        )  # fmt: skip
        for other, colleague in self._workers.items():
            if colleague.item is None:
                self._give(other)
        if self._waiting and not self._workers:
            raise VesselrlError(
                f"All worker processes were killed, perhaps for want of memory, the last"
                f"{while_at}. Not finished: {first_few([name for name, _ in self._waiting])}. "
                "Run the command again: it goes on where it was."
            )

    def dismiss(self) -> None:
        """End all workers, at once if they are still at work."""
        for connection, worker in self._workers.items():
            if worker.item is None:
                with contextlib.suppress(OSError):
                    connection.send(None)
            else:
                worker.process.kill()
        for connection, worker in self._workers.items():
            worker.process.join()
            connection.close()


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
        f"There is no GPU {device} that PyTorch can use on this machine: name others in "
        "segmenter.devices, or cpu (once for each process)."
    )


class _LogConnection:
    """The queue that `logging.handlers.QueueHandler` expects."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        self._send = send

    def put_nowait(self, record: logging.LogRecord) -> None:
        self._send("log", record)


def _work(
    connection: Connection,
    function: Callable[[Any], Any],
    device: Device,
    visible: str,
    level: int,
) -> None:
    """What a worker process does."""
    live_and_die_with_the_parent()
    os.environ[_VISIBLE] = visible  # before anything asks CUDA which devices there are
    lock = threading.Lock()

    def send(kind: str, message: Any) -> None:
        with lock:
            connection.send((kind, message))

    root = logging.getLogger()
    root.handlers = [logging.handlers.QueueHandler(_LogConnection(send))]  # type: ignore[arg-type]
    own = logging.getLogger("vesselrl")
    own.handlers = []  # Kedro, when it is imported, lets it write to the console too
    own.setLevel(level)
    try:
        if device != "cpu":
            _check_gpu(device)
        for item in iter(connection.recv, None):
            send("result", function(item))
    except DeviceLostError as error:
        logging.getLogger(__name__).warning("On %s: %s", _name(device), error)
        sys.exit(1)
    except VesselrlError as error:
        send("error", VesselrlError(str(error)))
    except Exception:
        told = f"On {_name(device)}:\n{traceback.format_exc()}"
        send("error", RuntimeError(told))


def _check_gpu(device: Device) -> None:
    """Without this, a network would quietly be computed on the CPU."""
    import torch

    if not torch.cuda.is_available():
        raise _not_there(device)
