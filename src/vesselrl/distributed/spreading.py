"""One function on many items, over whichever workers the parameters name."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from vesselrl.distributed.parameters import RayParameters
from vesselrl.errors import VesselrlError
from vesselrl.parameters import Device
from vesselrl.workers import Item, Result, map_on_devices


def map_on_workers(
    function: Callable[[Item[Any]], Result],
    items: Iterable[Item[Any]],
    devices: Sequence[Device] | None,
    ray: RayParameters | None,
) -> Generator[Result, None, None]:
    """Apply a function to items: on Ray, on devices of this machine, or in this process.

    Args:
        function: see `vesselrl.workers.map_on_devices`.
        items: each with a name.
        devices: of each worker process of this machine; None works in this process.
        ray: the workers on Ray instead, if there are any.

    Yields:
        The results, in the order in which they come.

    Raises:
        VesselrlError: both are named; else as `vesselrl.workers.map_on_devices`.
    """
    if ray is None or not ray.num_workers:
        return map_on_devices(function, items, devices)
    if devices is not None:
        raise VesselrlError(
            f"segmenter.devices is {list(devices)} and ray.num_workers {ray.num_workers}: only one "
            "of them can spread the work; set segmenter.devices to null, or ray.num_workers to 0."
        )
    from vesselrl.distributed.ray_workers import map_on_ray

    return map_on_ray(function, items, ray)
