import dataclasses
import gc
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_methods import METHODS, put, segmentation_network

import vesselrl
from vesselrl.bundle import files, loading
from vesselrl.bundle.content import RECIPE, SEGMENTER, WEIGHTS, recipe_files
from vesselrl.datasets.bundle import GivenRecipeDataset
from vesselrl.errors import VesselrlError
from vesselrl.prediction.predictor import Predictor
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.segmenters.unet.weights import save_weights


def written(path, recipe, archive=False):
    """A bundle of a recipe."""
    content = files.with_manifest(recipe_files(recipe))
    if not archive:
        return put(path / "bundle", content)
    (path / "bundle.zip").write_bytes(files.zipped(content))
    return path / "bundle.zip"


def assert_same(found, expected):
    for field in dataclasses.fields(expected):
        if field.name != "seconds":
            one, other = (getattr(made, field.name) for made in (found, expected))
            np.testing.assert_array_equal(one, other, err_msg=field.name)


@pytest.mark.parametrize("name", METHODS)
def test_a_bundle_predicts_as_the_recipe_bit_for_bit(name, make_recipe, image, tmp_path):
    recipe = make_recipe(name)
    predictor = vesselrl.load_bundle(written(tmp_path, recipe))
    expected = Predictor(recipe).predict(image)
    assert_same(predictor.predict(image), expected)
    assert 0 < expected.mask.mean() < 1  # else equal masks would say little


def test_an_archive_predicts_as_the_folder_and_leaves_nothing_behind(make_recipe, image, tmp_path):
    recipe = make_recipe("static")
    predictor = vesselrl.load_bundle(str(written(tmp_path, recipe, archive=True)))
    assert_same(predictor.predict(image), Predictor(recipe).predict(image))
    unpacked = Path(predictor.recipe.segmenter.weights).parent
    assert unpacked.is_dir()
    del predictor
    gc.collect()
    assert not unpacked.exists()


def test_a_bundle_that_is_loaded_is_not_needed_any_more(make_recipe, image, tmp_path):
    recipe = make_recipe("static")
    path = written(tmp_path, recipe)
    predictor = vesselrl.load_bundle(path)
    shutil.rmtree(path)
    assert_same(predictor.predict(image), Predictor(recipe).predict(image))


def test_a_segmenter_without_weights_needs_no_file(make_recipe, ridge, image, tmp_path):
    recipe = make_recipe("best_of_n", ridge)
    path = written(tmp_path, recipe, archive=True)
    assert SEGMENTER not in files.read_files(path)
    assert_same(vesselrl.load_bundle(path).predict(image), Predictor(recipe).predict(image))


def test_no_path_and_no_name_of_a_file_is_in_a_bundle(make_recipe, weights):
    recipe = make_recipe("reward_rl")
    content = recipe_files(recipe)
    assert set(content) == {RECIPE, WEIGHTS, SEGMENTER}
    assert content[SEGMENTER] == weights.read_bytes()
    told = b"".join(content[name] for name in (RECIPE, WEIGHTS))
    assert b"doe" not in told
    assert str(weights.parent).encode() not in told


def test_kedro_is_not_needed(make_recipe, image, tmp_path):
    path = written(tmp_path, make_recipe("postprocess_rl"))
    np.save(tmp_path / "image.npy", image)
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith(("kedro", "omegaconf")):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import vesselrl
assert not {{"torch", "numpy", "pydantic"}} & set(sys.modules), "import vesselrl is heavy"
import numpy
image = numpy.load({str(tmp_path / "image.npy")!r})
mask = vesselrl.load_bundle({str(path)!r}).predict(image).mask
numpy.save({str(tmp_path / "mask.npy")!r}, mask)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    expected = Predictor(make_recipe("postprocess_rl")).predict(image).mask
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), expected)


def test_what_would_change_results_cannot_be_set(make_recipe, tmp_path):
    path = written(tmp_path, make_recipe("static"))
    with pytest.raises(VesselrlError, match="segmenter.prompts cannot be set for a bundle"):
        vesselrl.load_bundle(path, segmenter={"prompts": {}})


@pytest.fixture
def sa2va(tmp_path):
    """Of a model whose files are only looked at."""
    model = tmp_path / "of_jane_doe" / "sa2va_vessel_hf"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    return SegmenterParameters.model_validate(
        {
            "kind": "sa2va", "path": str(model), "revision": None, "trust_remote_code": True,
            "dtype": "float32", "quantisation": "none", "device": "cpu", "attention": "auto",
            "merge": "union", "default_prompt": "vessels", "prompts": {"vessels": {"text": "?"}},
        }
    )  # fmt: skip


def test_a_model_of_the_user_is_named_and_not_copied(make_recipe, sa2va, tmp_path):
    path = written(tmp_path, make_recipe("static", sa2va))
    everything = b"".join(files.read_files(path).values())
    assert b"doe" not in everything
    with pytest.raises(VesselrlError, match="‘sa2va_vessel_hf’, which is no part of the bundle"):
        vesselrl.load_bundle(path)
    found = vesselrl.load_bundle(path, segmenter={"path": sa2va.path, "device": "cpu"})
    parameters = found.recipe.segmenter
    assert parameters.path == sa2va.path
    assert not parameters.trust_remote_code  # a bundle cannot ask for code to be run


def test_another_model_than_the_bundles_is_refused(make_recipe, sa2va, tmp_path):
    path = written(tmp_path, make_recipe("static", sa2va))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"other": 1}')
    with pytest.raises(VesselrlError, match="are not those that the bundle's method was chosen"):
        vesselrl.load_bundle(path, segmenter={"path": str(other)})


def test_code_is_trusted_only_of_a_model_that_the_user_names(make_recipe, sa2va, tmp_path):
    content = recipe_files(make_recipe("static", sa2va))
    told = json.loads(content[RECIPE])
    told["segmenter_model"] |= {"name": "somebody/model", "revision": "a" * 40, "is_folder": False}
    content[RECIPE] = json.dumps(told).encode()
    path = put(tmp_path / "bundle", files.with_manifest(content))
    with pytest.raises(VesselrlError, match="‘somebody/model’, which is no part of the bundle"):
        vesselrl.load_bundle(path, segmenter={"trust_remote_code": True})


def test_a_network_of_ours_does_without_the_users_model(make_recipe, sa2va, image, tmp_path):
    recipe = make_recipe("distilled", sa2va)
    predictor = vesselrl.load_bundle(written(tmp_path, recipe))
    assert_same(predictor.predict(image), Predictor(recipe).predict(image))
    rated = written(tmp_path / "rated", make_recipe("distilled", sa2va, rating="all"))
    with pytest.raises(VesselrlError, match="which is no part of the bundle"):
        vesselrl.load_bundle(rated)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("recipe"),
        lambda told: told["recipe"].pop("objective"),
        lambda told: told["recipe"]["reward_network"].update(features=[8] * 6),
        lambda told: told["recipe"].update(actions={"thresholds": "many"}),
        lambda told: told["recipe"].update(calibration=[1]),
        lambda told: told.update(recipe="none"),
    ],
)
def test_a_whole_bundle_of_something_else_is_an_error_in_a_sentence(change, make_recipe, tmp_path):
    content = recipe_files(make_recipe("static"))
    told = json.loads(content[RECIPE])
    change(told)
    content[RECIPE] = json.dumps(told).encode()
    path = put(tmp_path / "bundle", files.with_manifest(content))
    with pytest.raises(VesselrlError, match="bundle does not hold what a bundle holds"):
        vesselrl.load_bundle(path)


def test_a_bundle_of_an_extension_that_is_not_here_names_the_module(make_recipe, tmp_path):
    content = recipe_files(make_recipe("static"))
    told = json.loads(content[RECIPE])
    told["recipe"]["segmenter"]["kind"] = "theirs"
    content[RECIPE] = json.dumps(told).encode()
    path = put(tmp_path / "bundle", files.with_manifest(content))
    with pytest.raises(VesselrlError, match=r"'theirs' is not built in, and .*/extensions has no"):
        vesselrl.load_bundle(path)


def test_weights_that_were_changed_are_refused(make_recipe, tmp_path):
    path = written(tmp_path, make_recipe("static"))
    content = bytearray((path / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (path / WEIGHTS).write_bytes(content)
    with pytest.raises(VesselrlError, match=f"{WEIGHTS} was changed"):
        vesselrl.load_bundle(path)


def test_other_weights_than_those_of_the_bundle_are_refused(make_recipe, weights, tmp_path):
    path, others = written(tmp_path, make_recipe("static")), tmp_path / "others.safetensors"
    vesselrl.load_bundle(path, {"weights": str(weights)})
    save_weights(others, segmentation_network(7))
    with pytest.raises(VesselrlError, match="not those that the bundle's method was chosen"):
        vesselrl.load_bundle(path, {"weights": str(others)})


def test_weights_that_are_replaced_after_they_were_checked_are_not_used(
    make_recipe, tmp_path, monkeypatch
):
    path = written(tmp_path, make_recipe("static"))
    segmenter = GivenRecipeDataset(path, {}).segmenter
    build_segmenter(segmenter)
    read = loading.read_files

    def replaced(place):
        content = read(place)
        save_weights(path / SEGMENTER, segmentation_network(7))
        return content

    monkeypatch.setattr(loading, "read_files", replaced)
    with pytest.raises(VesselrlError, match=f"{SEGMENTER} is not what it was when it was checked"):
        vesselrl.load_bundle(path)
    with pytest.raises(VesselrlError, match=f"{SEGMENTER} is not what it was when it was checked"):
        build_segmenter(pickle.loads(pickle.dumps(segmenter)))  # as another process loads it
