"""One piece of work on many items, by whichever workers the parameters name."""

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from vesselrl.distributed.parameters import RayParameters
from vesselrl.errors import VesselrlError
from vesselrl.overlapping import Steps, overlapped
from vesselrl.parameters import Device
from vesselrl.workers import Item, Result, map_on_devices


def map_on_workers(
    steps: Steps[Item[Any], Any, Any, Result],
    items: Iterable[Item[Any]],
    devices: Sequence[Device] | None,
    ray: RayParameters | None,
) -> Generator[Result, None, None]:
    """Work on items: on Ray, on devices of this machine, or in this process.

    Args:
        steps: of each item; picklable unless it is done in this process. Every worker process has a
            copy, so that a model made at the first item stays.
        items: each with a name.
        devices: of each worker process of this machine; None works in this process, where the steps
            of neighbouring items overlap.
        ray: the workers on Ray instead, if there are any.

    Yields:
        The results, in the order in which they come.

    Raises:
        VesselrlError: both are named; else as `vesselrl.workers.map_on_devices`.
    """
    if ray is None or not ray.num_workers:
        if devices is None:
            return overlapped(steps, items)
        return map_on_devices(steps, items, devices)
    if devices is not None:
        raise VesselrlError(
            f"segmenter.devices is {list(devices)} and ray.num_workers {ray.num_workers}: only one "
            "of them can spread the work; set segmenter.devices to null, or ray.num_workers to 0."
        )
    from vesselrl.distributed.ray_workers import map_on_ray

    return map_on_ray(steps, items, ray)


def is_done_here(devices: Sequence[Device] | None, ray: RayParameters | None) -> bool:
    """Whether `map_on_workers` would work in this process."""
    return devices is None and (ray is None or not ray.num_workers)
