"""Parameters of the comparison (``conf/base/parameters_evaluation.yml``)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveInt, model_validator

from vesselrl.extensions import known_or_extension
from vesselrl.parameters import ParameterModel
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS
from vesselrl.rl.pixel.parameters import PIXEL_RL, REFINE, SA2VA_RL
from vesselrl.segmenters.unet.parameters import RIVALS

TRAINED = {"policy": EXPERIMENTS, "regressor": REGRESSORS}
"""Kind → the names under which its policies are trained."""
NETWORKS = {"segmenter": RIVALS, PIXEL_RL: (PIXEL_RL, REFINE), SA2VA_RL: (SA2VA_RL,)}
"""Pipeline that trains networks → those of which it makes maps (``<pipeline>.network_maps``)."""
FILES = {"imported": "imported_results", "policy": "finished_policies"}
"""Kind of the methods that may have a ``path`` → the dataset that reads what is there."""
NETWORK_SECONDS = {
    "best_of_n": ("opinion_seconds", "judging_seconds"),
    "posterior": ("opinion_seconds",),
}
"""Kind that uses scores which the reward network gave before → which of their times it costs."""
METRIC_COLUMNS = [
    "method", "seed", "image", "group", "split", "dice", "iou", "recall", "precision", "cldice",
    "hd95", "segmenter_calls", "seconds", "components_error", "thin_recall", "thick_recall",
    "thin_share",
]  # fmt: skip
"""Of the table of scores, one row a method, seed and image."""
GIVEN_POLICY = "given_policy"
"""The method that ``--params model_path=…`` adds: a policy with that path."""


def _further_metric(name: str) -> str:
    if name in METRIC_COLUMNS:
        raise ValueError(f"'{name}' is built in: give the module of your metric another name")
    return known_or_extension("metric", name, "metric")


class Method(ParameterModel):
    """One method of the comparison.

    Policies and regressors need an ``experiment``, or a policy a ``path`` in its place: the
    ``final_model.zip``, or a checkpoint, of an experiment that is finished. Imported methods need a
    ``path``: a folder of masks, or an ``annotations.json``. Networks need a ``network``, one of
    `NETWORKS`. ``repeats``, the number of draws, is used by random.
    """

    kind: Literal[
        "default", "static", "random", "best_of_one", "best_of_n", "policy", "regressor",
        "posterior", "network", "imported", "oracle",
    ]  # fmt: skip
    experiment: str | None = None
    network: str | None = None
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="where a network's map is cut; None: where the validation images score best",
    )
    repeats: PositiveInt = 1
    path: str | None = Field(
        None,
        min_length=1,
        exclude=True,  # paths may hold names; the content of what is there is fingerprinted instead
    )
    segmenter_calls: NonNegativeFloat | None = Field(
        None, description="what an imported method costs an image, if known"
    )
    seconds: NonNegativeFloat | None = Field(None, description="the same in seconds")

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> "Method":
        known = TRAINED.get(self.kind)
        if self.path and self.kind not in FILES:
            raise ValueError(f"a path was given; only {' and '.join(FILES)} methods have one")
        if self.path and self.experiment:
            raise ValueError("both 'experiment' and 'path' were given; expected one of them")
        if known and not self.path and self.experiment not in known:
            raise ValueError(
                f"a {self.kind} needs 'experiment', one of {', '.join(known)}; "
                f"found {self.experiment!r}"
            )
        networks = [network for trained in NETWORKS.values() for network in trained]
        if self.kind == "network" and self.network not in networks:
            raise ValueError(
                f"a network method needs 'network', one of {', '.join(networks)}; "
                f"found {self.network!r}"
            )
        if self.kind != "network" and (self.network or self.threshold):
            raise ValueError("only network methods have 'network' and 'threshold'")
        if self.kind == "imported" and not self.path:
            raise ValueError("an imported method needs 'path': its masks or annotations.json")
        if self.kind != "imported" and {"segmenter_calls", "seconds"} & self.model_fields_set:
            raise ValueError("costs are measured; only those of imported methods can be given")
        return self


class EvaluationParameters(ParameterModel):
    """The group ``evaluation``."""

    methods: dict[str, Method] = Field(min_length=1, description="by name, as the report shows it")
    metrics: list[Annotated[str, AfterValidator(_further_metric)]] = Field(
        default_factory=list, description="beside those built in: modules of vesselrl.extensions"
    )
