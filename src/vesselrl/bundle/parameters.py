"""Parameters of a bundle (``conf/base/parameters_bundle.yml``)."""

from pydantic import Field

from vesselrl.parameters import ParameterModel


class BundlingParameters(ParameterModel):
    """The group ``bundling``."""

    zip: bool = Field(description="write bundle.zip beside the folder too")
    onnx: bool = Field(description="write the networks of ours as ONNX too; needs vesselrl[onnx]")
    licence: str = Field(min_length=1, description="under which it is handed on, for its card")
