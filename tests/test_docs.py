"""What the documentation says: its commands, parameters, pipelines, folders and code are real."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
import yaml
from kedro.framework.cli.cli import KedroCLI
from kedro.validation import ParameterValidator
from markdown_it import MarkdownIt

from vesselrl import __version__, extensions, overrides
from vesselrl.config_loader import ConfigLoader
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.parameters import EvaluationParameters
from vesselrl.extensions import extension
from vesselrl.metrics.geometry import Geometry
from vesselrl.pipeline_registry import register_pipelines
from vesselrl.rl.operations import apply_operation
from vesselrl.rl.parameters import ActionParameters
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CONTRIBUTING.md",
                 ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
)  # fmt: skip
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FROM_ELSEWHERE = ("ray", "tensorboard", "sha256sum", "source", "git", "docker", "cd")
A_PLACE = re.compile(r"/path/|…|<|:/")
"""In a value of a parameter: a path or a name that a reader puts something else for."""
ENVIRONMENTS = sorted(folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir())
FILE_ENDINGS = ("json", "yml", "csv", "md", "safetensors")


class Code(NamedTuple):
    """A block of code, or a word of it in a text, and the page it is on."""

    page: str
    language: str
    text: str


@cache
def code() -> list[Code]:
    """All code of all pages."""
    found = []
    for page in PAGES:
        for token in MarkdownIt().enable("table").parse((ROOT / page).read_text()):
            if token.type in ("fence", "code_block"):
                found.append(Code(page, token.info or "text", token.content))
            for child in token.children or ():
                if child.type == "code_inline":
                    found.append(Code(page, "inline", child.content))
    return found


def commands() -> Iterator[tuple[str, str]]:
    """Page and words of every command, those that ``&&`` joins one by one."""
    programs = ("kedro", "make", "pip", "python", "pytest", ".venv/bin/", *FROM_ELSEWHERE)
    for page, language, text in code():
        for part in re.split(r"\n| && ", text):
            line = part.strip()
            if language == "inline" and re.match(r"--(pipeline|env|params) \S", line):
                env = " --env sa2va" if page.endswith("sa2va.md") and "--env" not in line else ""
                yield page, f"kedro run{env} {line}"
            elif line.endswith((" --pipeline", " --params")):
                continue  # it is spoken of, not given
            elif line.startswith(tuple(f"{program} " for program in programs)) or (
                language == "bash" and line and not line.startswith("#")
            ):
                yield page, line


COMMANDS = list(dict.fromkeys(commands()))


@cache
def pipelines() -> dict:
    return register_pipelines()


@cache
def configuration(env: str) -> tuple[dict, dict]:
    """Parameters and paths of an environment."""
    loader = ConfigLoader(str(ROOT / "conf"), env, **CONFIG_LOADER_ARGS)
    return loader["parameters"], loader["globals"]


@cache
def kedro() -> click.MultiCommand:
    return KedroCLI(ROOT)


def check_kedro(words: list[str]) -> None:
    """The command exists, has these options, and what they name exists."""
    command, context = kedro(), click.Context(kedro())
    while isinstance(command, click.MultiCommand):
        if not words:
            return  # as `kedro viz`, which has a command to fall back on
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context, info_name=name)
    chosen = command.make_context(command.name, list(words)).params
    for pipeline in filter(None, [chosen.get("pipeline"), *(chosen.get("pipelines") or ())]):
        assert pipeline in pipelines()
    env = chosen.get("env")
    assert env is None or (ROOT / "conf" / env).is_dir()
    if chosen.get("params"):
        check_parameters(env or "local", chosen["params"])


def check_parameters(env: str, given: Mapping) -> None:
    """Their names are known and their values valid, paths of a reader's own apart."""
    merged, _ = overrides.resolve(*configuration(env), given)
    needs_a_model = merged["segmenter"].get("path", "") is None
    if not needs_a_model and not A_PLACE.search(json.dumps(given, ensure_ascii=False)):
        ParameterValidator(pipelines()).validate_raw_params(merged)


def check_pip(words: list[str]) -> None:
    """Files exist, and so do the extras of this project."""
    assert words[0] == "install"
    for option, word in zip(["", *words], words, strict=False):
        if option in ("-c", "-r"):
            assert (ROOT / word).is_file()
        if match := re.fullmatch(r"(?:vesselrl|\.)\[([\w,]+)\]", word):
            assert set(match[1].split(",")) <= set(PROJECT["optional-dependencies"])


def check_make(words: list[str]) -> None:
    """The target is one."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


def check_python(words: list[str]) -> None:
    """The file exists and knows the options."""
    if words[0] == "-m":
        return
    script = (ROOT / words[0]).read_text()
    for option in (word for word in words if word.startswith("--")):
        assert f'"{option}"' in script


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{p} {c}" for p, c in COMMANDS])
def test_a_command_has_options_parameters_and_files_that_exist(page, command):
    command = re.sub(r"<[^>]*>", "<>", command.replace(",…", ""))
    words = shlex.split(command, comments=True)
    program, words = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "kedro":
        check_kedro(words)
    elif program == "pip":
        check_pip(words)
    elif program == "make":
        check_make(words)
    elif program in ("python", "python3.11"):
        check_python(words)
    else:
        assert program in (*FROM_ELSEWHERE, "pre-commit", "pytest")


def exists(name: str) -> bool:
    """Whether ``--params`` may name it, in some environment."""
    for env in ENVIRONMENTS:
        try:
            overrides.resolve(*configuration(env), overrides.parse(f"{name}=null"))
        except VesselrlError as error:
            if str(error).startswith("Unknown parameter"):
                continue
        return True
    return False


def test_parameters_that_texts_name_exist():
    named = {
        (page, match[1])
        for page, language, text in code()
        if language == "inline"
        and (match := re.fullmatch(r"([a-z_0-9]+(?:\.[a-z_0-9]+)+)(?:[:=].*)?", text))
        and match[1].split(".")[0] in configuration("local")[0]
        and match[1].split(".")[1] not in FILE_ENDINGS
    }
    assert len(named) > 50
    assert not {name for name in named if not exists(name[1])}


@cache
def kept() -> set[str]:
    """Folders and files below ``out_dir`` that the catalog names, from their layer on."""
    places: set[str] = set()
    for catalog in (ROOT / "conf/base").glob("catalog*.yml"):
        places |= set(re.findall(r"\}/(0[1-8]_[^\s]+)", catalog.read_text()))
    return places


def test_results_that_texts_name_are_in_the_catalog():
    places = {re.sub(r"\{[^}]*\}", "*", place).rstrip("/") for place in kept()}
    unknown = []
    for page, _, text in code():
        for name in re.findall(r"(0[2-8]_[a-z]+(?:_[a-z]+)*/[^\s,`*]*)", text):
            first = "/".join(re.sub(r"<[^>]*>", "*", name).rstrip("/").split("/")[:2])
            near = [place for place in places if place.split("/")[0] == first.split("/")[0]]
            patterns = ["/".join(place.split("/")[:2]) for place in near]
            if not any(Path(first).match(p) or Path(p).match(first) for p in patterns):
                unknown.append(f"{page}: {name}")
    assert not unknown


def test_the_page_of_the_pipelines_and_its_diagram_have_those_that_are_registered():
    page = (ROOT / "docs/pipelines.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(pipelines()) - {
        "__default__"
    }
    diagram = (ROOT / "docs/images/architecture.svg").read_text()
    assert set(re.findall(r'class="name"[^>]*>(\w+)<', diagram)) == set(pipelines()) - {
        "__default__"
    }
    layers = re.findall(r'class="layername"[^>]*>(\w+)<', diagram)
    assert set(layers) == {place.split("/")[0] for place in kept()} | {"01_raw"}


def test_the_architecture_lists_the_folders_that_exist():
    page = (ROOT / "docs/architecture.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE))
    packages = {file.parent.name for file in (ROOT / "src/vesselrl").glob("*/__init__.py")}
    assert listed == packages
    assert set(ENVIRONMENTS) <= set(re.findall(r"`(\w+)`", page))


def test_the_citation_names_the_version_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]


# The page on extending: its modules and entries, as a reader copies them.


@pytest.fixture
def extend(tmp_path, monkeypatch) -> dict:
    """Modules of the page are written where the user's are; its entries in conf, merged."""
    monkeypatch.setattr(extensions, "__path__", [*extensions.__path__, str(tmp_path)])
    text = (ROOT / "docs/extend.md").read_text()
    named = r"`src/vesselrl/extensions/(\w+)\.py`:\n\n```python\n(.*?)```"
    modules = re.findall(named, text, re.DOTALL)
    assert len(modules) == 3
    for name, module in modules:
        (tmp_path / f"{name}.py").write_text(module)
    entries: dict = {}
    for entry in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        entries |= yaml.safe_load(entry)
    return entries


def test_the_segmenter_of_the_page_segments(extend):
    segmenter = build_segmenter(SegmenterParameters.model_validate(extend["segmenter"]))
    maps = segmenter.probabilities(np.array([[10, 250]], np.uint8), ["dark", "darker"])
    assert maps.shape == (2, 1, 2)
    assert maps.dtype == np.float32
    assert (maps > 0.5).tolist() == [[[True, False]]] * 2


def test_the_segmenter_of_the_page_passes_the_check_of_the_page(extend, tmp_path, monkeypatch):
    (check,) = [c.text for c in code() if c.page == "docs/extend.md" and "check_seg" in c.text]
    (tmp_path / "conf/local").mkdir(parents=True)
    conf = yaml.safe_dump({"segmenter": extend["segmenter"]})
    (tmp_path / "conf/local/parameters_segment.yml").write_text(conf)
    monkeypatch.chdir(tmp_path)
    exec(check)


def test_the_operation_of_the_page_keeps_the_largest_region(extend):
    operations = ActionParameters.model_validate({"thresholds": [0.5], **extend["actions"]})
    mask = np.array([[1, 1, 0, 1]], bool)
    changed = apply_operation(operations.operations["keep largest"], mask, mask.astype(np.float32))
    assert changed.tolist() == [[True, True, False, False]]


def test_the_metric_of_the_page_measures(extend):
    default = {"methods": {"default": {"kind": "default"}}}
    (name,) = EvaluationParameters.model_validate(default | extend["evaluation"]).metrics
    measured = extension(name, "metric")(Geometry(np.ones((2, 2), bool)), Geometry(np.eye(2) > 0))
    assert measured == 1


# Really run: `make test-docs`.


@pytest.mark.docs
def test_the_tutorial_goes_from_raw_data_to_masks_of_new_images(project, raw_dir, tmp_path):
    shutil.copytree(raw_dir / "images", tmp_path / "new")
    places = {
        "my_data": str(raw_dir), "my_results": str(tmp_path / "results"),
        "/new/images": str(tmp_path / "new"),
    }  # fmt: skip
    pages = ("docs/own_data.md", "docs/hospital.md")
    run = [
        c
        for p, c in COMMANDS
        if p in pages and c.startswith("kedro run") and "out_dir=my_results" in c
    ]
    assert len(run) == 6
    for command in run:
        name = re.compile("|".join(places))
        words = shlex.split(name.sub(lambda found: places[found[0]], command))
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=project, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    made = tmp_path / "results"
    for name in (
        "08_reporting/figures/ingest_overview.png", "02_intermediate/quarantine.csv",
        "02_intermediate/ingest_report.json", "08_reporting/final_report.html",
        "quick/08_reporting/final_report.html", "07_model_output/predict/review.html",
    ):  # fmt: skip
        assert (made / name).is_file(), name


@pytest.mark.docs
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]+https?://[^>]*", page.read_text())
        assert not loaded, f"{page} loads {loaded}"
