"""One function on many items, by worker processes on a Ray cluster.

Actors with a queue of our own, not `ray.data`: the function writes its result itself and what is
finished is known by its file, so there is no data set to stream, and a worker that dies must give
back the one item it was at, not a block. See https://docs.ray.io/en/latest/ray-core/actors.html.
"""

import logging
import logging.handlers
import os
import socket
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

from vesselrl.distributed.parameters import RayParameters
from vesselrl.errors import VesselrlError, first_few
from vesselrl.parallel import cores
from vesselrl.workers import DeviceLostError, Item, Payload, Result

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""Workers that an item may cost before it is given up, and that may die before they can start."""
_AHEAD = 2  # items at a worker: the next is there when the first is done
_PATIENCE = 30.0  # seconds without news, after which the log says what is waited for

Answer = tuple[Literal["result", "error", "lost"], Any, list[logging.LogRecord]]


def map_on_ray(
    function: Callable[[Item[Payload]], Result],
    items: Iterable[Item[Payload]],
    parameters: RayParameters,
) -> Generator[Result, None, None]:
    """Apply a function to items on Ray, each given to whichever worker is free.

    Workers start as the cluster has room for them, and log through this process. The item of a
    worker that dies, or loses its device, is done by another after all others have had their turn,
    and a new worker takes the dead one's place. So an item may be begun more than once, and its
    result comes once: whatever the function writes, it must write so that this does no harm.

    Args:
        function: picklable; every worker has a copy, so that a model made at the first call stays.
            What it reads and writes lies in a place that all machines of the cluster see.
        items: each with a name; picklable.
        parameters: how many workers, on which cluster, with what share of a GPU.

    Yields:
        The results, in the order in which they come.

    Raises:
        VesselrlError: Ray is not installed, its cluster is not there, no worker starts, or some
            items cost one worker after the other; all else is finished then.
        Exception: whatever the function raises, as VesselrlError if it is one, else as RuntimeError
            with the traceback.
    """
    waiting = deque(items)
    if not waiting:
        return
    with _connected(parameters) as ray:
        crew = _Crew(ray, function, waiting, parameters)
        try:
            yield from crew.work()
        finally:
            crew.dismiss()


@contextmanager
def _connected(parameters: RayParameters) -> Iterator[Any]:
    """The module `ray`, connected to the cluster; a connection that was there is used and stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    try:
        import ray
    except ImportError as error:
        raise VesselrlError(
            "Ray is not installed: pip install 'vesselrl[ray]', or set ray.num_workers to 0."
        ) from error
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"address": parameters.address}
    if parameters.address is None:
        processors = max(cores(), parameters.num_workers)
        options = {"address": "local", "num_cpus": processors, "include_dashboard": False}
    try:
        if parameters.address is not None:
            _knock(parameters.address)
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise VesselrlError(
            f"No Ray answers at ray.address '{parameters.address or 'null'}' ({error}): start a "
            "cluster with 'ray start --head', or set it to null to use this machine alone."
        ) from error
    try:
        if parameters.address is None and parameters.gpus_per_worker:
            _require_gpu(ray)
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Where nobody answers, Ray itself would try for many minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _require_gpu(ray: Any) -> None:
    if not ray.cluster_resources().get("GPU"):
        raise VesselrlError(
            "ray.gpus_per_worker asks for GPUs, and Ray finds none on this machine: set it to 0, "
            "or name a cluster that has some in ray.address."
        )


class _Worker:
    """What runs in a worker process."""

    def __init__(self, function: Callable[[Any], Any], on_gpu: bool, level: int) -> None:
        self._function = function
        self._lost: str | None = None
        self._records: deque[logging.LogRecord] = deque()
        handler = logging.handlers.QueueHandler(self)  # type: ignore[arg-type]
        logging.getLogger().handlers = [handler]
        own = logging.getLogger("vesselrl")
        own.handlers = []  # Kedro, when it is imported, lets it write to the console too
        own.setLevel(level)
        if not on_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before anything asks CUDA for devices

    def put_nowait(self, record: logging.LogRecord) -> None:
        """For `logging.handlers.QueueHandler`: what is logged goes along with the next answer."""
        self._records.append(record)

    def start(self) -> None:
        """Tell, by coming back, that the worker is there."""

    def do(self, item: Item[Any]) -> Answer:
        """Work on one item; after its device is lost, on no other."""
        kind: Literal["result", "error", "lost"]
        answer: Any
        kind, answer = "lost", self._lost
        if self._lost is None:
            try:
                kind, answer = "result", self._function(item)
            except DeviceLostError as error:
                kind, answer = "lost", str(error)
                self._lost = answer
            except VesselrlError as error:
                kind, answer = "error", VesselrlError(str(error))
            except Exception:
                kind, answer = "error", RuntimeError(f"On Ray:\n{traceback.format_exc()}")
        records = list(self._records)
        self._records.clear()
        return kind, answer, records


@dataclass(eq=False)
class _Hired(Generic[Payload]):
    """A worker as this process knows it; `items` are by the references to their answers."""

    actor: Any
    items: dict[Any, Item[Payload]] = field(default_factory=dict)


class _Crew(Generic[Payload]):
    """The workers, by the references whose answers are awaited, and the items none was given."""

    def __init__(
        self,
        ray: Any,
        function: Callable[..., Any],
        waiting: deque[Item[Payload]],
        parameters: RayParameters,
    ) -> None:
        self._ray = ray
        self._waiting = waiting
        self._parameters = parameters
        self._size = min(parameters.num_workers, len(waiting))
        self._awaited: dict[Any, _Hired[Payload]] = {}
        self._workers: list[_Hired[Payload]] = []
        self._blamed: Counter[str] = Counter()
        self._given_up: list[str] = []
        self._stillborn = 0
        share = parameters.gpus_per_worker
        level = logging.getLogger("vesselrl").getEffectiveLevel()
        actor: Any = ray.remote(num_cpus=1, num_gpus=share)(_Worker)
        shipped = ray.put(function)
        self._make: Callable[[], Any] = lambda: actor.remote(shipped, share > 0, level)

    def work(self) -> Generator[Any, None, None]:
        """Give out the items and hand on the results."""
        while len(self._workers) < self._size:
            self._hire()
        while self._waiting or any(worker.items for worker in self._workers):
            ready, _ = self._ray.wait(list(self._awaited), timeout=_PATIENCE)
            if not ready:
                self._tell_of_room()
            for reference in ready:
                yield from self._hear(reference)
        if self._given_up:
            raise VesselrlError(
                f"Each of these cost {ATTEMPTS} workers, perhaps for want of memory: "
                f"{first_few(self._given_up)}. All else is finished; run the command again to try "
                "them once more."
            )

    def _hire(self) -> None:
        worker: _Hired[Payload] = _Hired(self._make())
        self._workers.append(worker)
        self._awaited[worker.actor.start.remote()] = worker

    def _hear(self, reference: Any) -> Iterator[Any]:
        """The result behind a reference, if it is one."""
        errors = self._ray.exceptions
        worker = self._awaited.pop(reference)
        item = worker.items.get(reference)
        try:
            answer = self._ray.get(reference)
        except errors.RayTaskError as error:
            raise RuntimeError(f"On Ray:\n{error}") from error
        except errors.RayError as error:
            logger.debug("What Ray says of it", exc_info=error)
            lines = [line for line in str(error).splitlines() if line.strip()]
            at_start = "creation task" in lines[0]  # then the last line is that of a traceback
            self._bury(worker, f"{lines[-1 if at_start else 0]}")
            return
        self._stillborn = 0
        if item is not None:
            kind, message, records = answer
            for record in records:
                logging.getLogger(record.name).handle(record)
            if kind == "error":
                raise message
            if kind == "lost":
                self._bury(worker, message)
                return
            del worker.items[reference]
            yield message
        self._give(worker)

    def _give(self, worker: _Hired[Payload]) -> None:
        """Give a worker the next item, and one more while there is enough for all.

        An item that was at a lost worker is given alone: so it is certain whose fault the next loss
        is.
        """
        while self._waiting and len(worker.items) < _AHEAD:
            names = [name for name, _ in [*worker.items.values(), self._waiting[0]]]
            suspected = any(self._blamed[name] for name in names)
            if worker.items and (suspected or len(self._waiting) < self._size):
                return
            item = self._waiting.popleft()
            reference = worker.actor.do.remote(item)
            worker.items[reference] = item
            self._awaited[reference] = worker

    def _bury(self, worker: _Hired[Payload], reason: str) -> None:
        """A worker is lost: its items go to the end of the queue, and another takes its place."""
        self._dismiss(worker)
        self._workers.remove(worker)
        for reference in [r for r, other in self._awaited.items() if other is worker]:
            del self._awaited[reference]
        names = [name for name, _ in worker.items.values()]
        logger.warning(
            "A Ray worker was lost%s; another takes its place. %s",
            f" while at {first_few(names)}" if names else " before it was at work",
            reason,
        )
        self._blamed.update(names)
        self._stillborn += not names
        for item in worker.items.values():
            if self._blamed[item[0]] < ATTEMPTS:
                self._waiting.append(item)
            else:
                self._given_up.append(item[0])
        if self._stillborn == ATTEMPTS:
            raise VesselrlError(
                f"Workers do not start on Ray, {ATTEMPTS} in succession; the last: {reason} "
                "Each machine of the cluster needs vesselrl and its parts in the same versions."
            )
        if self._waiting:
            self._hire()

    def _tell_of_room(self) -> None:
        """While no worker could start, say what the cluster lacks."""
        idle = sum(not worker.items for worker in self._workers)
        if idle == len(self._workers):
            logger.warning(
                "No room on the Ray cluster yet: %d workers wait, each for 1 CPU and %g GPU; free "
                "are %s.",
                idle,
                self._parameters.gpus_per_worker,
                self._ray.available_resources() or "none",
            )

    def dismiss(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            self._dismiss(worker)

    def _dismiss(self, worker: _Hired[Payload]) -> None:
        self._ray.kill(worker.actor)
