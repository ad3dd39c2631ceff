"""Runs of real sessions: which stages run, which are left alone, what is told."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from kedro.framework.hooks import hook_impl
from kedro.framework.project import LOGGING, pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from kedro.validation.exceptions import ParameterValidationError
from pydantic_core import to_jsonable_python

from vesselrl import provenance, summary
from vesselrl.annotations.writing import MaskMaker
from vesselrl.errors import VesselrlError
from vesselrl.hashes import ContentHashes, digest
from vesselrl.hooks import contents, publishing, stages
from vesselrl.hooks.commands import LOG_SETTINGS, commands
from vesselrl.hooks.resolving import ParameterHooks
from vesselrl.pipelines import predict, segment
from vesselrl.runner import SparingRunner
from vesselrl.segmenters.ridge import RidgeSegmenter


@dataclass
class Ran:
    """The nodes that a run ran, in order."""

    nodes: list[str] = field(default_factory=list)

    @hook_impl
    def after_node_run(self, node):
        self.nodes.append(node.name)

    @property
    def stages(self):
        return list(dict.fromkeys(name.split(".")[0] for name in self.nodes))


@dataclass
class Runner:
    """Runs pipelines of the project on one set of images."""

    project: object
    raw_dir: object

    def paths(self, out_dir):
        return {"raw_dir": str(self.raw_dir), "out_dir": str(out_dir)}

    def session(self, out_dir, params):
        given = self.paths(out_dir) | (params or {})
        session = KedroSession.create(self.project, runtime_params=given)
        for plugin in session._hook_manager.get_plugins():
            if type(plugin).__module__.startswith("kedro_viz"):  # writes to the working directory
                session._hook_manager.unregister(plugin)
        return session

    def __call__(self, out_dir, pipeline, params=None, **options):
        ran = Ran()
        with self.session(out_dir, params) as session:
            session._hook_manager.register(ran)
            session.run(pipeline_names=[pipeline], **options)
        return ran

    def catalog(self, out_dir, params=None):
        with self.session(out_dir, params) as session:
            return session.load_context().catalog


@pytest.fixture(scope="module")
def run(project, raw_dir):
    bootstrap_project(project)
    return Runner(project, raw_dir)


@pytest.fixture(scope="module")
def results(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    run(folder, "segment")
    return folder


@pytest.fixture
def fresh(results, tmp_path):
    """A folder of one's own in which ``segment`` has just run."""
    return shutil.copytree(results, tmp_path / "out")


@pytest.fixture
def told(caplog):
    """What the project said on the console, as text."""
    caplog.set_level(logging.INFO, logger="vesselrl")

    def text(module="hooks"):
        name = f"vesselrl.{module}"
        return "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(name))

    return text


INGEST = [
    "ingest.check_annotations", "ingest.decode_images", "ingest.draw_ingest_overview",
    "ingest.draw_masks", "ingest.split_samples", "ingest.write_ingest_report",
]  # fmt: skip
FOR_SEGMENT = [name for name in INGEST if "report" not in name and "overview" not in name]
SEGMENT = [
    "segment.draw_segment_overview", "segment.segment_images", "segment.summarise_candidates",
]  # fmt: skip


def test_on_an_empty_folder_what_a_pipeline_needs_is_made_first_and_said(run, tmp_path, told):
    ran = run(tmp_path, "segment")
    assert sorted(ran.nodes) == sorted(FOR_SEGMENT + SEGMENT)
    assert "Missing or out of date, so made first: images, masks, samples" in told()


def test_on_fresh_results_nothing_upstream_runs_again(run, fresh, told):
    ran = run(fresh, "segment")
    assert sorted(ran.nodes) == SEGMENT
    assert "made first" not in told()


def test_a_changed_parameter_makes_again_what_depends_on_it_and_no_more(run, fresh):
    ran = run(fresh, "segment", {"segmenter": {"max_side": 48}})
    assert sorted(ran.nodes) == SEGMENT
    ran = run(fresh, "segment", {"split": {"max_images": {"test": 1}}})
    assert sorted(ran.nodes) == sorted(
        ["ingest.decode_images", "ingest.draw_masks", "ingest.split_samples", *SEGMENT]
    )
    samples = pd.read_csv(fresh / "02_intermediate" / "samples.csv")
    assert (samples["split"] == "test").sum() == 1


def test_a_changed_image_makes_everything_again(project, raw_dir, tmp_path):
    mine = shutil.copytree(raw_dir, tmp_path / "raw")
    bootstrap_project(project)
    run = Runner(project, mine)
    run(tmp_path / "out", "segment")
    (mine / "images/p00_f0.png").write_bytes((mine / "images/p01_f0.png").read_bytes())
    assert sorted(run(tmp_path / "out", "segment").nodes) == sorted(FOR_SEGMENT + SEGMENT)


def test_a_deleted_artefact_is_made_again(run, fresh):
    next((fresh / "03_primary/masks").iterdir()).unlink()
    ran = run(fresh, "segment")
    assert sorted(ran.nodes) == sorted(["ingest.draw_masks", *SEGMENT])
    assert run(fresh, "segment").nodes == ran.nodes[1:]


def test_results_of_one_data_set_are_not_replaced_by_another_s_unasked(run, fresh):
    before = {file: file.stat().st_mtime_ns for file in fresh.rglob("*") if file.is_file()}
    forgetful = Runner(run.project, run.raw_dir)
    forgetful.paths = lambda out_dir: {"out_dir": str(out_dir)}
    with pytest.raises(VesselrlError, match=f"made from {run.raw_dir}.*add raw_dir="):
        forgetful(fresh, "segment")
    after = {f: f.stat().st_mtime_ns for f in fresh.rglob("*") if f.is_file()}
    assert {file: after[file] for file in before} == before


def test_names_are_replaced_and_no_more_without_a_word_about_the_data_set(project, tmp_path):
    bootstrap_project(project)
    run = Runner(project, None)
    run.paths = lambda out_dir: {"out_dir": str(out_dir)}  # conf names the raw_dir
    for pseudonymise in (False, True, False, True):
        ran = run(tmp_path, "ingest", {"pseudonymise": pseudonymise}, runner=SparingRunner())
        assert sorted(ran.nodes) == INGEST
    assert len(list((tmp_path / "00_private/earlier").iterdir())) == 2


def test_results_without_a_record_of_what_made_them_are_made_again(run, fresh):
    (fresh / "fingerprints.json").unlink()
    assert sorted(run(fresh, "segment").nodes) == sorted(FOR_SEGMENT + SEGMENT)


def test_an_artefact_that_was_being_written_when_a_run_broke_off_is_made_again(
    run, tmp_path, monkeypatch
):
    run(tmp_path, "ingest")

    def fail(self):
        raise OSError(28, "No space left on device")

    shutil.rmtree(tmp_path / "03_primary/masks")
    with monkeypatch.context() as patched:
        patched.setattr(MaskMaker, "png", fail)
        with pytest.raises(Exception, match="No space left"):
            run(tmp_path, "ingest")
    assert "masks" not in provenance.Ledger(tmp_path)._recorded
    assert "ingest.draw_masks" in run(tmp_path, "segment").nodes


def test_ingest_makes_nothing_again_as_long_as_nothing_changes(project, raw_dir, tmp_path, told):
    bootstrap_project(project)
    run = Runner(project, shutil.copytree(raw_dir, tmp_path / "raw"))
    out_dir = tmp_path / "out"

    def again(**params):
        return sorted(run(out_dir, "ingest", params, runner=SparingRunner()).nodes)

    assert again() == INGEST
    assert again() == again(ingest={"workers": 1}) == []
    assert "Nothing changed, so left as it is: ingest.check_annotations" in told("runner")
    (out_dir / "03_primary/masks/p00_f0.png").unlink()
    assert again() == ["ingest.draw_ingest_overview", "ingest.draw_masks"]
    limited = {"max_images": {"test": 1}}
    assert again(split=limited) == INGEST[1:]
    (tmp_path / "raw/images/p00_f0.png").write_bytes((raw_dir / "images/p01_f0.png").read_bytes())
    assert again(split=limited) == INGEST


def test_what_follows_a_node_that_runs_runs_too(run, fresh):
    """Splits depend on earlier ones too, of which fingerprints know nothing."""
    run(fresh, "ingest")
    (fresh / "02_intermediate/split_assignments.json").unlink()
    ran = run(fresh, "ingest", runner=SparingRunner())
    assert sorted(ran.nodes) == INGEST[1:]


def test_other_pipelines_run_whenever_they_are_asked_for(run, fresh):
    assert sorted(run(fresh, "segment", runner=SparingRunner()).nodes) == SEGMENT


def test_the_devices_of_the_segmenter_make_nothing_stale(run, fresh):
    params = {"segmenter": {"devices": ["cpu"]}}
    assert run(fresh, "segment", params, only_missing_outputs=True).nodes == []


def test_what_was_made_from_maps_of_a_failure_is_made_again(run, tmp_path, monkeypatch):
    respond, first = RidgeSegmenter.response, []

    def fail(self, attenuation, scale):
        """On one image, whenever it is asked about it."""
        first.append(attenuation)
        if np.array_equal(attenuation, first[0]):
            raise MemoryError("too little")
        return respond(self, attenuation, scale)

    def fresh():
        recorded = provenance.Ledger(tmp_path)._recorded
        return {"candidates", "segment_failures", "segment_overview"} & recorded.keys()

    with monkeypatch.context() as patched:
        patched.setattr(RidgeSegmenter, "response", fail)
        run(tmp_path, "segment")
        run(tmp_path, "segment", node_names=["segment.segment_images"])
        assert fresh() == {"candidates", "segment_failures", "segment_overview"}
    run(tmp_path, "segment", node_names=["segment.segment_images"])
    assert fresh() == {"candidates"}


def test_only_missing_outputs_runs_what_is_missing(run, fresh):
    (fresh / "04_feature/segment_failures.csv").unlink()
    ran = run(fresh, "segment", only_missing_outputs=True)
    assert ran.nodes == ["segment.summarise_candidates"]


def test_only_missing_outputs_refuses_to_mix_in_stale_ones(run, fresh):
    (fresh / "04_feature/segment_failures.csv").unlink()
    before = {file: file.stat().st_mtime_ns for file in fresh.rglob("*.npz")}
    with pytest.raises(VesselrlError) as caught:
        run(fresh, "segment", {"segmenter": {"max_side": 48}}, only_missing_outputs=True)
    assert str(caught.value) == (
        "candidates, segment_overview, segment_timing: made from other data or parameters than the "
        "present ones; run the same command without --only-missing-outputs to make them again."
    )
    assert {file: file.stat().st_mtime_ns for file in fresh.rglob("*.npz")} == before


@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        ({"node_names": ["segment.summarise_candidates"]}, SEGMENT[1:]),
        ({"from_nodes": ["segment.summarise_candidates"]}, SEGMENT[1:]),
        ({"to_outputs": ["candidates"]}, ["segment.segment_images"]),
        ({"from_inputs": ["candidates"]}, SEGMENT),
    ],
)
def test_what_a_part_of_a_pipeline_needs_is_made_first(run, tmp_path, options, nodes):
    ran = run(tmp_path, "segment", **options)
    assert sorted(name for name in ran.nodes if name.startswith("segment")) == nodes
    assert ran.stages == ["ingest", "segment"]


def test_a_quick_run_leaves_the_full_run_s_results_alone(run, tmp_path):
    run(tmp_path, "ingest")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    run(tmp_path, "ingest", {"quick": True})
    assert {p: p.read_bytes() for p in before} == before
    new = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*") if p.is_file()} - {
        p.relative_to(tmp_path).parts[0] for p in before
    }
    assert new == {"quick"}


@pytest.fixture
def made_first(monkeypatch):
    """Fills with the nodes that a run would make first, and stops it there."""
    nodes = []

    class Asked(SequentialRunner):
        def run(self, pipeline, *_):
            nodes.extend(pipeline.nodes)
            raise InterruptedError

    monkeypatch.setattr(stages, "SequentialRunner", Asked)
    return nodes


def test_a_stage_that_only_its_own_name_asks_for_is_not_run_for_the_report(run, fresh, made_first):
    with pytest.raises(InterruptedError):
        run(fresh, "report")
    asked = {node.namespace for node in made_first}
    assert {"reward_net", "reward_rl", "evaluation"} <= asked
    assert not {"pixel_rl", "sa2va_rl", "sa2va_data", "pretrain"} & asked


def test_of_a_stage_that_was_run_all_is_made_again_and_nothing_left_out(run, fresh, made_first):
    # as another training leaves them that was broken off: it has put the models' folder away
    maps = fresh / "04_feature/network_maps/pixel_rl/pixel_rl"
    maps.mkdir(parents=True)
    np.savez(maps / "a.npz", levels=np.zeros((2, 2), np.uint8))
    with pytest.raises(InterruptedError):
        run(fresh, "report")
    made = Pipeline(made_first).all_outputs()
    assert {f"pixel_rl.network_{what}" for what in ("maps", "facts")} <= made
    assert {"pixel_rl.networks_in_use", "pixel_rl_gallery_figure"} <= made
    assert "sa2va_rl.network_maps" not in made


def test_what_is_made_first_is_noted_as_made_with_all_that_is_made_before_it(
    run, fresh, made_first
):
    with run.session(fresh, None) as session:
        (own,) = [
            plugin
            for plugin in session._hook_manager.get_plugins()
            if isinstance(plugin, stages.ProvenanceHooks)
        ]
        with pytest.raises(InterruptedError):
            session.run(pipeline_names=["report"])
    made = Pipeline(made_first).all_outputs()
    assert {"segmenter.network_maps", "metrics_per_image"} <= made
    catalog, whole = run.catalog(fresh), contents.everything()
    absent = {
        name
        for name in whole.datasets() - made
        if contents.is_optional(catalog, name) and not catalog.exists(name)
    }
    assert "pixel_rl.network_maps" in absent
    hashes = ContentHashes(fresh / contents.HASHES)
    next_time = provenance.expected_fingerprints(
        whole, catalog.load, lambda n: contents.fingerprint_of_source(catalog, n, hashes), absent
    )
    assert {name for name in made if own._expected[name] != next_time[name]} == set()


def test_squares_that_do_not_fit_the_segmenter_stop_the_run_before_anything_is_made(run, tmp_path):
    params = {"pixel_rl": {"policy": {"patch": 96}}}  # the network's stride is 64
    with pytest.raises(VesselrlError, match=r"patch is 96.*multiple of 64 \(supervised"):
        run(tmp_path / "out", "pixel_rl", params)
    assert not list((tmp_path / "out").glob("0*"))
    run.catalog(tmp_path / "out", params)  # whoever does not run it is not stopped


def expected(run, out_dir, params=None):
    """The fingerprint of every dataset under some parameters, sources left as they are."""
    catalog = run.catalog(out_dir, params)
    whole = sum(pipelines.values(), Pipeline([]))
    return provenance.expected_fingerprints(whole, catalog.load, lambda name: "source")


def stages_of(names):
    """The stages and experiments that make some datasets."""
    whole = sum(pipelines.values(), Pipeline([]))
    return {node.namespace for node in whole.nodes if set(node.outputs) & set(names)}


EXPERIMENTS = {"prompt_rl", "postprocess_rl", "reward_rl"}
REGRESSORS = {"regressor", "regressor_true"}
JUDGED = {"evaluation", "recipe", "report", "predict", "bundle"}
"""What comes after all training."""


@pytest.mark.parametrize(
    ("params", "stale"),
    [
        ({}, set()),
        ({"report": {"alpha": 0.1}}, JUDGED),
        (
            {"report": {"objective": ["dice"]}},
            EXPERIMENTS
            | REGRESSORS
            | {"reward_net", "image_features", "training_scores", "pixel_rl", "sa2va_rl"}
            | JUDGED,
        ),
        ({"rl": {"ppo": {"gamma": 0.9}}}, EXPERIMENTS | JUDGED),
        (
            {"rl": {"observations": "reward_network"}},
            EXPERIMENTS | REGRESSORS | {"image_features"} | JUDGED,
        ),
        (
            {"experiments": {"reward_rl": {"episode_length": 2}}},
            {"reward_rl"} | JUDGED,
        ),
        (
            {"reward": {"training": {"kappa": 1.0}}},
            EXPERIMENTS
            | REGRESSORS
            | {"reward_net", "image_features", "training_scores", "sa2va_rl"}
            | JUDGED,
        ),
        (
            {"split": {"fractions": {"train": 0.5, "val": 0.3}}},
            EXPERIMENTS
            | REGRESSORS
            | {"ingest", "segment", "segmenter", "reward_net", "image_features", "training_scores"}
            | {"pixel_rl", "sa2va_rl", "sa2va_data"}
            | JUDGED,
        ),
        ({"supervised": {"folds": 3}}, {"segmenter", "pixel_rl"} | JUDGED),
        ({"pixel_rl": {"policy": {"kl": 0.2}}}, {"pixel_rl"} | JUDGED),
        ({"sa2va_rl": {"lora": {"rank": 4}}}, {"sa2va_rl"} | JUDGED),
        ({group: {"resume": "never"} for group in ("rl", "pixel_rl", "sa2va_rl")}, set()),
        ({"predict": {"method": "static"}}, {"recipe", "report", "predict", "bundle"}),
        ({"predict": {"formats": ["coco"]}}, {"report", "predict", "bundle"}),
        ({"bundling": {"zip": True}}, {"report", "bundle"}),
    ],
)
def test_exactly_the_stages_downstream_of_a_changed_parameter_are_stale(
    run, tmp_path, params, stale
):
    before, after = expected(run, tmp_path), expected(run, tmp_path, params)
    changed = {name for name in before if before[name] != after[name]}
    assert stages_of(changed) == stale


@pytest.mark.parametrize("wanted", [True, False])
def test_the_bundle_knows_whether_its_archive_is_wanted(run, tmp_path, wanted):
    catalog = run.catalog(tmp_path / "out", {"bundling": {"zip": wanted}})
    assert catalog.get("bundle").is_zipped == wanted


def test_weights_that_training_starts_from_are_known_by_their_content(run, tmp_path):
    file, hashes = tmp_path / "w.safetensors", ContentHashes(tmp_path / "hashes.tsv")

    def fingerprint(pretrained):
        catalog = run.catalog(tmp_path / "out", {"supervised": {"pretrained": pretrained}})
        return contents.fingerprint_of_source(catalog, "starting_weights", hashes)

    found = {fingerprint("none")}
    for content in (b"one", b"other"):
        file.write_bytes(content)
        found.add(fingerprint(str(file)))
    assert len(found) == 3


def test_a_statistic_of_the_report_is_made_again_without_new_masks(run, tmp_path):
    before = expected(run, tmp_path)
    after = expected(run, tmp_path, {"report": {"alpha": 0.1}})
    assert before["metrics_per_image"] == after["metrics_per_image"]
    assert before["leaderboard"] != after["leaderboard"]


def test_fingerprints_do_not_depend_on_which_pipeline_asks(run, tmp_path):
    seen = []

    class Watch:
        @hook_impl
        def before_pipeline_run(self, catalog):
            seen.append(catalog.load("parameters"))

    for pipeline in ("ingest", "segment"):
        with run.session(tmp_path, None) as session:
            session._hook_manager.register(Watch())
            session.run(pipeline_names=[pipeline])
    assert seen[0] == seen[1]
    assert type(seen[0]["report"]).__name__ == "ReportParameters"


def test_parameters_of_every_stage_reach_the_catalog_validated(run, tmp_path):
    catalog = run.catalog(tmp_path, {"experiments": {"reward_rl": {"episode_length": 2}}})
    whole = sum(pipelines.values(), Pipeline([]))
    names = {name for name in whole.inputs() if name.startswith("params:")}
    assert {"params:experiments.reward_rl", "params:report.objective", "params:rl"} <= names
    kinds = {name: type(catalog.load(name)).__name__ for name in names}
    assert kinds["params:experiments.reward_rl"] == "ExperimentParameters"
    assert kinds["params:rl"] == "RLParameters"
    assert "dict" not in kinds.values()
    assert catalog.load("params:experiments.reward_rl").episode_length == 2
    assert catalog.load("params:report.objective") == ("dice", "recall")


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"report": {"alpha": 2}}, "report"),
        ({"experiments": {"reward_rl": {"episode_length": 0}}}, "experiments.reward_rl"),
        ({"evaluation": {"methods": {"random": {"kind": "luck"}}}}, "evaluation"),
    ],
)
def test_a_wrong_parameter_of_a_later_stage_stops_the_run_before_it_begins(
    run, tmp_path, params, named
):
    with pytest.raises(ParameterValidationError, match=f"Parameter '{named}'"):
        run(tmp_path / "out", "ingest", params)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [{}, {"input_dir": "/no/such/folder"}])
def test_a_folder_of_new_images_is_missed_before_anything_is_made_or_put_away(run, tmp_path, given):
    made_with_names = tmp_path / "out/02_intermediate/samples.csv"
    made_with_names.parent.mkdir(parents=True)
    made_with_names.touch()
    with pytest.raises(VesselrlError, match="--params input_dir="):
        run(tmp_path / "out", "predict", {"pseudonymise": True, **given})
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [made_with_names]


def test_each_stage_is_announced_once_as_it_begins(run, tmp_path, told):
    run(tmp_path, "segment")
    lines = [line for line in told().splitlines() if line.startswith("▸")]
    assert lines == ["▸ ingest", "▸ segment"]


def test_the_log_of_a_run_keeps_what_the_console_leaves_out(run, tmp_path, told):
    run(tmp_path, "ingest")
    (log,) = (tmp_path / "logs").iterdir()
    assert log.name.startswith("ingest_")
    assert f"Log of this run: {log}" in told()
    text = log.read_text()
    assert "Running node: draw_masks" in text
    assert "Finished in" in text


def test_runs_that_begin_at_the_same_time_have_a_log_each(run, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *_: "2026-01-31T12-00-00")
    for _ in range(2):
        run(tmp_path, "ingest")
    names = ["ingest_2026-01-31T12-00-00.log", "ingest_2026-01-31T12-00-00_2.log"]
    assert sorted(log.name for log in (tmp_path / "logs").iterdir()) == names


@pytest.mark.parametrize("pipeline", ["ingest", "segment"])
def test_the_traceback_of_an_error_is_in_the_log_wherever_it_came_up(
    project, tmp_path, pipeline, caplog
):
    bootstrap_project(project)
    (tmp_path / "raw/images").mkdir(parents=True)
    (tmp_path / "raw/annotations.json").write_text("{")
    with pytest.raises(Exception, match="not JSON") as caught:
        Runner(project, tmp_path / "raw")(tmp_path / "out", pipeline)
    (log,) = (tmp_path / "out/logs").iterdir()
    assert "Traceback (most recent call last)" in log.read_text()
    assert str(log) in "".join(caught.value.__notes__)
    assert str(log) not in str(logging.getLogger().handlers)  # closed


def test_the_end_of_a_run_tells_where_the_results_are(tmp_path):
    reports = tmp_path / "08_reporting"
    reports.mkdir()
    (reports / "verdict.json").write_text('{"sentence": "Use ‘static’."}')
    predict = tmp_path / "07_model_output/predict"
    predict.mkdir(parents=True)
    (predict / "quarantine.csv").write_text('entry,file\n3,"a\n.txt"\n')
    made = {
        "verdict", "final_report_html", "segmenter_weights", "reward_network", "reward_rl.models",
        "pixel_rl.models", "quality", "masks",
    }  # fmt: skip
    assert list(summary.lines(tmp_path, made)) == [
        f"Segmenter after RL: {tmp_path}/06_models/pixel_rl/segmenter.safetensors",
        f"Policy of reward_rl: {tmp_path}/06_models/reward_rl/final_model.zip",
        f"Learning curves: tensorboard --logdir {tmp_path}/06_models",
        f"Networks of our own: {tmp_path}/06_models/segmenter/weights",
        f"Reward network: {tmp_path}/06_models/reward_net/best_reward_net.pth",
        f"Report: {reports}/final_report.html",
        f"Masks of new images: {tmp_path}/07_model_output/predict/masks",
        "How far each may be trusted, the least first: "
        f"{tmp_path}/07_model_output/predict/quality.csv",
        "To check them, the least trustworthy first: "
        f"{tmp_path}/07_model_output/predict/review.html",
        f"Files that could not be used: 1; why: {predict}/quarantine.csv",
        "Result: Use ‘static’.",
    ]
    assert list(summary.lines(tmp_path, {"masks"})) == []


def test_the_end_of_ingest_tells_what_came_in_and_what_to_look_at(tmp_path):
    folder = tmp_path / "02_intermediate"
    folder.mkdir()
    splits = {"train": 16, "val": 6, "test": 0}
    report = {
        "samples": 22, "quarantined": 3, "groups": {"count": 11},
        "splits": {name: {"images": images} for name, images in splits.items()},
    }  # fmt: skip
    (folder / "ingest_report.json").write_text(json.dumps(report))
    overview = tmp_path / "08_reporting/figures/ingest_overview.png"
    assert list(summary.lines(tmp_path, {"ingest_overview"})) == [
        "Read in: 22 images of 11 groups (16 train, 6 val), 3 refused",
        f"Why they were refused: {folder}/quarantine.csv",
        f"Images and masks, to look at: {overview}",
    ]


@pytest.mark.parametrize("command", ["run", "viz"])
def test_a_command_outside_the_project_is_refused_in_a_sentence_and_tells_nobody(
    command, monkeypatch
):
    monkeypatch.setattr(os, "environ", {})
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["kedro.cli_hooks"].items()
    commands = EntryPoint(name, value, "kedro.cli_hooks").load()
    with pytest.raises(SystemExit, match=rf"This folder is not in the project: .*kedro {command}"):
        commands.before_command_run(None, [command, "--params", "quick:true"])
    commands.before_command_run(None, [command, "--help"])
    assert os.environ == {"DO_NOT_TRACK": "1"}


@pytest.mark.parametrize(("package", "changed"), [("vesselrl", True), ("another", False)])
def test_commands_of_other_projects_keep_their_telemetry_and_logs(
    package, changed, monkeypatch, tmp_path
):
    (tmp_path / LOG_SETTINGS).parent.mkdir()
    (tmp_path / LOG_SETTINGS).write_text("version: 1\n")
    configured: list[object] = []
    monkeypatch.setattr(LOGGING, "configure", configured.append)
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.chdir(tmp_path / "conf")
    project = SimpleNamespace(package_name=package, project_path=tmp_path)
    commands.before_command_run(project, ["registry", "list"])
    assert ("DO_NOT_TRACK" in os.environ, configured) == (changed, [{"version": 1}] * changed)


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"input_dir": "new"}, True),
        ({"input_dir": "new", "raw_dir": "mine"}, False),
        ({"input_dir": "new", "bundle": "method"}, False),
        ({}, False),
    ],
)
def test_new_images_without_the_data_of_the_training_are_warned_of(given, warned, caplog):
    hooks = ParameterHooks()
    hooks._paths = {"raw_dir": "sample", "sample_dir": "sample"} | given
    with caplog.at_level(logging.WARNING, "vesselrl"):
        hooks.before_pipeline_run(Pipeline([]), DataCatalog())
    assert ("method for the new images is that of the embedded sample" in caplog.text) == warned


def test_commands_that_run_nothing_import_nothing_heavy():
    heavy = {
        "torch", "monai", "stable_baselines3", "gymnasium", "transformers", "tensorboard",
        "pandas", "scipy", "skimage", "matplotlib", "PIL",
    }  # fmt: skip
    code = (
        "import sys\n"
        "import vesselrl.cli, vesselrl.settings\n"
        "from vesselrl.pipeline_registry import register_pipelines\n"
        "assert len(register_pipelines()) > 5\n"
        f"print(*sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture
def given(run, tmp_path):
    """The catalog of a run, finished work of others in some folder among its methods."""

    def catalog_of(methods=None, **params):
        local = run.project / "conf/local/parameters_given.yml"
        local.write_text(json.dumps({"evaluation": {"methods": methods or {}}}))
        try:
            return run.catalog(tmp_path / "out", params)
        finally:
            local.unlink()

    return catalog_of


def fingerprint_of(catalog, dataset):
    return contents.fingerprint_of_source(
        catalog, dataset, ContentHashes(Path("/nowhere/hashes.tsv"))
    )


def test_a_policy_given_by_its_path_is_one_more_method_and_makes_another_run(run, given, tmp_path):
    model = tmp_path / "final_model.zip"
    model.write_bytes(b"one")
    without, with_it = given(), given(model_path=str(model))
    methods = with_it.load("params:evaluation").methods
    assert set(methods) - set(without.load("params:evaluation").methods) == {"given_policy"}
    assert with_it.get("finished_policies").paths == {"given_policy": model}
    assert without.get("finished_policies").paths == {}
    settings = [digest(c.load("params:evaluation")) for c in (without, with_it)]
    assert settings[0] != settings[1]
    assert str(model) not in json.dumps(to_jsonable_python(with_it.load("parameters")))
    before = fingerprint_of(with_it, "finished_policies")
    model.write_bytes(b"two")
    assert fingerprint_of(with_it, "finished_policies") != before
    relative = given(model_path="data/final_model.zip").get("finished_policies").paths
    assert relative == {"given_policy": run.project / "data/final_model.zip"}


def test_imported_results_are_read_where_conf_says_and_a_changed_mask_is_noticed(given, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/p00_f0.png").write_bytes(b"one")
    catalog = given({"mine": {"kind": "imported", "path": str(tmp_path / "masks")}})
    (name, _), *_ = catalog.load("imported_results")["mine"]()
    assert name == "p00_f0.png"
    before = fingerprint_of(catalog, "imported_results")
    (tmp_path / "masks/p00_f0.png").write_bytes(b"two")
    assert fingerprint_of(catalog, "imported_results") != before


def test_results_that_a_run_would_replace_are_not_imported(given, tmp_path):
    path = str(tmp_path / "out/07_model_output/mine/masks")
    with pytest.raises(VesselrlError, match=r"methods.mine.path is .* would replace: copy it"):
        given({"mine": {"kind": "imported", "path": path}})


def test_without_imported_methods_there_are_no_imported_masks(run, tmp_path):
    catalog = run.catalog(tmp_path)
    catalog.save("imported_masks", {})
    assert catalog.load("imported_masks") == {}
    mask = np.eye(3, dtype=bool)
    catalog.save("imported_masks", {"mine/p00_f0": lambda: mask})
    assert np.array_equal(catalog.load("imported_masks")["mine/p00_f0"](), mask)
    catalog.save("imported_masks", {})
    assert catalog.load("imported_masks") == {}


def test_unknown_costs_survive_on_disk(run, tmp_path):
    catalog = run.catalog(tmp_path)
    for name in ("choices", "metrics_per_image"):
        table = pd.DataFrame(
            {"image": ["NA", "2"], "segmenter_calls": [1, np.nan], "seconds": np.nan}
        )
        catalog.save(name, table)
        pd.testing.assert_frame_equal(catalog.load(name), table)


@pytest.mark.parametrize(
    ("images", "where", "named"),
    [
        ("new", {"out_dir": "new/results"}, "out_dir"),
        ("new", {"publish_to": "new"}, "publish_to"),
        ("s3://b/new/", {"publish_to": "s3://b/new/masks"}, "publish_to"),
        ("new", {"publish_to": "new_masks"}, None),
        ("s3://b/new", {"publish_to": "s3://b/new_masks"}, None),
    ],
)
def test_masks_do_not_become_the_images_of_the_next_run(run, tmp_path, images, where, named):
    def place(path):
        return path if "://" in path else str(tmp_path / path)

    params = {"input_dir": place(images)} | {key: place(path) for key, path in where.items()}
    if named is None:
        assert run.catalog(tmp_path / "out", params)
        return
    with pytest.raises(VesselrlError, match=f"Give another {named}"):
        run.catalog(tmp_path / "out", params)


@pytest.mark.parametrize("asked", [True, False])
def test_what_predict_made_is_published_if_a_place_is_named(tmp_path, asked):
    made = tmp_path / "out/07_model_output/predict/masks/a.png"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"mask")
    catalog = DataCatalog({"params:out_dir": MemoryDataset(str(tmp_path / "out"))})
    if asked:
        catalog["params:publish_to"] = str(tmp_path / "there")
    publish = publishing.PublishHooks().after_pipeline_run
    publish(segment.create_pipeline(), catalog)  # it has nothing to publish
    assert not (tmp_path / "there").exists()
    publish(predict.create_pipeline(), catalog)
    assert (tmp_path / "there/masks/a.png").exists() == asked
