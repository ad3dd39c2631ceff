"""The pipelines by name, as ``kedro run --pipeline NAME`` finds them."""

import warnings

from kedro.pipeline import Pipeline

from vesselrl.pipelines import (
    bundle,
    evaluation,
    experiments,
    ingest,
    pixel_rl,
    predict,
    pretrain,
    recipe,
    report,
    reward_net,
    sa2va_data,
    sa2va_rl,
    sample,
    segment,
    segmenter,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Every pipeline of the project; ``__default__`` is the whole job from raw data to report."""
    # evaluation and report read what the experiments made in their namespaces; that is intended
    warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
    reporting = report.create_pipeline()
    verdict = reporting.to_outputs("verdict")  # it tells which method the recipe is of
    stages = {
        "ingest": _in_a_box(ingest.create_pipeline(), "ingest"),
        "segment": _in_a_box(segment.create_pipeline(), "segment"),
        "segmenter": _in_a_box(segmenter.create_pipeline(), "segmenter"),
        "reward_net": _in_a_box(reward_net.create_pipeline(), "reward_net"),
        "experiments": experiments.create_pipeline() + experiments.create_regressors(),
        "evaluation": _in_a_box(evaluation.create_pipeline() + verdict, "evaluation"),
        "recipe": _in_a_box(recipe.create_pipeline(), "recipe"),
        "report": _in_a_box(reporting - verdict, "report"),
    }
    return {
        "__default__": Pipeline(stages.values()),
        **stages,
        "pixel_rl": _in_a_box(pixel_rl.create_pipeline(), "pixel_rl"),
        "sa2va_rl": _in_a_box(sa2va_rl.create_pipeline(), "sa2va_rl"),
        "rl_finetune": experiments.create_pipeline(["reward_rl"]),
        "predict": stages["recipe"] + _in_a_box(predict.create_pipeline(), "predict"),
        "bundle": _in_a_box(bundle.create_pipeline(), "bundle"),
        "sa2va_data": _in_a_box(sa2va_data.create_pipeline(), "sa2va_data"),
        "pretrain": _in_a_box(pretrain.create_pipeline(), "pretrain"),
        "sample": _in_a_box(sample.create_pipeline(), "sample"),
    }


def _in_a_box(stage: Pipeline, name: str) -> Pipeline:
    """A stage as one box of ``kedro viz``, opened by a click; its datasets keep their names."""
    return Pipeline(stage, namespace=name, prefix_datasets_with_namespace=False)
