"""The commands as a user types them, in a copy of the project."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path

import click
import nbformat
import pandas as pd
import pytest
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError
from nbclient import NotebookClient
from pydantic import ValidationError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vesselrl import cli
from vesselrl.annotations.parameters import SplitParameters
from vesselrl.cli import _show_what_exists, explain
from vesselrl.hooks.interrupts import InterruptHooks
from vesselrl.segmenters.unet.parameters import RIVALS

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "BROWSER": "true",  # kedro viz opens one
    "https_proxy": "http://127.0.0.1:9",  # and asks for its newest version: nobody answers there
}
ENVIRONMENT.pop("KEDRO_ENV", None)


class Kedro:
    """Runs ``kedro …`` in a folder and keeps what it said."""

    def __init__(self, project: Path) -> None:
        self.project = project

    def __call__(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "kedro", *words],
            cwd=self.project, env=ENVIRONMENT, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip

    def start(self, *words: str, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "kedro", *words],
            cwd=self.project, env=ENVIRONMENT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip


@pytest.fixture(scope="module")
def kedro(project):
    return Kedro(project)


def stages(done):
    return re.findall(r"^▸ (\w+)$", done.stdout, re.MULTILINE)


# The user's commands, to the letter, in a fresh clone; the later ones find what the first made.


@pytest.fixture(scope="module")
def finetuned(kedro):
    return kedro("run", "--pipeline", "rl_finetune")


@pytest.fixture(scope="module")
def models(finetuned, project):
    assert finetuned.returncode == 0, finetuned.stderr
    return project / "data" / "06_models"


def test_rl_finetune_in_a_fresh_clone_makes_what_is_missing_first_and_says_so(finetuned, models):
    assert stages(finetuned) == ["ingest", "segment", "reward_net", "image_features", "reward_rl"]
    first = "candidates, images, masks, reward_net_report, reward_network, samples"
    assert f"made first: {first}" in finetuned.stdout
    assert "Completed node" not in finetuned.stdout  # Kedro's own words are in the log file


@pytest.mark.parametrize(
    "file",
    [
        "reward_rl/final_model.zip",
        "reward_rl/checkpoints/sa2va_rl_1000_steps.zip",
        "reward_rl/training_info.json",
        "reward_rl/policy.safetensors",
        "reward_rl/policy.json",
        "reward_rl/logs/PPO_1",
        "reward_net/best_reward_net.pth",
    ],
)
def test_rl_finetune_leaves_the_files_that_were_promised(models, file):
    assert (models / file).exists()


def test_the_learning_curves_have_the_tags_that_were_promised(models):
    (events,) = (models / "reward_rl/logs/PPO_1").iterdir()
    log = EventAccumulator(str(events))
    log.Reload()
    tags = {
        "rollout/ep_rew_mean", "rollout/ep_len_mean", "custom/reward_net_score", "custom/gt_dice",
        "custom/best_reward", "custom/val_dice", "custom/action_entropy", "train/policy_loss",
        "train/value_loss",
    }  # fmt: skip
    assert tags <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("train/policy_loss")] == list(range(128, 1025, 128))


def test_the_facts_of_a_training_are_written_down(models):
    facts = json.loads((models / "reward_rl/training_info.json").read_text())
    assert facts["seed"] == 42
    assert facts["steps"] == 1024
    assert facts["config"]["rl"]["ppo"]["n_envs"] == 2
    assert {"fingerprint", "packages", "seconds", "steps_per_second"} <= facts.keys()


def test_a_run_tells_its_log_its_results_and_nothing_that_alarms(finetuned, models):
    log = Path(re.search(r"^Log of this run: (.*)$", finetuned.stdout, re.MULTILINE)[1])
    assert log.parent == models.parent / "logs"
    assert "Running node: train_policies" in log.read_text()
    assert f"Policy of reward_rl: {models}/reward_rl/final_model.zip" in finetuned.stdout
    assert f"{models}/reward_net/best_reward_net.pth" in finetuned.stdout
    for word in ("Warning", "Traceback", "deprecated", "Error"):
        assert word not in finetuned.stdout + finetuned.stderr


def test_evaluation_takes_the_policies_there_are_and_a_given_one_and_trains_no_other(
    kedro, models, tmp_path
):
    model = shutil.copy(models / "reward_rl/final_model.zip", tmp_path / "alone.zip")
    done = kedro("run", "--pipeline", "evaluation", "--params", f"model_path={model}")
    assert done.returncode == 0, done.stderr
    assert stages(done) == ["evaluation"]
    reports = models.parent / "08_reporting"
    assert json.loads((reports / "methods_not_run.json").read_text()) == [
        {"method": "prompt_rl", "command": "kedro run --pipeline experiments"},
        {"method": "postprocess_rl", "command": "kedro run --pipeline experiments"},
        {"method": "regressor", "command": "kedro run --pipeline experiments"},
        {"method": "regressor_true", "command": "kedro run --pipeline experiments"},
        *({"method": name, "command": "kedro run --pipeline segmenter"} for name in RIVALS),
        {"method": "pixel_rl", "command": "kedro run --pipeline pixel_rl"},
        {"method": "refine", "command": "kedro run --pipeline pixel_rl"},
    ]
    dice = pd.read_csv(reports / "metrics_per_image.csv").groupby("method")["dice"].agg(list)
    assert dice["given_policy"] == dice["reward_rl"]
    assert not {"prompt_rl", "postprocess_rl"} & set(dice.index)
    assert not (models / "prompt_rl").exists()


@pytest.fixture(scope="module")
def quick(kedro, models, project):
    """The folder of the quick run, and what the command said."""
    before = {p: p.stat().st_mtime_ns for p in models.rglob("*") if p.is_file()}
    done = kedro("run", "--params", "quick:true")
    assert done.returncode == 0, done.stderr
    assert {p: p.stat().st_mtime_ns for p in models.rglob("*") if p.is_file()} == before
    return project / "data" / "quick", done


def test_the_quick_run_goes_from_raw_data_to_report_in_a_folder_of_its_own(quick):
    folder, done = quick
    assert stages(done)[:4] == ["ingest", "segment", "segmenter", "reward_net"]
    assert set(stages(done)[4:-3]) == {
        "image_features", "prompt_rl", "postprocess_rl", "reward_rl", "training_scores",
        "regressor", "regressor_true",
    }  # fmt: skip
    assert stages(done)[-3] == "evaluation"
    assert set(stages(done)[-2:]) == {"recipe", "report"}  # what is said of it is in the report
    assert f"Report: {folder}/08_reporting/final_report.html" in done.stdout
    assert re.search(r"^Result: .+", done.stdout, re.MULTILINE)
    for name in (
        "leaderboard.csv",
        "reward_net_report.json",
        "final_report.html",
        "final_report.md",
    ):
        assert (folder / "08_reporting" / name).stat().st_size > 0
    assert (folder / "06_models/reward_rl/seeds/43/policy.safetensors").exists()


def test_scores_have_the_columns_that_were_promised(quick):
    table = pd.read_csv(quick[0] / "08_reporting/metrics_per_image.csv")
    assert list(table.columns) == [
        "method", "seed", "image", "group", "split", "dice", "iou", "recall", "precision",
        "cldice", "hd95", "segmenter_calls", "seconds", "components_error", "thin_recall",
        "thick_recall", "thin_share",
    ]  # fmt: skip
    assert set(table["split"]) == {"test"}


def scores(folder, name):
    table = pd.read_csv(folder / "08_reporting" / f"{name}.csv")
    return table[[column for column in table if "seconds" not in column]]


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(kedro, quick, tmp_path):
    for name, words in (("same", ""), ("other", ",seed:7")):
        done = kedro("run", "--params", f"quick=true,out_dir={tmp_path / name}{words}")
        assert done.returncode == 0, done.stderr
    for table in ("metrics_per_image", "leaderboard"):
        pd.testing.assert_frame_equal(
            scores(quick[0], table), scores(tmp_path / "same/quick", table), check_exact=True
        )
    other = scores(tmp_path / "other/quick", "metrics_per_image")
    assert not other.equals(scores(quick[0], "metrics_per_image"))


def answer(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def test_the_walkthrough_runs_as_it_is(quick, project):
    notebook = nbformat.read(ROOT / "notebooks" / "01_walkthrough.ipynb", as_version=4)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(project)}})
    client.execute()
    said = json.dumps(notebook.cells)
    assert "Dice: predicted" in said
    assert "segmenter_calls" in said
    assert quick[0].is_dir()


@pytest.fixture(scope="module")
def viz(kedro, quick):
    """The address at which ``kedro viz`` serves."""
    process = kedro.start("viz", start_new_session=True)
    try:
        assert process.stdout is not None
        said = ""
        while not (match := re.search(r"http://[\d.]+:\d+", said)):
            line = process.stdout.readline()
            assert line, said
            said += line
        yield match[0]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def test_kedro_viz_serves_every_stage(viz):
    main = answer(f"{viz}/api/main")
    names = {node["name"] for node in main["nodes"]}
    assert {"ingest", "segment", "reward_net", "evaluation", "report"} <= names
    assert {p["id"] for p in main["pipelines"]} >= {"__default__", "rl_finetune"}


def test_kedro_viz_shows_tables_facts_figures_and_pages(viz, project):
    shown = {".csv": "TablePreview", ".json": "JSONPreview", ".png": "ImagePreview"}
    shown[".html"] = "HTMLPreview"
    seen = set()
    for node in answer(f"{viz}/api/main")["nodes"]:
        if node["type"] != "data" or node["layer"] == "raw":
            continue
        facts = answer(f"{viz}/api/nodes/{node['id']}")
        file = Path(facts.get("filepath") or "")
        if file.suffix in shown and file.exists():
            assert facts.get("preview_type") == shown[file.suffix], node["name"]
            assert facts["preview"], node["name"]
            seen.add(file.suffix)
    assert {".csv", ".json", ".png"} <= seen


def test_kedro_viz_builds_a_page_without_a_server(kedro, project):
    done = kedro("viz", "build")
    assert done.returncode == 0, done.stderr
    assert (project / "build/index.html").stat().st_size > 0
    assert len(json.loads((project / "build/api/main").read_text())["nodes"]) > 50


def test_kedro_viz_reads_parameters_as_kedro_run_does(kedro):
    done = kedro("viz", "run", "--params", "quick:true,out_dir")
    assert "--params: 'out_dir' is no parameter" in text_of(done)


@pytest.mark.parametrize(
    ("there", "params", "shown"),
    [
        ([], {}, None),
        (["data/08_reporting"], {}, None),
        (["data/quick/08_reporting"], {}, "data/quick"),
        (["data/08_reporting", "data/quick/08_reporting"], {}, None),
        (["data/08_reporting"], {"quick": True}, "data/quick"),
        (["data/quick/08_reporting"], {"quick": False}, None),
        (["mine/quick/08_reporting"], {"out_dir": "mine"}, "mine/quick"),
        (["mine/08_reporting"], {"out_dir": "mine"}, "mine"),
    ],
)
def test_kedro_viz_shows_the_quick_run_if_asked_to_or_if_there_is_no_other(
    tmp_path, monkeypatch, there, params, shown
):
    monkeypatch.chdir(tmp_path)
    for folder in there:
        Path(folder).mkdir(parents=True)
    assert _show_what_exists(dict(params)) == ({"out_dir": shown} if shown else {})


# Errors.


def text_of(done):
    """The sentence of an error, after checks of what holds for each."""
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout + done.stderr
    (sentence,) = re.findall(r"^Error: (.*)$", done.stderr, re.MULTILINE)
    return sentence


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ("bogus=1", r"Unknown parameter 'bogus': conf/base lists all of them\."),
        ("rl.ppo.gama:0.9", r"Unknown parameter 'rl\.ppo\.gama': did you mean rl\.ppo\.gamma .*"),
        ("quick:maybe", r"Parameter 'quick' is 'maybe'; expected true or false.*"),
        (
            "rl.ppo.gamma=3,report.alpha=x",
            r"Parameter 'rl\.ppo\.gamma': .*equal to 1 \(got 3\); "
            r"Parameter 'report\.alpha': .*number.* \(got 'x'\)",
        ),
        ("rl.seeds=[1,1]", r"Parameter 'rl\.seeds': a seed is listed twice: \[1, 1\].*"),
        ("rl=3", r"Parameter 'rl' is a group, and got 3; .*"),
        ("split", r"--params: 'split' is no parameter; expected key=value or key:value.*"),
    ],
)
def test_a_wrong_parameter_is_one_sentence_and_nothing_is_written(
    kedro, tmp_path, params, sentence
):
    done = kedro("run", "--params", f"out_dir={tmp_path / 'out'},{params}")
    assert re.fullmatch(sentence, text_of(done))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--pipeline", "rl_finetun"), "Unknown pipeline 'rl_finetun': did you mean rl_finetune?"),
        (("--pipelines", "ingest,xyz"), "Unknown pipeline 'xyz': there are __default__, .*"),
        (("--nodes", "nothing"), r"Pipeline does not contain nodes named \['nothing'\]."),
        (("--tags", "nothing"), "Pipeline contains no nodes .*"),
    ],
)
def test_what_does_not_exist_is_named_and_nothing_is_written(kedro, tmp_path, option, sentence):
    done = kedro("run", *option, "--params", f"out_dir={tmp_path / 'out'}")
    assert re.fullmatch(sentence.replace("?", r"\?"), text_of(done))
    assert list(tmp_path.iterdir()) == []


def raw(tmp_path, text=None, images=True):
    folder = tmp_path / "raw"
    folder.mkdir()
    if images:
        (folder / "images").mkdir()
    if text is not None:
        (folder / "annotations.json").write_text(text)


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: None, "The folder {raw} does not exist; expected annotations.json in it"),
        (raw, "{raw}/annotations.json does not exist"),
        (
            lambda folder: raw(folder, '[{"image":'),
            "{raw}/annotations.json is not JSON (entry 0, line 1",
        ),
        (lambda folder: raw(folder, "[]", images=False), "The folder {raw}/images does not exist"),
    ],
    ids=["no folder", "no annotations", "no JSON", "no images"],
)
def test_raw_data_that_cannot_be_used_are_one_sentence_and_only_a_log_is_left(
    kedro, tmp_path, prepare, sentence
):
    prepare(tmp_path)
    done = kedro("run", "--params", f"raw_dir={tmp_path / 'raw'},out_dir={tmp_path / 'out'}")
    assert text_of(done).startswith(sentence.format(raw=tmp_path / "raw"))
    (left,) = (p for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert left.parent.name == "logs"
    assert "Traceback" in left.read_text()
    assert {p.name for p in (tmp_path / "out").rglob("*") if p.is_dir()} == {"logs"}


def test_an_unforeseen_error_says_where_its_traceback_is(kedro, tmp_path, raw_dir):
    (tmp_path / "02_intermediate").write_text("a file where a folder must be")
    done = kedro("run", "--params", f"raw_dir={raw_dir},out_dir={tmp_path}")
    (log,) = (tmp_path / "logs").iterdir()
    assert f"(The traceback is in {log})" in text_of(done)
    assert "Traceback" in log.read_text()


def test_a_misspelt_setting_in_conf_is_told_as_one():
    given = {"fractions": {"train": 1, "val": 0, "test": 0}, "group_patern": None}
    with pytest.raises(ValidationError) as caught:
        SplitParameters.model_validate(given)
    told = explain(ParameterValidationError(f"- Parameter 'split': {caught.value}"))
    assert "'split.group_patern': there is no such setting (got None)" in told
    assert "'split.group_pattern': this setting is missing (got {" in told


def caused_by(cause):
    try:
        raise DatasetError("Failed while saving data to dataset") from cause
    except DatasetError as error:
        return error


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left", "/out/a.csv"),
            r"The disk is full, .*/out/a\.csv.*",
        ),
        (OSError(errno.EDQUOT, "Quota exceeded"), r"The disk is full, .*Quota exceeded.*"),
        (MemoryError(), "There is not enough memory: .*"),
        (RuntimeError("could not create a primitive"), "There is not enough memory: .*"),
        (RuntimeError("could not execute a primitive"), "There is not enough memory: .*"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), "There is not enough memory: .*"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."),
            "There is not enough memory on the GPU: .*",
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            "There is not enough memory on the GPU: .*",
        ),
        (RuntimeError("something else"), "Failed while saving data to dataset"),
    ],
)
def test_a_full_disk_and_too_little_memory_are_told_as_such(cause, sentence):
    assert re.fullmatch(sentence, explain(caused_by(cause)))


def test_ctrl_c_is_one_too_where_a_library_makes_another_error_of_it(monkeypatch, capsys):
    def save(**_options):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("[enforce fail at inline_container.cc:672]")  # noqa: B904

    monkeypatch.setattr(cli.kedro_run, "callback", save)
    with pytest.raises(click.exceptions.Exit) as ended:
        cli.run.callback(pipeline=None, pipelines=[], params={}, runner=None)
    assert ended.value.exit_code == 130
    assert "Interrupted." in capsys.readouterr().err


@pytest.fixture
def hears_interrupts():
    """Ctrl-C as in a terminal: whoever starts the tests may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_heard_where_python_drops_it(hears_interrupts, monkeypatch, capsys):
    class LetGo:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def import_something(**_options):
        LetGo()
        time.sleep(10)

    monkeypatch.setattr(cli.kedro_run, "callback", import_something)
    with pytest.raises(click.exceptions.Exit) as ended:
        cli.run.callback(pipeline=None, pipelines=[], params={}, runner=None)
    assert ended.value.exit_code == 130
    assert "Interrupted." in capsys.readouterr().err


def test_a_run_that_was_interrupted_does_not_stop_the_next_of_its_process(
    hears_interrupts, monkeypatch
):
    def interrupted(**_options):
        signal.raise_signal(signal.SIGINT)

    command = partial(cli.run.callback, pipeline=None, pipelines=[], params={}, runner=None)
    monkeypatch.setattr(cli.kedro_run, "callback", interrupted)
    with pytest.raises(click.exceptions.Exit):
        command()
    monkeypatch.setattr(cli.kedro_run, "callback", lambda **_: InterruptHooks().before_node_run())
    command()


def test_what_else_python_drops_is_told_as_ever(monkeypatch, capsys):
    class LetGo:
        def __del__(self):
            raise ValueError("nobody asked")

    monkeypatch.setattr(cli.kedro_run, "callback", lambda **_options: LetGo() and None)
    cli.run.callback(pipeline=None, pipelines=[], params={}, runner=None)
    assert "nobody asked" in capsys.readouterr().err


INTERRUPTS = """
import os, signal
from fsspec.implementations.local import LocalFileSystem

signal.signal(signal.SIGINT, signal.default_int_handler)
real = LocalFileSystem.info

def info(self, path, **options):
    if os.fspath(path).endswith(FILE) and LocalFileSystem.info is info:
        LocalFileSystem.info = real
        signal.raise_signal(signal.SIGINT)
    return real(self, path, **options)

LocalFileSystem.info = info
from kedro.framework.cli.cli import main
main()
"""


@pytest.mark.parametrize("file", ["accepted_entries.csv", "samples.csv"])
def test_ctrl_c_is_heard_where_a_library_takes_it_for_an_error_of_its_own(kedro, tmp_path, file):
    words = ("run", "--pipeline", "ingest", "--params", f"out_dir={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTS.replace("FILE", repr(file)), *words],
        cwd=kedro.project, env=ENVIRONMENT, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 130, done.stdout + done.stderr
    assert "Interrupted." in done.stderr
    assert not (tmp_path / "03_primary/images").exists()


def test_an_interrupted_run_ends_cleanly_and_the_next_makes_up_for_it(kedro, tmp_path):
    words = ("run", "--pipeline", "segment", "--params")
    large = f"out_dir={tmp_path},segmenter.max_side=1024,split.max_images.train=100"
    # A shell that starts the tests in the background has SIGINT ignored.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = kedro.start(*words, large, preexec_fn=heard)
    candidates = tmp_path / "04_feature/candidates"
    while not list(candidates.glob("*.npz")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. The same command goes on from what is finished." in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob(".*"))  # a file is written beside its place, under such a name
    recorded = json.loads((tmp_path / "fingerprints.json").read_text())
    assert {"images", "masks", "samples"} <= recorded.keys()
    assert "candidates" not in recorded
    done = kedro(*words, f"out_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert len(list(candidates.glob("*.npz"))) == 8
    assert json.loads((tmp_path / "fingerprints.json").read_text())["candidates"]
