"""Parameters of Sa2VA as a segmenter (``conf/sa2va/parameters_segment.yml``)."""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, computed_field, field_validator, model_validator

from vesselrl.parameters import ParameterModel
from vesselrl.segmenters.parameters import SegmenterParameters

IMAGE_TOKEN = "<image>"
"""Where in a text a Sa2VA model sees the image."""


class TextPrompt(ParameterModel):
    """What a model that reads language is asked."""

    text: str = Field(
        min_length=1,
        description=f"in the model's own words; {IMAGE_TOKEN}, where the image stands, is put "
        "before it unless the text has it",
    )

    @field_validator("text")
    @classmethod
    def _has_one_image(cls, text: str) -> str:
        if (count := text.count(IMAGE_TOKEN)) > 1:
            raise ValueError(f"{IMAGE_TOKEN} stands in it {count} times; expected once or not")
        if not text.replace(IMAGE_TOKEN, "").strip():
            raise ValueError("it asks nothing")
        return text


class Sa2vaParameters(SegmenterParameters):
    """Of Sa2VA, a multimodal language model with SAM 2 as its mask decoder (``docs/sa2va.md``).

    The fingerprint of what the model answers holds ``weights``, not the path: a moved folder makes
    nothing stale, other weights in the same folder do.
    """

    kind: Literal["sa2va"]
    path: str = Field(
        min_length=1,
        exclude=True,
        description="the folder of the model, or its id on the Hugging Face hub",
    )
    revision: str | None = Field(
        exclude=True, description="the full commit of a model of the hub, which must be pinned"
    )
    adapters: str | None = Field(
        default=None,
        min_length=1,
        exclude=True,
        description="a folder of adapters that the pipeline sa2va_rl trained on this model; they "
        "are taken into its weights when it is loaded",
    )
    trust_remote_code: bool = Field(
        default=False,
        exclude=True,
        description="run the Python code that lies in the model's folder, with all your rights",
    )
    dtype: Literal["bfloat16", "float16", "float32"] = Field(description="of the weights")
    quantisation: Literal["none", "8bit", "4bit"] = Field(
        description="of the language model's weights, by bitsandbytes, on a GPU"
    )
    device: str | None = Field(
        exclude=True,
        pattern=r"^(cpu|cuda(:\d+)?|spread)$",
        description="cpu, cuda, cuda:1 …; spread: one model over all GPUs; null: the best one",
    )
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = Field(
        description="its implementation; auto: the first of these that is installed and supported"
    )
    merge: Literal["union", "first", "largest"] = Field(
        description="which objects make up the map where an answer has several"
    )
    prompts: dict[str, TextPrompt] = Field(min_length=1)

    @field_validator("path", mode="before")
    @classmethod
    def _is_given(cls, path: Any) -> Any:
        if path is None:
            raise ValueError(
                "say where the model is: --params segmenter.path=/path/to/sa2va_vessel_hf"
            )
        return path

    @field_validator("adapters")
    @classmethod
    def _holds_adapters(cls, adapters: str | None) -> str | None:
        from vesselrl.segmenters.sa2va.identity import identity_of_adapters

        if adapters is not None:
            try:
                identity_of_adapters(adapters)
            except OSError as error:
                raise ValueError(
                    f"{adapters} holds no adapters ({error}); expected a folder that the pipeline "
                    "sa2va_rl wrote: 06_models/sa2va_rl/adapters"
                ) from error
        return adapters

    @field_validator("revision")
    @classmethod
    def _is_a_commit(cls, revision: str | None) -> str | None:
        if revision is not None and not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise ValueError(
                f"it is {revision}; expected a full commit, 40 hexadecimal digits: what a branch "
                "or tag stands for, code to be run included, may change"
            )
        return revision

    @model_validator(mode="after")
    def _names_devices_once(self) -> Self:
        if self.device and self.devices:
            raise ValueError(
                f"device is {self.device} and devices {self.devices}; name one of them: device for "
                "one model, devices for a model on each"
            )
        return self

    def learned_from(self) -> list[str]:
        """See `SegmenterParameters.learned_from`; of the model itself nothing is known."""
        if self.adapters is None:
            return []
        from vesselrl.segmenters.sa2va.adapters import read_adapters  # torch is heavy

        return list(read_adapters(Path(self.adapters).expanduser()).groups)

    @computed_field
    def weights(self) -> str:
        """What tells this model's weights from others', adapters included."""
        if self.adapters is None:
            return self.base
        from vesselrl.segmenters.sa2va.identity import identity_of_adapters

        return f"{self.base}+{identity_of_adapters(self.adapters)}"

    @property
    def base(self) -> str:
        """What tells the weights in the model's folder from others'."""
        from vesselrl.segmenters.sa2va.identity import identity_of

        return identity_of(self.path, self.revision)


def with_image(text: str) -> str:
    """A text with the one place that the models need for the image."""
    return text if IMAGE_TOKEN in text else f"{IMAGE_TOKEN}\n{text}"
