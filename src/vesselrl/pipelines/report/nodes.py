"""Nodes of the pipeline ``report``: tables and figures in, tables and one document out."""

from collections.abc import Mapping, Sequence
from typing import Any

from vesselrl.evaluation.parameters import EvaluationParameters
from vesselrl.pipelines import Partitions
from vesselrl.report.parameters import ReportParameters
from vesselrl.samples import ids_of
from vesselrl.segmenters.parameters import SegmenterParameters

PACKAGES = (
    "vesselrl", "kedro", "numpy", "pandas", "scikit-image", "torch", "monai", "stable-baselines3",
    "gymnasium", "transformers",
)  # fmt: skip
FACTS = "_facts"
"""Ends the names of the arguments that are facts of a pipeline's networks."""


def gather_histories(**experiments: Mapping[int, Any]) -> Any:
    """Put the training histories of all experiments under one another.

    Args:
        experiments: experiment → seed → DataFrame (steps, ep_rew_mean, gt_dice, val_dice, proxy,
            gold, val_gold, action_entropy, …); without seeds where the experiment was not run.

    Returns:
        The same columns behind ``experiment`` and ``seed``; no rows if no experiment was run.
    """
    import pandas as pd

    parts = [
        history.assign(experiment=experiment, seed=seed)
        for experiment, histories in experiments.items()
        for seed, history in histories.items()
    ]
    columns = ["experiment", "seed"]
    if not parts:
        return pd.DataFrame(columns=columns)
    curves = pd.concat(parts, ignore_index=True)
    return curves[columns + [column for column in curves if column not in columns]]


def compare_methods(
    metrics_per_image: Any,
    evaluation: EvaluationParameters,
    report: ReportParameters,
    seed: int,
    **network_facts: Mapping[str, Mapping[str, Any]],
) -> Any:
    """The leaderboard; see ``vesselrl.report.comparison.leaderboard``.

    Args:
        metrics_per_image: scores of each mask.
        evaluation: the methods, and further metrics.
        report: objective, targets, baseline.
        seed: of the resampling.
        network_facts: pipeline → network → what it takes to have it.
    """
    from vesselrl.report.comparison import leaderboard

    facts = {name: fact for facts in network_facts.values() for name, fact in facts.items()}
    methods = {
        name: settings | {"passes": facts.get(str(settings.get("network")), {}).get("passes", 0)}
        for name, settings in _specifications(evaluation).items()
    }
    return leaderboard(metrics_per_image, methods, report, seed)


def give_verdict(
    metrics_per_image: Any, leaderboard: Any, report: ReportParameters, seed: int
) -> dict[str, Any]:
    """The verdict; see ``vesselrl.report.verdict.verdict``."""
    from vesselrl.report.verdict import verdict

    return verdict(metrics_per_image, leaderboard, report, seed)


def count_costs(
    choices: Any,
    segment_timing: Any,
    action_scores: Partitions,
    reward_network: dict[str, Any],
    reward_history: Any,
    evaluation: EvaluationParameters,
    parameters: Mapping[str, Any],
    seed: int,
    **trained: Mapping[Any, Any],
) -> Any:
    """What each method costs; see ``vesselrl.report.costs.method_costs``.

    Args:
        choices: what each method decided for each image, and what that took.
        segment_timing: columns id, seconds, calls.
        action_scores: sample id → loader of the scores of every setting and the time they took.
        reward_network: state of the ``RewardNetwork``, whose parameters are counted.
        reward_history: of its training, of which ``seconds`` is read (not there in histories that
            earlier versions wrote).
        evaluation: the methods, and further metrics.
        parameters: every parameter of the run.
        seed: under which the networks' facts are filed.
        trained: ``<experiment>_policies`` and ``<experiment>_infos`` → seed → policy or facts;
            ``<pipeline>_facts`` → network → what it takes to have it.
    """
    import pandas as pd
    from pydantic_core import to_jsonable_python

    from vesselrl.networks.architecture import weight_count
    from vesselrl.report.costs import method_costs
    from vesselrl.reward.network import RewardNetwork

    members = RewardNetwork.from_state(reward_network).members
    measured = ("opinion_seconds", "judging_seconds")
    times = []
    for image in choices["image"].unique():
        scores = action_scores[image]()
        times.append((image, *(float(scores[name]) for name in measured)))

    def of(kind: str) -> dict[str, Mapping[Any, Any]]:
        return {n.removesuffix(kind): given for n, given in trained.items() if n.endswith(kind)}

    networks = {
        name: {seed: fact | {"seconds": fact["training_seconds"]}}
        for facts in of(FACTS).values()
        for name, fact in facts.items()
    }
    return method_costs(
        choices,
        segment_timing,
        pd.DataFrame(times, columns=["id", *measured]),
        _specifications(evaluation),
        of("_policies"),
        of("_infos") | networks,
        weight_count(members),
        float(reward_history.get("seconds", pd.Series(dtype=float)).max()),
        to_jsonable_python(parameters),
    )


def measure_thresholds(
    candidates: Partitions,
    masks: Partitions,
    samples: Any,
    static_setting: Mapping[str, Any],
    segmenter: SegmenterParameters,
) -> Any:
    """Mean scores of the default and the best static prompt at every threshold, on test images.

    Args:
        candidates: sample id → loader of the stored maps.
        masks: sample id → loader of the truth, bool (H, W).
        samples: the table of samples.
        static_setting: of which ``prompt`` is read.
        segmenter: the prompts.
    """
    from vesselrl.report.thresholds import threshold_curves

    prompts = list(segmenter.prompts)
    shown = dict.fromkeys((segmenter.default_prompt, static_setting["prompt"]))
    positions = {prompt: prompts.index(prompt) for prompt in shown}
    return threshold_curves(ids_of(samples, "test"), candidates, masks, positions)


def write_report(
    samples: Any,
    ingest_report: Mapping[str, Any],
    quarantine: Any,
    segment_failures: Any,
    metrics_per_image: Any,
    leaderboard: Any,
    verdict: Mapping[str, Any],
    costs: Any,
    choices: Any,
    methods_not_run: Sequence[Mapping[str, str]],
    learning_curves: Any,
    reward_net_report: Mapping[str, Any],
    recipe_check: Mapping[str, Any],
    ingest_overview: bytes,
    reward_net_figure: bytes,
    reward_error_maps_figure: bytes,
    reward_hacks_figure: bytes,
    leaderboard_figure: bytes,
    paired_figure: bytes,
    curves_figure: bytes,
    thresholds_figure: bytes,
    gallery_figure: bytes,
    cost_figure: bytes,
    pixel_infos: Mapping[int, Mapping[str, Any]],
    pixel_training_figure: bytes,
    pixel_dice_figure: bytes,
    pixel_gallery_figure: bytes,
    evaluation: EvaluationParameters,
    report: ReportParameters,
    parameters: Mapping[str, Any],
    **training_infos: Mapping[int, Mapping[str, Any]],
) -> tuple[str, str]:
    """Write the report: what was found first, then what stands behind it.

    Args:
        samples: columns id, group, split, vessel_fraction, ….
        ingest_report: of which ``warnings`` is read.
        quarantine: columns file, field, reason, hint.
        segment_failures: columns id, error.
        metrics_per_image: scores of each mask.
        leaderboard: one row a method.
        verdict: the method to use and why.
        costs: one row a method.
        choices: columns method, prompt, threshold, operations: what was done to each image.
        methods_not_run: rows method, command.
        learning_curves: training histories, column experiment first.
        reward_net_report: report card of the reward network.
        recipe_check: how true the scores are that are predicted of new images.
        ingest_overview: PNG, as are the next nine: the data.
        reward_net_figure: agreement, reliability and order of the reward network.
        reward_error_maps_figure: the errors it expects beside the true ones.
        reward_hacks_figure: what hacks gain as predicted and in truth.
        leaderboard_figure: scores of all methods.
        paired_figure: differences per image.
        curves_figure: learning curves.
        thresholds_figure: scores over thresholds.
        gallery_figure: best, median and worst image.
        cost_figure: quality against cost.
        pixel_infos: seed → facts of RL on the segmenter's weights; none where it was not run, and
            then the next three are empty.
        pixel_training_figure: its proxy and gold.
        pixel_dice_figure: Dice of validation images before and after it.
        pixel_gallery_figure: masks before and after it.
        evaluation: the methods, and further metrics.
        report: objective, targets, baseline.
        parameters: every parameter of the run, to be printed.
        training_infos: experiment → seed → facts.

    Returns:
        The report as HTML and as Markdown.
    """
    from importlib.metadata import version

    import yaml
    from pydantic_core import to_jsonable_python

    from vesselrl.report import background, deployment, findings, trust
    from vesselrl.report.comparison import image_scores
    from vesselrl.report.document import Document
    from vesselrl.report.failures import failures, worst_images
    from vesselrl.report.language import say, written_in
    from vesselrl.report.methods import methods
    from vesselrl.report.new_images import new_images
    from vesselrl.report.pixel import pixel_rl
    from vesselrl.report.render import render_html, render_markdown
    from vesselrl.report.summary import summary
    from vesselrl.report.words import counted

    recommended = verdict["recommended"]
    quick = bool(parameters.get("quick"))
    settings = to_jsonable_python(parameters)
    seen = {"observations": settings["rl"]["observations"]}
    trained = {
        name: specification | seen
        for name, specification in (settings["experiments"] | settings["regressors"]).items()
    }
    scores = image_scores(metrics_per_image, report.objective)
    with written_in(report.language):
        worst = worst_images(scores, leaderboard, recommended, list(segment_failures["id"]))
        document = Document(
            title=say("Vessel segmentation: which method to use"),
            subtitle=say(
                "Technical report. {methods} on {images} of {groups}.",
                methods=counted(len(leaderboard), "method"),
                images=counted(verdict["images"], "test image"),
                groups=counted(verdict["groups"], "group"),
            ),
            sections=(
                summary(
                    verdict, leaderboard, report, len(ingest_report.get("warnings", [])), quick
                ),
                background.data(samples, ingest_report, quarantine, ingest_overview),
                methods(leaderboard, choices, _specifications(evaluation), trained),
                findings.scores(
                    leaderboard, recommended, leaderboard_figure, report, evaluation.metrics
                ),
                findings.paired(leaderboard, verdict, paired_figure, report),
                findings.thresholds(thresholds_figure),
                background.training(learning_curves, training_infos, curves_figure),
                *pixel_rl(
                    pixel_infos, pixel_training_figure, pixel_dice_figure, pixel_gallery_figure
                ),
                trust.reward_network(
                    reward_net_report,
                    reward_net_figure,
                    reward_error_maps_figure,
                    reward_hacks_figure,
                ),
                findings.gallery(gallery_figure),
                deployment.costs(leaderboard, costs, recommended, cost_figure),
                new_images(recipe_check, quick),
                failures(segment_failures, methods_not_run, len(quarantine), worst),
                background.reproduction(
                    yaml.safe_dump(settings, sort_keys=False),
                    {package: version(package) for package in PACKAGES},
                    quick,
                ),
            ),
            language=report.language,
        )
        return render_html(document), render_markdown(document)


def _specifications(evaluation: EvaluationParameters) -> dict[str, dict[str, Any]]:
    """Method → its settings as plain values."""
    return {name: method.model_dump(mode="json") for name, method in evaluation.methods.items()}
