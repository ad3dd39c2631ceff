import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fabricated_report import ACTIONS, EXPERIMENTS, METHODS, NETWORK, SEGMENTER, SIZE, fabricate
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.runner import SequentialRunner

import vesselrl
from vesselrl.bundle.files import MANIFEST, read_files
from vesselrl.bundle.parameters import BundlingParameters
from vesselrl.datasets.bundle import BundleDataset
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.parameters import EvaluationParameters, Method
from vesselrl.pipelines.bundle import create_pipeline
from vesselrl.pipelines.bundle.nodes import make_bundle
from vesselrl.pipelines.report.nodes import compare_methods, give_verdict
from vesselrl.prediction.calibration import Calibration
from vesselrl.prediction.predictor import Predictor
from vesselrl.prediction.recipe import Recipe
from vesselrl.report.parameters import ReportParameters
from vesselrl.rl.actions import Rules
from vesselrl.rl.observations import Observer
from vesselrl.rl.parameters import ActionParameters
from vesselrl.rl.policy import Policy
from vesselrl.samples import group_hashes

REPORT = ReportParameters(bootstrap_resamples=200)
SETTINGS = {
    "seed": 7, "rl": {"observations": "handmade"}, "experiments": EXPERIMENTS, "regressors": {},
}  # fmt: skip


CHECK = {
    "coverage": 0.9, "validation_groups": 9, "groups_needed": 9, "covered": 0.875, "width": 0.2,
    "mean_error": 0.0456,
}  # fmt: skip


def policy():
    """It answers every image with the first prompt."""
    rules, mean = Rules(ACTIONS, "prompts", 1), np.zeros(16, np.float32)
    weights = {
        "mean": mean, "scale": mean + 1,
        "layer.0.weight": np.zeros((2, 16), np.float32), "layer.0.bias": np.zeros(2, np.float32),
    }  # fmt: skip
    return Policy(rules, Observer(mean, mean + 1, rules.length), weights)


def recipe(name):
    return Recipe(
        name,
        Method(**METHODS[name]),
        SEGMENTER,
        ActionParameters(thresholds=[0.5], operations={}),
        ["dice", "recall"],
        static=1,
        threshold=None,
        policy=policy() if name == "prompt_rl" else None,
        network=None,
        refiner=None,
        reward_network=NETWORK.state(),
        calibration=Calibration.unknown(),
    )


@pytest.fixture(scope="module")
def found():
    """What the pipeline reads beside the recipe."""
    made = fabricate()
    evaluation = EvaluationParameters.model_validate({"methods": METHODS})
    board = compare_methods(made["metrics_per_image"], evaluation, REPORT, 7)
    return {
        "samples": made["samples"],
        "leaderboard": board,
        "verdict": give_verdict(made["metrics_per_image"], board, REPORT, 7),
        "recipe_check": CHECK,
        "params:segmenter": SEGMENTER,
        "params:report": REPORT,
        "parameters": SETTINGS,
    }


def run(found, name, folder, **wanted):
    """Run the pipeline; the folder of the bundle."""
    bundling = BundlingParameters(
        **{"zip": False, "onnx": False, "licence": "Ours | *alone*."} | wanted
    )
    dataset = BundleDataset(filepath=str(folder / "bundle"))
    dataset.is_zipped = bundling.zip
    inputs = {**found, "recipe": recipe(name).state(), "params:bundling": bundling}
    catalog = DataCatalog(
        {
            **{key: MemoryDataset(value, "assign") for key, value in inputs.items()},
            "bundle": dataset,
        }
    )
    SequentialRunner().run(create_pipeline(), catalog)
    return folder / "bundle"


def test_the_folder_that_is_written_predicts(found, tmp_path):
    folder = run(found, "prompt_rl", tmp_path, onnx=True, zip=True)
    assert set(read_files(folder)) == {
        "README.md", "configuration.yml", "onnx/policy.onnx", "onnx/reward_network_0.onnx",
        "recipe.json", "weights.safetensors",
    }  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    expected = Predictor(recipe("static")).predict(image).mask
    again = run(found, "static", tmp_path)  # in place of the other, whose archive goes
    assert again == folder
    np.testing.assert_array_equal(vesselrl.load_bundle(folder).predict(image).mask, expected)
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]


def test_the_archive_holds_what_the_folder_does(found, tmp_path):
    folder = run(found, "static", tmp_path, zip=True)
    assert read_files(folder) == read_files(folder.with_suffix(".zip"))
    assert BundleDataset(filepath=str(folder)).load() == read_files(folder)
    with zipfile.ZipFile(folder.with_suffix(".zip")) as archive:
        assert archive.namelist()[0] == MANIFEST


def test_the_card_tells_the_data_the_scores_and_the_limits(found, tmp_path):
    card = (run(found, "static", tmp_path) / "README.md").read_text()
    row = found["leaderboard"].set_index("method").loc["static"]
    assert f"{row['dice']:.3f} ({row['dice_low']:.3f}–{row['dice_high']:.3f})" in card
    assert "| test | 24 | 12 |" in card
    assert "| train | 20 | 12 |" in card
    for text in (
        "Research, not a medical device",
        'vesselrl.load_bundle("this folder, or bundle.zip")',
        "| best\\_of\\_n | ",
        "| oracle \\* | ",
        found["verdict"]["sentence"].split("‘")[0],
        "recipe.json: what the method is",
        "On the test images it did in 88 %",
        r"Ours \| \*alone\*.",
    ):
        assert text in card


def test_the_card_warns_where_another_method_is_recommended(found, tmp_path):
    other = next(m for m in ("default", "posterior") if m != found["verdict"]["recommended"])
    card = (run(found, other, tmp_path) / "README.md").read_text()
    assert "The report recommends another method" in card


def test_the_card_warns_where_the_segmenter_learned_from_who_is_tested(
    found, tmp_path, monkeypatch
):
    samples = found["samples"].assign(id=lambda rows: [f"s{n}" for n in range(len(rows))])
    found = found | {"samples": samples}
    clean = (run(found, "static", tmp_path / "clean") / "README.md").read_text()
    rows = samples.groupby("split").head(1)  # a group of each split
    known = group_hashes(rows, rows["id"])
    monkeypatch.setattr(type(SEGMENTER), "learned_from", lambda _: known)
    leaking = (run(found, "static", tmp_path / "leaking") / "README.md").read_text()
    held_out = samples.loc[samples["split"].isin(["val", "test"]), "group"]
    count = len(set(held_out) & set(rows["group"]))
    sentence = f"The segmenter learned from {count} groups of validation or test"
    assert count >= 2
    assert (sentence in clean, sentence in leaking) == (False, True)


def test_no_name_of_a_patient_or_an_image_is_in_a_bundle(found, tmp_path):
    named = {name: "doe_" + found["samples"][name] for name in ("id", "file", "group")}
    known = {**found, "samples": found["samples"].assign(**named)}
    files = read_files(run(known, "prompt_rl", tmp_path, onnx=True))
    assert not [name for name, content in files.items() if b"doe_" in content]


def test_a_method_without_scores_is_not_bundled(found):
    board = found["leaderboard"]
    bundling = BundlingParameters(zip=False, onnx=False, licence="x")
    with pytest.raises(VesselrlError, match="‘static’ has no scores on the test images"):
        make_bundle(
            recipe("static").state(), CHECK, found["samples"], board[board["method"] != "static"],
            found["verdict"], SEGMENTER, bundling, REPORT, SETTINGS,
        )  # fmt: skip


def test_what_is_there_stays_if_the_new_cannot_be_written(found, tmp_path):
    folder = run(found, "static", tmp_path)
    before = read_files(folder)
    with pytest.raises(DatasetError):
        BundleDataset(filepath=str(folder)).save({"a": b"x", "a/b": b"y"})
    assert read_files(folder) == before
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_whose_archive_is_wanted_and_gone_is_made_again(tmp_path):
    dataset = BundleDataset(filepath=str(tmp_path / "bundle"))
    dataset.is_zipped = True
    dataset.save({"a": b"x"})
    assert dataset.exists()
    (tmp_path / "bundle.zip").unlink()
    assert not dataset.exists()
    dataset.is_zipped = False
    assert dataset.exists()


@pytest.mark.parametrize("is_done", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", range(1, 8))  # a removal, three files, two moves, a removal
def test_a_bundle_is_old_or_new_wherever_its_writing_is_killed(tmp_path, monkeypatch, at, is_done):
    folder = str(tmp_path / "bundle")
    old, new = (dict.fromkeys(("a", "b/c"), version) for version in (b"old", b"new"))
    BundleDataset(filepath=folder).save(old)
    steps = []

    def dying(step):
        def call(*arguments, **options):
            steps.append(step)
            if len(steps) != at or is_done:
                step(*arguments, **options)
            if len(steps) == at:
                raise KeyboardInterrupt

        return call

    with monkeypatch.context() as patched:
        for owner, name in ((Path, "write_bytes"), (Path, "rename"), (shutil, "rmtree")):
            patched.setattr(owner, name, dying(getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt):
            BundleDataset(filepath=folder).save(new)
    left = sorted(tmp_path.rglob("*"))
    assert BundleDataset(filepath=folder).exists()
    assert sorted(tmp_path.rglob("*")) == left  # a run beside may be between two steps
    is_new = at > 6 or (at == 6 and is_done)
    assert BundleDataset(filepath=folder).load() == (new if is_new else old)
    BundleDataset(filepath=folder).save(new)
    assert BundleDataset(filepath=folder).load() == new
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]
