"""The pipeline ``predict`` with a bundle, in a project that has made nothing."""

import errno
import sys
from types import SimpleNamespace

import click
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.validation.exceptions import ParameterValidationError
from PIL import Image
from small_methods import put

from vesselrl import cli
from vesselrl.annotations.pictures import decode
from vesselrl.bundle import files
from vesselrl.bundle.content import recipe_files
from vesselrl.errors import VesselrlError
from vesselrl.files import LOCK
from vesselrl.prediction import folder
from vesselrl.prediction.predictor import Predictor
from vesselrl.runner import SparingRunner


class Ran:
    """The nodes that a run ran."""

    def __init__(self):
        self.nodes = []

    @hook_impl
    def after_node_run(self, node):
        self.nodes.append(node.name)


@pytest.fixture
def predict(project, raw_dir, tmp_path):
    """Predicts the raw images with a bundle, as ``kedro run`` does; what ran, and where."""
    bootstrap_project(project)

    def run(bundle, namespaces=None, **more):
        given = {
            "bundle": str(bundle), "input_dir": str(raw_dir / "images"),
            "out_dir": str(tmp_path / "out"), **more,
        }  # fmt: skip
        ran = Ran()
        options = {"pipeline": "predict", "pipelines": [], "params": given}
        with KedroSession.create(project, runtime_params=given) as session:
            for plugin in session._hook_manager.get_plugins():
                if type(plugin).__module__.startswith("kedro_viz"):  # writes where it is run
                    session._hook_manager.unregister(plugin)
            session._hook_manager.register(ran)
            session.run(
                pipeline_names=["predict"],
                namespaces=cli._with_a_bundle(options) if namespaces is None else namespaces,
                runner=SparingRunner(),
            )
        return SimpleNamespace(nodes=ran.nodes, out=tmp_path / "out/07_model_output/predict")

    return run


def test_a_bundle_stands_for_all_stages_before(predict, make_recipe, raw_dir, tmp_path):
    recipe = make_recipe("reward_rl")  # of another segmenter than the project's
    content = files.with_manifest(recipe_files(recipe))
    (tmp_path / "bundle.zip").write_bytes(files.zipped(content))
    ran = predict(tmp_path / "bundle.zip")
    assert {node.partition(".")[0] for node in ran.nodes} == {"predict"}
    assert not (tmp_path / "out/06_models").exists()
    quality = pd.read_csv(ran.out / "quality.csv")
    assert len(quality) == 12
    page = (ran.out / "review.html").read_text()
    assert "Predicted Dice (60 % interval)" in page  # the bundle's, not predict.coverage
    predictor = Predictor(recipe)
    for name in quality["file"]:
        expected = predictor.predict(decode((raw_dir / "images" / name).read_bytes(), 10**6))
        with Image.open(ran.out / "masks" / name) as written:
            assert written.tobytes() == Image.fromarray(expected.mask).convert("L").tobytes()


def test_another_bundle_predicts_anew(predict, make_recipe, tmp_path):
    masks = []
    for number, name in enumerate(("default", "posterior", "posterior")):
        content = files.with_manifest(recipe_files(make_recipe(name)))
        ran = predict(put(tmp_path / str(number), content))
        masks.append({f.name: f.stat().st_mtime_ns for f in (ran.out / "masks").iterdir()})
    assert not {*masks[0].items()} & {*masks[1].items()}
    assert masks[1] == masks[2]  # what the same recipe made elsewhere stays


def test_the_parameters_of_a_run_say_where_a_bundle_works(
    predict, make_recipe, tmp_path, monkeypatch
):
    seen = []
    spread = folder.map_on_workers

    def seeing(function, items, devices, ray):
        seen.append(devices)
        return spread(function, items, devices, ray)

    monkeypatch.setattr(folder, "map_on_workers", seeing)
    content = files.with_manifest(recipe_files(make_recipe("static")))
    predict(put(tmp_path / "bundle", content), segmenter={"devices": ["cpu"]})
    assert seen == [["cpu"]]


@pytest.mark.parametrize("namespaces", [[], ["recipe"]])
def test_nothing_that_a_bundle_stands_for_is_made(namespaces, predict, make_recipe, tmp_path):
    content = files.with_manifest(recipe_files(make_recipe("static")))
    with pytest.raises(VesselrlError, match="namespace predict"):
        predict(put(tmp_path / "bundle", content), namespaces)
    assert not (tmp_path / "out/03_primary").exists()


def test_a_damaged_bundle_stops_the_run_in_a_sentence(predict, make_recipe, tmp_path):
    folder = put(tmp_path / "bundle", files.with_manifest(recipe_files(make_recipe("static"))))
    (folder / "recipe.json").unlink()
    with pytest.raises(VesselrlError, match="lacks recipe.json"):
        predict(folder)


@pytest.mark.parametrize("pipeline", [None, "segment", "bundle"])
def test_no_other_pipeline_takes_a_bundle(pipeline, project):
    bootstrap_project(project)
    with pytest.raises(click.ClickException, match="only predict can use one"):
        cli._run_with_plain_errors(
            pipeline=pipeline, pipelines=[], params={"bundle": "x"}, runner=None
        )


@pytest.mark.parametrize("settings", [{}, {"segmenter": {"path": "/models/sa2va"}}])
def test_a_sa2va_model_for_a_bundle_that_asks_none_is_refused_in_a_sentence(
    project, make_recipe, tmp_path, settings
):
    bootstrap_project(project)
    bundle = put(tmp_path / "bundle", files.with_manifest(recipe_files(make_recipe("default"))))
    given = {"out_dir": str(tmp_path), "bundle": str(bundle), **settings}
    with (
        KedroSession.create(project, env="sa2va", runtime_params=given) as session,
        pytest.raises(VesselrlError, match=r"asks the segmenter ‘unet’.*leave out --env sa2va"),
    ):
        session.load_context().catalog  # noqa: B018


def test_the_parameters_of_a_bundle_are_checked_before_a_run(project, tmp_path):
    bootstrap_project(project)
    given = {"out_dir": str(tmp_path), "bundling": {"onnx": "perhaps"}}
    with (
        KedroSession.create(project, runtime_params=given) as session,
        pytest.raises(ParameterValidationError, match="onnx"),
    ):
        session.load_context().catalog  # noqa: B018


def test_a_bundle_that_was_made_with_names_is_not_put_away_while_it_is_needed(
    predict, make_recipe, tmp_path
):
    content = files.with_manifest(recipe_files(make_recipe("static")))
    (tmp_path / "out/06_models").mkdir(parents=True)
    bundle = put(tmp_path / "out/06_models/bundle", content)
    with pytest.raises(VesselrlError, match="bundle is in .* give another out_dir, or copy it"):
        predict(bundle, pseudonymise=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["06_models"]


@pytest.mark.parametrize("named", ["publish_to", "input_dir"])
@pytest.mark.parametrize(
    ("url", "told"),
    [("s4://masks", "fsspec knows no 's4://'"), ("s3a://masks", r"pip install 'vesselrl\[s3\]'")],
)
def test_a_store_that_cannot_be_reached_is_told_before_the_work(
    named, url, told, predict, make_recipe, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as without the extra
    bundle = put(tmp_path / "bundle", files.with_manifest(recipe_files(make_recipe("static"))))
    with pytest.raises(VesselrlError, match=told):
        predict(bundle, **{named: url})
    assert not (tmp_path / "out").exists()


def test_an_error_of_publishing_is_in_the_log_and_leaves_the_folder_free(
    predict, make_recipe, tmp_path, monkeypatch
):
    def full(self, path, value, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", full)
    content = files.with_manifest(recipe_files(make_recipe("static")))
    with pytest.raises(VesselrlError, match="memory://masks cannot be written .*No space left"):
        predict(put(tmp_path / "bundle", content), publish_to="memory://masks")
    assert not (tmp_path / "out" / LOCK).exists()
    (log,) = (tmp_path / "out/logs").iterdir()
    assert "Traceback" in log.read_text()
