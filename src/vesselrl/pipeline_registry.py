"""The pipelines by name, as ``kedro run --pipeline NAME`` finds them."""

from kedro.pipeline import Pipeline

from vesselrl.pipelines import evaluation, experiments, ingest, report, reward_net, sample, segment


def register_pipelines() -> dict[str, Pipeline]:
    """Every pipeline of the project; ``__default__`` is the whole job from raw data to report."""
    stages = {
        "ingest": ingest.create_pipeline(),
        "segment": segment.create_pipeline(),
        "reward_net": reward_net.create_pipeline(),
        "experiments": experiments.create_pipeline(),
        "evaluation": evaluation.create_pipeline(),
        "report": report.create_pipeline(),
    }
    return {
        "__default__": sum(stages.values(), Pipeline([])),
        **stages,
        "rl_finetune": experiments.create_pipeline(names=["reward_rl"]),
        "sample": sample.create_pipeline(),
    }
