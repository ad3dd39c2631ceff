"""Parameters of the drawn sample (``conf/base/parameters_sample.yml``)."""

from pydantic import Field

from vesselrl.parameters import ParameterModel


class SampleParameters(ParameterModel):
    """The group ``sample``."""

    seed: int = Field(ge=0, description="of the first patient; the others count on from it")
    patients: int = Field(ge=1, le=99)
    frames: int = Field(ge=1, le=9, description="images per patient")
    size: int = Field(ge=64, le=1024, description="side of the square images, in pixels")
