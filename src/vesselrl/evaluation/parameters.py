"""Parameters of the comparison (``conf/base/parameters_evaluation.yml``)."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from vesselrl.parameters import ParameterModel
from vesselrl.rl.parameters import EXPERIMENTS


class Method(ParameterModel):
    """One method of the comparison.

    ``experiment`` is needed by policies alone; ``repeats``, the number of draws, is used by random.
    """

    kind: Literal["default", "static", "random", "best_of_n", "policy", "posterior", "oracle"]
    experiment: str | None = None
    repeats: PositiveInt = 1

    @model_validator(mode="after")
    def _policy_has_experiment(self) -> "Method":
        if self.kind == "policy" and self.experiment not in EXPERIMENTS:
            raise ValueError(
                f"a policy needs 'experiment', one of {', '.join(EXPERIMENTS)}; "
                f"found {self.experiment!r}"
            )
        return self


class EvaluationParameters(ParameterModel):
    """The group ``evaluation``."""

    methods: dict[str, Method] = Field(min_length=1, description="by name, as the report shows it")
