"""From a finished method and a folder of images to masks that somebody corrects and that train."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset
from PIL import Image

from finished_world import World
from vesselrl.annotations.labelme import UNCHECKED
from vesselrl.annotations.parameters import AnnotationsParameters, IngestParameters
from vesselrl.annotations.sources import open_source
from vesselrl.datasets.journal import ChecksDataset
from vesselrl.datasets.picture_folder import read_mask
from vesselrl.datasets.predictions import (
    CocoDataset,
    JsonListDataset,
    LabelMeFolderDataset,
    NewHashesDataset,
    NewImagesDataset,
    PredictionsDataset,
)
from vesselrl.datasets.private import PrivateJsonDataset, PrivateKeyDataset
from vesselrl.datasets.torch_state import TorchStateDataset
from vesselrl.distributed.parameters import RayParameters
from vesselrl.errors import VesselrlError
from vesselrl.pipelines import predict, recipe
from vesselrl.pipelines.ingest.nodes import check_annotations
from vesselrl.pipelines.predict.nodes import QUALITY_COLUMNS
from vesselrl.prediction.parameters import PredictParameters
from vesselrl.prediction.predictor import Predictor
from vesselrl.prediction.recipe import Recipe
from vesselrl.report.parameters import ReportParameters
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS

INGEST = IngestParameters(strict=True, max_pixels=10_000, unannotated="ignore", workers=1)
ANNOTATIONS = AnnotationsParameters(format="auto", max_json_mb=1)
SETTINGS = {
    "method": "recommended", "coverage": 0.8, "rating": "needed", "probability_maps": True,
    "formats": ["labelme", "coco"], "review": {"share": 0.05},
    "series": {"folders": False, "window": 1, "animation": None, "frames_per_second": 5},
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return World()


def recipe_of(world, folder, **changes):
    """Run the pipeline ``recipe``; its catalog."""
    settings = SETTINGS | changes
    inputs = {
        "verdict": {
            "recommended": "static",
            "best": "static",
            "compared_with_best": [],
            "below_random": [],
        },
        "static_setting": world.static_setting,
        "operating_points": {n: {"threshold": t} for n, t in world.thresholds.items()},
        "reward_network": world.reward_network,
        "finished_policies": world.finished,
        "images": world.images,
        "masks": world.masks,
        "candidates": world.candidates,
        "samples": world.samples,
        "params:evaluation": world.evaluation,
        "params:segmenter": world.segmenter,
        "params:actions": world.actions,
        "params:report.objective": list(world.objective),
        **{f"params:predict.{name}": value for name, value in settings.items()},
        **{f"{n}.policies": world.policies.get(n, {}) for n in (*EXPERIMENTS, *REGRESSORS)},
        **{f"{n}.networks_in_use": kept for n, kept in world.trained.items()},
    }
    catalog = DataCatalog(
        {name: MemoryDataset(value, "assign") for name, value in inputs.items()}
        | {
            "uncalibrated_recipe": TorchStateDataset(filepath=str(folder / "uncalibrated.pth")),
            "recipe": TorchStateDataset(filepath=str(folder / "recipe.pth")),
            "recipe_trials": CSVDataset(filepath=str(folder / "t.csv"), save_args={"index": False}),
            "recipe_check": MemoryDataset(copy_mode="assign"),
        }
    )
    return SequentialRunner().run(recipe.create_pipeline(), catalog), catalog


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    outputs, catalog = recipe_of(world, tmp_path_factory.mktemp("recipe"))
    return outputs["recipe_check"].load(), catalog


@pytest.fixture
def new_images(world, tmp_path):
    """The test images as a user has them, and what is no image."""
    folder = tmp_path / "in"
    folder.mkdir()
    for sample in world.of_split("test"):
        Image.fromarray(world.drawn[sample][0]).save(folder / f"Doe {sample}.png")
    (folder / "broken.png").write_bytes(b"no image")
    Image.new("L", (200, 200)).save(folder / "large.png")
    return folder


def run(world, finished, new_images, pseudonymise=False, **changes):
    """Run the pipeline ``predict``; the folder of its results."""
    folder = new_images.parent / "out"
    _, before = finished
    model = PredictParameters(**SETTINGS | changes)
    inputs = {
        "recipe": before.load("recipe"), "params:pseudonymise": pseudonymise,
        "params:annotations": ANNOTATIONS, "params:ingest": INGEST,
        "params:segmenter": world.segmenter, "params:predict": model,
        "params:report": ReportParameters(),
        "params:ray": RayParameters(num_workers=0, gpus_per_worker=0, address=None),
    }  # fmt: skip
    table = {"save_args": {"index": False}, "load_args": {"dtype": {"id": str, "file": str}}}
    catalog = DataCatalog(
        {name: MemoryDataset(value, "assign") for name, value in inputs.items()}
        | {
            "new_images": NewImagesDataset(path=str(new_images)),
            "new_hashes": NewHashesDataset(path=str(new_images), file=str(folder / "h.tsv")),
            "earlier_new_checks": ChecksDataset(file=str(folder / "c.tsv")),
            "pseudonym_key": PrivateKeyDataset(filepath=str(folder / "00_private/key.json")),
            "new_file_names": PrivateJsonDataset(filepath=str(folder / "00_private/names.json")),
            "new_entries": CSVDataset(filepath=str(folder / "e.csv"), **table),
            "new_quarantine": CSVDataset(filepath=str(folder / "quarantine.csv"), **table),
            "new_predictions": PredictionsDataset(path=str(folder / "predict")),
            "quality": CSVDataset(filepath=str(folder / "quality.csv"), **table),
            "new_annotations": JsonListDataset(filepath=str(folder / "annotations.json")),
            "new_labelme_files": LabelMeFolderDataset(path=str(folder / "labelme")),
            "new_coco": CocoDataset(filepath=str(folder / "coco.json")),
        }
    )
    SequentialRunner().run(predict.create_pipeline(), catalog)
    return folder


def test_the_recommended_method_is_calibrated_by_validation_and_checked_on_test_images(
    world, finished
):
    check, catalog = finished
    made = Recipe.from_state(catalog.load("recipe"), world.segmenter)
    assert made.name == check["method"] == "static"
    assert made.calibration.groups == check["validation_groups"] == 4
    assert check["images"] == 3
    trials = catalog.load("recipe_trials")
    assert set(trials["image"]) == {*world.of_split("val"), *world.of_split("test")}
    predictor, held = Predictor(made), []
    for row in trials[trials["split"] == "test"].itertuples():
        of_image = predictor.predict(world.drawn[row.image][0])
        held.append(of_image.dice_low <= row.true_dice <= of_image.dice_high)
        assert of_image.dice_low <= of_image.dice_high
        assert 0 <= of_image.out_of_distribution <= 1
    assert check["covered"] == pytest.approx(np.mean(held))


@pytest.mark.parametrize("method", ["recommended", "imported"])
def test_where_masks_made_elsewhere_are_recommended_new_images_get_the_best_that_can_be_made(
    world, caplog, method
):
    verdict = {
        "recommended": "imported", "best": "imported",
        "compared_with_best": [{"method": m} for m in ("posterior", "supervised", "static")],
        "below_random": ["posterior"],
    }  # fmt: skip

    def made():
        return recipe.nodes.write_recipe(
            verdict,
            world.static_setting,
            {name: {"threshold": cut} for name, cut in world.thresholds.items()},
            world.reward_network,
            world.finished,
            method,
            "needed",
            world.evaluation,
            world.segmenter,
            world.actions,
            list(world.objective),
            **world.policies,
            **{f"{name}_networks": kept for name, kept in world.trained.items()},
        )

    if method == "imported":  # who asks for it by its name is told
        with pytest.raises(VesselrlError, match="its masks were made elsewhere"):
            made()
        return
    assert made()["name"] == "supervised"
    assert "‘imported’, which cannot be applied to new images; ‘supervised’" in caplog.text


def test_a_named_method_goes_before_the_recommended_one(world, tmp_path):
    outputs, _ = recipe_of(world, tmp_path, method="fold_ensemble")
    assert outputs["recipe_check"].load()["method"] == "fold_ensemble"


def test_few_validation_patients_are_told_with_the_number_that_is_needed(world, tmp_path, caplog):
    outputs, _ = recipe_of(world, tmp_path, coverage=0.95)
    assert "Groups of validation images: 4." in caplog.text
    assert "needs 19" in caplog.text
    assert outputs["recipe_check"].load()["width"] == 1


def test_without_validation_images_nothing_is_promised(world, tmp_path):
    class WithoutValidation(World):
        def __init__(self):
            super().__init__()
            self.samples = self.samples[self.samples["split"] != "val"]

    with pytest.raises(VesselrlError, match="no validation images.*split.fractions.val"):
        recipe_of(WithoutValidation(), tmp_path)


def test_every_image_gets_a_mask_and_a_row_or_a_reason(world, finished, new_images):
    folder = run(world, finished, new_images)
    quality = pd.read_csv(folder / "quality.csv")
    assert list(quality.columns) == QUALITY_COLUMNS
    assert list(quality["dice"]) == sorted(quality["dice"])
    refused = pd.read_csv(folder / "quarantine.csv").set_index("file")
    assert set(refused.index) == {"broken.png", "large.png"}
    assert (
        "larger" in refused.at["large.png", "reason"]
        or "too large" in refused.at["large.png", "reason"]
    )
    predictor = Predictor(Recipe.from_state(finished[1].load("recipe"), world.segmenter))
    for sample in world.of_split("test"):
        expected = predictor.predict(world.drawn[sample][0])
        row = quality.set_index("file").loc[f"Doe {sample}.png"]
        assert row["dice"] == pytest.approx(expected.dice, abs=1e-6)
        assert (row["width"], row["height"]) == (64, 64)
        assert row["segmenter_calls"] == 1
        for kind in ("masks", "errors", "probabilities"):
            assert (folder / "predict" / kind / f"Doe {sample}.png").is_file()
        mask = read_mask(folder / f"predict/masks/Doe {sample}.png")
        assert np.array_equal(mask, expected.mask)


@pytest.mark.parametrize(
    "name",
    ["x" * 251, "é" * 125, "-rf", "=1+1", "a'b\"c", "造影 🫀", "CON", "zip::c", "#?*[x]", "%2e%2e",
     "a. ", "<script>alert(1)<", "${oc.env:HOME}", "{{ 7 * 7 }}", "nul\\0"],
)  # fmt: skip
def test_an_image_of_any_name_gets_its_mask(world, finished, new_images, name):
    (new_images / f"Doe {world.of_split('test')[0]}.png").rename(new_images / f"{name}.png")
    folder = run(world, finished, new_images)
    quality = pd.read_csv(folder / "quality.csv", dtype=str, keep_default_na=False)
    row = quality.set_index("file").loc[f"{name}.png"]
    assert not row["error"]
    assert (folder / f"predict/masks/{row['image']}.png").is_file()
    assert (folder / f"labelme/{row['image']}.json").is_file()
    assert len(row["image"].encode()) <= 200


@pytest.mark.parametrize(
    "name", ["two\nlines", "a\rb", "tab\tx", "\x1b[31mred", "a\u2028b", "C:x", "not\udcffutf8"]
)
def test_a_name_that_no_table_can_hold_is_in_the_quarantine(world, finished, new_images, name):
    Image.new("L", (64, 64)).save(new_images / f"{name}.png", "PNG")
    folder = run(world, finished, new_images)
    assert len(pd.read_csv(folder / "quality.csv")) == len(world.of_split("test"))
    refused = pd.read_csv(folder / "quarantine.csv", lineterminator="\n")
    assert len(refused) == 3
    told = refused[~refused["file"].isin(["broken.png", "large.png"])].iloc[0]
    assert "control character" in told["reason"] or "absolute path" in told["reason"]
    assert told["file"].isprintable()


def masks_in(raw_dir):
    """File → mask, as ``ingest`` reads the folder."""
    from vesselrl.annotations.acceptance import read_sample
    from vesselrl.annotations.folder import ImageFolder

    source, images = open_source(raw_dir), ImageFolder(raw_dir / "images")
    return {e["image"]: read_sample(e, images, 10_000, source.masks).mask for e in source}


@pytest.mark.parametrize("name", ["annotations.json", "coco.json"])
def test_annotations_give_back_every_mask(world, finished, new_images, name, tmp_path):
    folder = run(world, finished, new_images)
    raw_dir = tmp_path / "raw"
    shutil.copytree(new_images, raw_dir / "images")
    shutil.copy(folder / name, raw_dir / "annotations.json")
    found = masks_in(raw_dir)
    assert set(found) == {f"Doe {sample}.png" for sample in world.of_split("test")}
    for file, mask in found.items():
        assert np.array_equal(mask, read_mask(folder / "predict/masks" / file))


def test_what_is_corrected_in_labelme_is_a_label_of_the_next_training(
    world, finished, new_images, tmp_path
):
    folder = run(world, finished, new_images)
    raw_dir = tmp_path / "raw"
    (raw_dir / "images").mkdir(parents=True)
    Image.fromarray(world.drawn["train0"][0]).save(raw_dir / "images/old.png")
    square = [4, 4, 9, 4, 9, 9, 4, 9]
    (raw_dir / "annotations.json").write_text(json.dumps([{"image": "old.png", "mask": [square]}]))
    # somebody opens one of the files in LabelMe, draws anew, unticks the flag and saves ...
    first, *others = sorted((folder / "labelme").glob("*.json"))
    document = json.loads(first.read_text())
    document["shapes"] = [
        {"label": "vessel", "shape_type": "polygon", "points": [[1, 1], [6, 1], [6, 6], [1, 6]]}
    ]
    document["flags"] = {UNCHECKED: False}
    first.write_text(json.dumps(document))
    # ... the next prediction leaves that alone ...
    run(world, finished, new_images)
    assert json.loads(first.read_text())["shapes"] == document["shapes"]
    # ... and all of it is copied to the images of the earlier labels.
    shutil.copytree(folder / "labelme", raw_dir / "images", dirs_exist_ok=True)
    accepted, quarantine, _ = check_annotations(
        lambda *settings: open_source(raw_dir, *settings),
        NewImagesDataset(path=str(raw_dir / "images")).load(),
        {}, ChecksDataset(file=str(tmp_path / "c.tsv")).load(), bytes, False, ANNOTATIONS,
        INGEST.model_copy(update={"strict": False}),
    )  # fmt: skip
    assert set(accepted["file"]) == {"old.png", f"{first.stem}.png"}
    assert accepted["vessel_fraction"].notna().all()
    assert set(quarantine["file"]) == {f"{other.stem}.png" for other in others}
    assert set(quarantine["field"]) == {"flags"}


def test_names_stay_in_the_private_folder(world, finished, new_images):
    folder = run(world, finished, new_images, pseudonymise=True)
    told = [f for f in folder.rglob("*") if f.is_file() and "00_private" not in f.parts]
    assert len(told) > 10
    for file in told:
        assert "Doe" not in file.name
        assert b"Doe" not in file.read_bytes()
    names = json.loads((folder / "00_private/names.json").read_text())["files"]
    assert {f"Doe {sample}.png" for sample in world.of_split("test")} <= set(names.values())
    assert set(pd.read_csv(folder / "quality.csv")["file"]) <= set(names)


def test_other_formats_are_written_only_on_request(world, finished, new_images):
    folder = run(world, finished, new_images)
    assert (folder / "coco.json").exists()
    run(world, finished, new_images, formats=[])
    assert not (folder / "coco.json").exists()
    assert not list((folder / "labelme").glob("*.json"))


def test_an_image_that_went_leaves_no_mask_and_a_new_one_gets_one(world, finished, new_images):
    folder = run(world, finished, new_images)
    first, second, _ = sorted(new_images.glob("Doe*"))
    times = {p: p.stat().st_mtime_ns for p in (folder / "predict/masks").iterdir()}
    first.unlink()
    shutil.copy(second, new_images / "again.png")
    run(world, finished, new_images)
    left = {p.name: p for p in (folder / "predict/masks").iterdir()}
    assert first.name not in left
    assert "again.png" in left
    assert left[second.name].stat().st_mtime_ns == times[left[second.name]]


def test_an_empty_folder_stops_with_a_sentence(world, finished, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(VesselrlError, match="input_dir holds no"):
        run(world, finished, tmp_path / "in")
