"""The base of every parameter group in ``conf/``.

A parameter group is a frozen pydantic model that lives beside the code it steers. Kedro validates
it before a run starts, because nodes name it as the type of their ``params:`` argument.
"""

from pydantic import BaseModel, ConfigDict


class ParameterModel(BaseModel):
    """A group of parameters: immutable, and an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
