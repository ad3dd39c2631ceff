"""What stands behind the comparison: data, training, failures, reproduction."""

from collections.abc import Mapping, Sequence
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
from vesselrl.report.words import NOTHING, counted, decimal, listed
from vesselrl.rl.looks import ALL_STEPS

Infos = Mapping[Any, Mapping[Any, Mapping[str, Any]]]
"""Experiment → seed → facts of its training."""

SPLITS = ("train", "val", "test")
LONGEST_LIST = 30
"""Rows of a list shown in the report; the file beside it has all."""


def data(
    samples: pd.DataFrame,
    ingest_report: Mapping[str, Any],
    quarantine: pd.DataFrame,
    figure: bytes,
) -> Section:
    """Images, splits by group, warnings and what was refused."""
    seen = len(samples) + len(quarantine)
    rows = []
    for split in [s for s in SPLITS if s in set(samples["split"])]:
        part = samples[samples["split"] == split]
        fraction = f"{100 * part['vessel_fraction'].mean():.1f} %"
        rows.append((split, str(len(part)), str(part["group"].nunique()), fraction))
    blocks: list[Block] = [
        Paragraph(
            f"Of {counted(seen, 'annotated image')}, {len(samples):,} were used "
            f"and {len(quarantine):,} refused. The images come from "
            f"{counted(samples['group'].nunique(), 'group')} (patients, studies or videos). "
            "Training images teach, validation images choose, test "
            "images are only measured."
        ),
        Table(("Split", "Images", "Groups", "Vessel pixels"), tuple(rows)),
    ]
    splits_of_group = samples.groupby("group")["split"].nunique()
    shared = [str(group) for group in splits_of_group.index[splits_of_group > 1]]
    blocks.append(
        Callout(
            f"{counted(len(shared), 'group')} ({listed(shared[:5])}{', …' * (len(shared) > 5)}) in "
            "more than one split: the scores flatter every method that learns.",
            "warning",
        )
        if shared
        else Paragraph("No group is shared between splits.")
    )
    blocks.append(
        Picture(
            figure,
            "ingest_overview.png",
            "Images of each split with the annotated vessels outlined, and charts of the data.",
            "Some images of each split with what was annotated, and how images, groups and vessel "
            "pixels are spread.",
        )
    )
    warnings = tuple(str(warning) for warning in ingest_report.get("warnings", []))
    if warnings:
        blocks += [Callout(f"{counted(len(warnings), 'warning')} on the data:", "warning")]
        blocks += [Bullets(warnings)]
    if len(quarantine):
        blocks += [
            Paragraph("Refused entries:"),
            _listing(quarantine, ("file", "field", "reason", "hint"), "quarantine.csv"),
        ]
    return Section("data", "Data and splits", tuple(blocks))


def training(curves: pd.DataFrame, infos: Infos, figure: bytes) -> Section:
    """Learning curves, what they warn of, and what training cost."""
    if curves.empty:
        text = "No reinforcement-learning experiment was run, so there is no training history."
        return Section("training", "Learning curves", (Paragraph(text),))
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
            early.append(f"{experiment}, seed {seed}: {info['ended']}")
    picture = Picture(
        figure,
        "learning_curves.png",
        "Learning curves of every experiment and seed.",
        "Thin: a seed; thick: the mean of the seeds. Training curves are of exploring policies, "
        "validation curves of the greedy one. Where the proxy (dashed) rises and gold does not "
        "follow, the policy is learning to please the reward network. A ring marks the policy of "
        "each seed that was kept, a cross the end of its training.",
    )
    table = Table(
        (
            "Experiment", "Seed", "Steps", "Kept step", "Minutes", "Steps/s",
            "Validation Dice, last", "kept", "Most frequent choice",
        ),
        tuple(rows),
        text_columns=1,
        note="The most frequent choice: the share of the training and validation images that get "
        "it." + (f" Ended early: {'; '.join(early)}." if early else ""),
    )  # fmt: skip
    notes = [*_collapses(infos), *_over_optimised(infos)]
    text = (
        "Experiments are paid by the ground truth of the training images or by the reward network "
        "(proxy), as their configuration says. Whether a policy really got better shows only on "
        "the ground truth of images it did not train on (gold, validation). Of all updates the "
        "policy with the best objective there was kept."
    )
    blocks: list[Block] = [Paragraph(text), *(Callout(note, "warning") for note in notes)]
    return Section("training", "Learning curves", (*blocks, picture, table))


def _collapses(infos: Infos) -> list[str]:
    notes = []
    for experiment, of_experiment in infos.items():
        seeds = [str(seed) for seed, info in of_experiment.items() if info.get("collapsed")]
        if seeds:
            runs = "seed" if len(seeds) == 1 else "seeds"
            notes.append(
                f"The policy of {experiment} ({runs} {listed(seeds)}) collapsed: it does the same "
                "to every image, so it is a static setting in disguise."
            )
    return notes


def _over_optimised(infos: Infos) -> list[str]:
    notes = []
    for experiment, of_experiment in infos.items():
        for seed, info in of_experiment.items():
            if info.get("overoptimised"):
                values = ("proxy_at_best", "proxy_last", "gold_best", "gold_last")
                proxy, risen, gold, fallen = (decimal(info[name]) for name in values)
                notes.append(
                    f"{experiment}, seed {seed}: the policy learned to please the reward network, "
                    "not to segment better (reward hacking). On the validation images, from step "
                    f"{info['kept_step']:,} to the end of training, the proxy rose from {proxy} to "
                    f"{risen} while gold fell from {gold} to {fallen}. The policy of step "
                    f"{info['kept_step']:,} was kept."
                )
    return notes


def failures(segment_failures: pd.DataFrame, not_run: Sequence[Mapping[str, str]]) -> Section:
    """Images the segmenter could not process and methods that were not run."""
    blocks: list[Block] = []
    if len(segment_failures):
        blocks += [
            Callout(
                f"The segmenter failed on {counted(len(segment_failures), 'image')}; an empty mask "
                "stands in for its answer, and the scores include it.",
                "warning",
            ),
            _listing(segment_failures, ("id", "error"), "segment_failures.csv"),
        ]
    else:
        blocks.append(Paragraph("The segmenter processed every image."))
    if not_run:
        rows = tuple((str(m["method"]), str(m["command"])) for m in not_run)
        blocks += [
            Paragraph("Methods that were not run, and what to do for them to be:"),
            Table(("Method", "What to do"), rows, text_columns=2),
        ]
    return Section("failures", "Failures, and what was not run", tuple(blocks))


def reproduction(configuration: str, versions: Mapping[str, str], quick: bool) -> Section:
    """Commands, configuration and versions.

    Args:
        configuration: all parameters of the run, as YAML.
        versions: package → version.
        quick: whether this was a quick run.
    """
    extra = ",quick:true" if quick else ""
    params = f"--params raw_dir=<images and annotations>,out_dir=<results>{extra}"
    commands = (
        f"# everything, from the raw data to this report\nkedro run {params}\n\n"
        f"# this report alone, from results that exist\nkedro run --pipeline report {params}"
    )
    return Section(
        "reproduction",
        "How to reproduce",
        (
            Code(commands),
            Paragraph("Same data, same configuration and same versions give the same numbers."),
            Table(("Package", "Version"), tuple(versions.items()), text_columns=2),
            Code(configuration, title="Configuration of this run"),
        ),
    )


def _listing(frame: pd.DataFrame, columns: Sequence[str], file: str) -> Table:
    shown = frame.head(LONGEST_LIST).fillna("")
    rest = len(frame) - len(shown)
    return Table(
        tuple(column.capitalize() for column in columns),
        tuple(tuple(str(row[column]) for column in columns) for _, row in shown.iterrows()),
        text_columns=len(columns),
        note=f"{rest:,} more in {file}." if rest else "",
    )
