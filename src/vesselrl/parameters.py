"""The base of every parameter group in ``conf/``.

A parameter group is a frozen pydantic model that lives beside the code it steers. Kedro validates
it before a run starts, because nodes name it as the type of their ``params:`` argument.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

Device = NonNegativeInt | Literal["cpu"]
"""The number of a CUDA GPU among those that a run sees, or ``cpu``."""
Devices = Annotated[
    list[Device] | None,
    Field(
        min_length=1,
        exclude=True,  # it changes no result, so has no part in fingerprints
        description="one worker process each: numbers of GPUs, or cpu; null: this process, on the "
        "best device",
    ),
]
"""Where things that do not depend on each other are worked on at the same time."""
Teams = Annotated[
    list[Device | Annotated[list[Device], Field(min_length=1)]] | None,
    Field(
        min_length=1,
        exclude=True,  # it changes a result by no more than the order of summation does
        description="as Devices; what stands in brackets trains one network together, each a share "
        "of every batch",
    ),
]
"""The same for trainings that devices may share."""


class ParameterModel(BaseModel):
    """A group of parameters: immutable, and an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def one_each(teams: Teams) -> Devices:
    """The same devices, none together with others."""
    if teams is None:
        return None
    return [one for team in teams for one in (team if isinstance(team, list) else [team])]
