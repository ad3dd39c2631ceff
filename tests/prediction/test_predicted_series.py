"""From a folder with series to masks, moving pictures and the page on which they are checked."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from PIL import Image

from finished_world import World, draw
from vesselrl.annotations.parameters import AnnotationsParameters, IngestParameters
from vesselrl.annotations.pictures import count_frames
from vesselrl.distributed.parameters import RayParameters
from vesselrl.errors import VesselrlError
from vesselrl.pipelines.predict import create_pipeline
from vesselrl.prediction.parameters import PredictParameters
from vesselrl.prediction.recipe import write_recipe
from vesselrl.report.parameters import ReportParameters

CONF = Path(__file__).parents[2] / "conf/base"
FRAMES = 4
INGEST = IngestParameters(strict=False, max_pixels=10_000, unannotated="ignore", workers=1)
ANNOTATIONS = AnnotationsParameters(format="auto", max_json_mb=1)


@pytest.fixture
def images(tmp_path):
    """Two images, a file of several frames and a folder of as many."""
    folder = tmp_path / "Oduya Marguerite"
    (folder / "run 7").mkdir(parents=True)
    drawn = [Image.fromarray(draw(number)[0]) for number in range(2 + 2 * FRAMES)]
    for number in range(2):
        drawn[number].save(folder / f"alone{number}.png")
    first, *more = drawn[2 : 2 + FRAMES]
    first.save(folder / "Oduya.tif", save_all=True, append_images=more)
    for number in range(FRAMES):
        drawn[2 + FRAMES + number].save(folder / "run 7" / f"f{number + 8}.png")
    return folder


@pytest.fixture
def predict(world, images, tmp_path):
    """Runs the pipeline as conf keeps what it makes; gives the folder of the predictions."""
    text = (CONF / "catalog_predict.yml").read_text()
    places = {"${_out_dir}": str(tmp_path / "out"), "${_input_dir}": str(images)}
    for name, place in places.items():
        text = text.replace(name, place)
    defaults = yaml.safe_load((CONF / "parameters_predict.yml").read_text())["predict"]
    recipe = write_recipe("best_of_n", World.evaluation.methods, world.stock).state()

    def run(pseudonymise=False, formats=(), language="en", **series) -> Path:
        settings = defaults | {"formats": formats, "series": defaults["series"] | series}
        catalog = DataCatalog.from_config(yaml.safe_load(text))
        for name, value in {
            "recipe": recipe,
            "pseudonym_key": lambda: b"k" * 32,
            "params:pseudonymise": pseudonymise,
            "params:annotations": ANNOTATIONS,
            "params:ingest": INGEST,
            "params:segmenter": World.segmenter,
            "params:predict": PredictParameters(**settings),
            "params:report": ReportParameters(language=language),
            "params:ray": RayParameters(num_workers=0, gpus_per_worker=0, address=None),
        }.items():
            catalog[name] = value
        SequentialRunner().run(create_pipeline(), catalog)
        return tmp_path / "out/07_model_output/predict"

    return run


def quality(made: Path) -> pd.DataFrame:
    return pd.read_csv(made / "quality.csv", keep_default_na=False).set_index("image")


def test_every_frame_has_its_mask_its_picture_and_its_row(predict):
    made = predict(folders=True)
    numbers = range(1, FRAMES + 1)
    expected = {"alone0": "alone0.png", "alone1": "alone1.png"}
    expected |= {f"Oduya_{n:04}": f"Oduya_{n:04}.png" for n in numbers}
    expected |= {f"run 7_{n:04}": f"run 7/f{n + 7}.png" for n in numbers}
    table = quality(made)
    assert table["file"].to_dict() == expected
    assert (table["error"] == "").all()
    for kind in ("masks", "errors", "review"):
        assert {file.stem for file in (made / kind).glob("*.png")} == set(expected)
    with Image.open(made / "review/Oduya_0003.png") as shown:
        assert np.array_equal(np.array(shown), draw(4)[0])
    page = (made / "review.html").read_text()
    assert all(f'"{name}"' in page for name in expected)


def test_each_series_becomes_a_moving_picture(predict):
    assert not list(predict(animation=None).glob("series/*"))
    made = predict(folders=True)
    shown = {file.name: count_frames(file.read_bytes(), 10_000) for file in made.glob("series/*")}
    assert shown == {"Oduya.gif": FRAMES, "run 7.gif": FRAMES}


def test_what_cannot_be_animated_is_told_before_anything_is_predicted(
    predict, images, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VesselrlError, match=r"vesselrl\[video\]"):
        predict(animation="mp4")
    assert not (tmp_path / "out/07_model_output").exists()
    (images / "Oduya.tif").unlink()  # without a series there is nothing to animate
    assert len(list((predict(animation="mp4") / "masks").iterdir())) == 2 + FRAMES


def test_frames_are_predicted_again_only_if_what_they_choose_by_changes(predict):
    def masks(**series):
        made = predict(**series)
        return {file.stem: file.stat().st_mtime_ns for file in (made / "masks").glob("*.png")}

    first = masks(window=3)
    assert masks(window=3) == first
    second = masks(window=1)
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {f"Oduya_{n:04}" for n in range(1, FRAMES + 1)}


def test_a_folder_is_no_series_unless_asked_for(predict):
    made = predict(language="zh")
    assert "预测掩膜的复核" in (made / "review.html").read_text()  # as the report
    assert {f"f{n + 8}" for n in range(FRAMES)} < set(quality(made).index)
    assert [file.name for file in made.glob("series/*")] == ["Oduya.gif"]


def test_names_of_series_stay_in_the_hospital(predict):
    made = predict(pseudonymise=True, folders=True, formats=["labelme", "coco"])
    out = made.parents[1]
    assert len(list(made.glob("series/img-*.gif"))) == 2
    for file in out.rglob("*"):
        if "00_private" not in file.parts and file.is_file():
            assert "Oduya" not in str(file.relative_to(out))
            assert b"Oduya" not in file.read_bytes(), file


def test_a_window_without_a_middle_is_refused():
    series = {"folders": False, "window": 4, "animation": None, "frames_per_second": 15}
    with pytest.raises(ValueError, match="odd number"):
        PredictParameters.model_validate(
            yaml.safe_load((CONF / "parameters_predict.yml").read_text())["predict"]
            | {"series": series}
        )
