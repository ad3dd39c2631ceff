"""The last lines a run prints: where its results are and what came out."""

import csv
import json
from collections.abc import Collection, Iterator
from pathlib import Path


def lines(out_dir: Path, made: Collection[str]) -> Iterator[str]:
    """Tell where a run's results are.

    Args:
        out_dir: the folder the run wrote to.
        made: names of the datasets the run made.
    """
    if "ingest_overview" in made:
        yield from _of_ingest(out_dir)
    experiments = sorted(name.split(".")[0] for name in made if name.endswith(".models"))
    for experiment in experiments:
        folder = out_dir / "06_models" / experiment
        if experiment == "pixel_rl":
            yield f"Segmenter after RL: {folder / 'segmenter.safetensors'}"
        elif experiment == "sa2va_rl":
            yield f"Adapters after RL: {folder / 'adapters'}"
        else:
            yield f"Policy of {experiment}: {folder / 'final_model.zip'}"
    if experiments:
        yield f"Learning curves: tensorboard --logdir {out_dir / '06_models'}"
    if "segmenter_weights" in made:
        yield f"Networks of our own: {out_dir / '06_models' / 'segmenter' / 'weights'}"
    if "reward_network" in made:
        yield f"Reward network: {out_dir / '06_models' / 'reward_net' / 'best_reward_net.pth'}"
    if "final_report_html" in made:
        yield f"Report: {out_dir / '08_reporting' / 'final_report.html'}"
    if "quality" in made:
        folder = out_dir / "07_model_output" / "predict"
        yield f"Masks of new images: {folder / 'masks'}"
        yield f"How far each may be trusted, the least first: {folder / 'quality.csv'}"
        yield f"To check them, the least trustworthy first: {folder / 'review.html'}"
        if refused := _rows(folder / "quarantine.csv"):
            yield f"Files that could not be used: {refused}; why: {folder / 'quarantine.csv'}"
    if "verdict" in made:
        verdict = json.loads((out_dir / "08_reporting" / "verdict.json").read_text())
        yield f"Result: {verdict['sentence']}"


def _of_ingest(out_dir: Path) -> Iterator[str]:
    folder = out_dir / "02_intermediate"
    report = json.loads((folder / "ingest_report.json").read_text())
    splits = ", ".join(
        f"{split['images']} {name}" for name, split in report["splits"].items() if split["images"]
    )
    yield (
        f"Read in: {report['samples']} images of {report['groups']['count']} groups ({splits}), "
        f"{report['quarantined']} refused"
    )
    if report["quarantined"]:
        yield f"Why they were refused: {folder / 'quarantine.csv'}"
    overview = out_dir / "08_reporting" / "figures" / "ingest_overview.png"
    yield f"Images and masks, to look at: {overview}"


def _rows(table: Path) -> int:
    with table.open(newline="", encoding="utf-8") as lines:
        return sum(1 for _ in csv.DictReader(lines))
