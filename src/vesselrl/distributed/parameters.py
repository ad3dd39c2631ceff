"""Parameters of the work that is spread over Ray (``conf/base/parameters.yml``, ``conf/ray``)."""

from pydantic import Field, NonNegativeInt

from vesselrl.parameters import ParameterModel


class RayParameters(ParameterModel):
    """The group ``ray``. It changes no result, so none of it has a part in fingerprints."""

    num_workers: NonNegativeInt = Field(
        exclude=True, description="worker processes on the cluster; 0: no Ray"
    )
    gpus_per_worker: float = Field(
        ge=0, le=1, exclude=True, description="share of a GPU that a worker has to itself; 0: CPU"
    )
    address: str | None = Field(
        exclude=True,
        description="of the cluster: auto for the one that this machine belongs to, or host:port; "
        "null starts Ray on this machine for the run",
    )
