"""What stands behind the comparison: data, training, reproduction."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vesselrl.report.document import (
    Block,
    Bullets,
    Callout,
    Code,
    Paragraph,
    Picture,
    Section,
    Table,
)
from vesselrl.report.failures import listing
from vesselrl.report.language import mark, say, say_stored, sentences
from vesselrl.report.limits import what_the_segmenter_saw
from vesselrl.report.words import NOTHING, counted, decimal, listed, params_of_run
from vesselrl.rl.looks import ALL_STEPS
from vesselrl.samples import UNLABELLED, unlabelled_pool

Infos = Mapping[Any, Mapping[Any, Mapping[str, Any]]]
"""Experiment → seed → facts of its training."""

SPLITS = {
    "train": mark("train"),
    "val": mark("val"),
    "test": mark("test"),
    UNLABELLED: mark("unlabelled"),
}


def data(
    samples: pd.DataFrame,
    ingest_report: Mapping[str, Any],
    quarantine: pd.DataFrame,
    figure: bytes,
    leaking: int,
) -> Section:
    """Images, splits by group, warnings and what was refused.

    Args:
        samples: columns group, split and vessel_fraction.
        ingest_report: of which ``warnings`` is read.
        quarantine: columns file, field, reason, hint.
        figure: PNG of the data.
        leaking: groups of validation and test that the segmenter is known to have learned from.
    """
    seen = len(samples) + len(quarantine)
    rows = []
    for split in [s for s in SPLITS if s in set(samples["split"])]:
        part = samples[samples["split"] == split]
        mean = 100 * part["vessel_fraction"].mean()
        fraction = NOTHING if split == UNLABELLED else f"{mean:.1f} %"
        rows.append((say(SPLITS[split]), str(len(part)), str(part["group"].nunique()), fraction))
    blocks: list[Block] = [
        Paragraph(
            say(
                "Of {seen}, {used} were used and {refused} refused. The images come from {groups} "
                "(patients, studies or videos). Training images teach, validation images choose, "
                "test images are only measured.",
                seen=counted(seen, "image"),
                used=f"{len(samples):,}",
                refused=f"{len(quarantine):,}",
                groups=counted(samples["group"].nunique(), "group"),
            )
        ),
        Table((say("Split"), say("Images"), say("Groups"), say("Vessel pixels")), tuple(rows)),
    ]
    unlabelled = samples["split"] == UNLABELLED
    if unlabelled.any():
        count = int(unlabelled.sum())
        withheld = count - len(unlabelled_pool(samples))
        text = sentences(
            say(
                "{images} without labels: the segmenter is asked about them as well, but no score "
                "counts them.",
                images=counted(count, "image"),
            ),
            say(
                "Nothing learns from {withheld} of them, whose groups are in validation or test.",
                withheld=f"{withheld:,}",
            )
            if withheld
            else "",
        )
        blocks.append(Paragraph(text))
    splits_of_group = samples[~unlabelled].groupby("group")["split"].nunique()
    shared = [str(group) for group in splits_of_group.index[splits_of_group > 1]]
    blocks.append(
        Callout(
            say(
                "{groups} ({names}) in more than one split: the scores flatter every method that "
                "learns.",
                groups=counted(len(shared), "group"),
                names=listed(shared[:5]) + ", …" * (len(shared) > 5),
            ),
            "warning",
        )
        if shared
        else Paragraph(say("No group is shared between splits."))
    )
    if leaking:
        blocks.append(Callout(what_the_segmenter_saw(leaking), "warning"))
    blocks.append(
        Picture(
            figure,
            "ingest_overview.png",
            say(
                "Images of each split with the annotated vessels outlined, and charts of the data."
            ),
            say(
                "Some images of each split with what was annotated, and how images, groups and "
                "vessel pixels are spread."
            ),
            photographs=True,
        )
    )
    warnings = tuple(say_stored(str(warning)) for warning in ingest_report.get("warnings", []))
    if warnings:
        text = say("{warnings} on the data:", warnings=counted(len(warnings), "warning"))
        blocks += [Callout(text, "warning")]
        blocks += [Bullets(warnings)]
    if len(quarantine):
        columns = {
            "file": say("File"),
            "field": say("Field"),
            "reason": say("Reason"),
            "hint": say("Hint"),
        }
        blocks += [Paragraph(say("Refused entries:"))]
        blocks += [listing(quarantine, columns, "quarantine.csv")]
    return Section("data", say("Data and splits"), tuple(blocks))


def training(curves: pd.DataFrame, infos: Infos, figure: bytes) -> Section:
    """Learning curves, what they warn of, and what training cost."""
    if curves.empty:
        text = say("No reinforcement-learning experiment was run, so there is no training history.")
        return Section("training", say("Learning curves"), (Paragraph(text),))
    rows, early = [], []
    for (experiment, seed), history in curves.groupby(["experiment", "seed"], sort=False):
        info = infos.get(experiment, {}).get(seed, {})
        gold = history["val_dice"].dropna()
        rows.append(
            (
                str(experiment),
                str(seed),
                f"{int(history['steps'].max()):,}",
                f"{int(info['kept_step']):,}" if "kept_step" in info else NOTHING,
                decimal(info.get("seconds", float("nan")) / 60, 1),
                decimal(info.get("steps_per_second", float("nan")), 0),
                decimal(gold.iloc[-1] if len(gold) else float("nan")),
                decimal(info["val_dice"] if info.get("val_dice") is not None else float("nan")),
                f"{info['most_frequent_choice']:.0%}"
                if "most_frequent_choice" in info
                else NOTHING,
            )
        )
        if info.get("ended", ALL_STEPS) != ALL_STEPS:
            why = say("{experiment}, seed {seed}: {why}", experiment=experiment, seed=seed,
                      why=say_stored(info["ended"]))  # fmt: skip
            early.append(why)
    picture = Picture(
        figure,
        "learning_curves.png",
        say("Learning curves of every experiment and seed."),
        say(
            "Thin: a seed; thick: the mean of the seeds. Training curves are of exploring "
            "policies, validation curves of the greedy one. Where the proxy (dashed) rises and "
            "gold does not follow, the policy is learning to please the reward network. A ring "
            "marks the policy of each seed that was kept, a cross the end of its training."
        ),
    )
    table = Table(
        (
            say("Experiment"), say("Seed"), say("Steps"), say("Kept step"), say("Minutes"),
            say("Steps/s"), say("Validation Dice, last"), say("kept"),
            say("Most frequent choice"),
        ),
        tuple(rows),
        text_columns=1,
        note=sentences(
            say(
                "The most frequent choice: the share of the training and validation images that "
                "get it."
            ),
            say("Ended early: {runs}.", runs="; ".join(early)) if early else "",
        ),
    )  # fmt: skip
    notes = [*_collapses(infos), *_over_optimised(infos)]
    text = say(
        "Experiments are paid by the ground truth of the training images or by the reward network "
        "(proxy), as their configuration says. Whether a policy really got better shows only on "
        "the ground truth of images it did not train on (gold, validation). Of all updates the "
        "policy with the best objective there was kept."
    )
    blocks: list[Block] = [Paragraph(text), *(Callout(note, "warning") for note in notes)]
    return Section("training", say("Learning curves"), (*blocks, picture, table))


def _collapses(infos: Infos) -> list[str]:
    notes = []
    for experiment, of_experiment in infos.items():
        seeds = [str(seed) for seed, info in of_experiment.items() if info.get("collapsed")]
        if seeds:
            runs = say("seed {seeds}" if len(seeds) == 1 else "seeds {seeds}", seeds=listed(seeds))
            text = say(
                "The policy of {experiment} ({runs}) collapsed: it does the same to every image, "
                "so it is a static setting in disguise.",
                experiment=experiment,
                runs=runs,
            )
            notes.append(text)
    return notes


def _over_optimised(infos: Infos) -> list[str]:
    notes = []
    for experiment, of_experiment in infos.items():
        for seed, info in of_experiment.items():
            if info.get("overoptimised"):
                text = say(
                    "{experiment}, seed {seed}: the policy learned to please the reward network, "
                    "not to segment better (reward hacking). On the validation images, from step "
                    "{step} to the end of training, the proxy rose from {proxy} to {risen} while "
                    "gold fell from {gold} to {fallen}. The policy of step {step} was kept.",
                    experiment=experiment,
                    seed=seed,
                    step=f"{info['kept_step']:,}",
                    proxy=decimal(info["proxy_at_best"]),
                    risen=decimal(info["proxy_last"]),
                    gold=decimal(info["gold_best"]),
                    fallen=decimal(info["gold_last"]),
                )
                notes.append(text)
    return notes


def reproduction(configuration: str, versions: Mapping[str, str], quick: bool) -> Section:
    """Commands, configuration and versions.

    Args:
        configuration: all parameters of the run, as YAML.
        versions: package → version.
        quick: whether this was a quick run.
    """
    params = params_of_run(quick)
    commands = (
        f"# {say('everything, from the raw data to this report')}\nkedro run {params}\n\n"
        f"# {say('this report alone, from results that exist')}\n"
        f"kedro run --pipeline report {params}"
    )
    same = say("Same data, same configuration and same versions give the same numbers.")
    return Section(
        "reproduction",
        say("How to reproduce"),
        (
            Code(commands),
            Paragraph(same),
            Table((say("Package"), say("Version")), tuple(versions.items()), text_columns=2),
            Code(configuration, title=say("Configuration of this run")),
        ),
    )
