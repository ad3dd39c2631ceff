"""Parameters of the comparison (``conf/base/parameters_evaluation.yml``)."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from vesselrl.parameters import ParameterModel
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS

TRAINED = {"policy": EXPERIMENTS, "regressor": REGRESSORS}
"""Kind → the names under which its policies are trained."""


class Method(ParameterModel):
    """One method of the comparison.

    ``experiment`` is needed by policies and regressors alone; ``repeats``, the number of draws, is
    used by random.
    """

    kind: Literal[
        "default", "static", "random", "best_of_one", "best_of_n", "policy", "regressor",
        "posterior", "oracle",
    ]  # fmt: skip
    experiment: str | None = None
    repeats: PositiveInt = 1

    @model_validator(mode="after")
    def _trained_method_has_experiment(self) -> "Method":
        known = TRAINED.get(self.kind)
        if known and self.experiment not in known:
            raise ValueError(
                f"a {self.kind} needs 'experiment', one of {', '.join(known)}; "
                f"found {self.experiment!r}"
            )
        return self


class EvaluationParameters(ParameterModel):
    """The group ``evaluation``."""

    methods: dict[str, Method] = Field(min_length=1, description="by name, as the report shows it")
