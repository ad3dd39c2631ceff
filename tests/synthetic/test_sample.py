"""The embedded sample is what the pipeline ``sample`` draws."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from PIL import Image, ImageDraw

from vesselrl.pipelines.sample import create_pipeline
from vesselrl.pipelines.sample.nodes import draw_sample
from vesselrl.synthetic.angiogram import draw_patient
from vesselrl.synthetic.parameters import SampleParameters

PROJECT = Path(__file__).parents[2]
SAMPLE = PROJECT / "data" / "01_raw" / "sample"
PATIENT = 3


@pytest.fixture(scope="module")
def parameters() -> SampleParameters:
    text = (PROJECT / "conf" / "base" / "parameters_sample.yml").read_text(encoding="utf-8")
    return SampleParameters(**yaml.safe_load(text)["sample"])


@pytest.fixture(scope="module")
def annotations() -> dict[str, list[list[int]]]:
    entries = json.loads((SAMPLE / "annotations.json").read_text(encoding="utf-8"))
    return {entry["image"]: entry["mask"] for entry in entries}


def filled(polygons: list[Any], size: int) -> np.ndarray:
    picture = Image.new("L", (size, size))
    draw = ImageDraw.Draw(picture)
    for polygon in polygons:
        draw.polygon(polygon, fill=255)
    return np.array(picture) > 0


def test_the_embedded_sample_is_drawn_again_to_the_bit(
    parameters: SampleParameters, annotations: dict[str, list[list[int]]]
) -> None:
    seed = parameters.seed + PATIENT - 1
    drawn = draw_patient(seed, parameters.frames, parameters.size)
    for frame, angiogram in enumerate(drawn, start=1):
        name = f"p{PATIENT:02}_f{frame}.png"
        with Image.open(SAMPLE / "images" / name) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image), angiogram.image)
        np.testing.assert_array_equal(filled(annotations[name], parameters.size), angiogram.mask)


def test_every_embedded_image_is_annotated(
    parameters: SampleParameters, annotations: dict[str, list[list[int]]]
) -> None:
    assert {path.name for path in (SAMPLE / "images").iterdir()} == set(annotations)
    assert len(annotations) == parameters.patients * parameters.frames


def test_the_embedded_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 2_500_000


def test_polygons_give_back_the_masks() -> None:
    parameters = SampleParameters(seed=5, patients=2, frames=2, size=96)
    images, annotations = draw_sample(parameters)
    masks = [a.mask for seed in (5, 6) for a in draw_patient(seed, frames=2, size=96)]
    assert list(images) == ["p01_f1", "p01_f2", "p02_f1", "p02_f2"]
    assert [entry["image"] for entry in annotations] == [f"{name}.png" for name in images]
    for entry, mask in zip(annotations, masks, strict=True):
        np.testing.assert_array_equal(filled(entry["mask"], 96), mask)


def test_the_pipeline_writes_images_and_annotations_into_sample_dir(tmp_path: Path) -> None:
    configuration = OmegaConfigLoader(
        str(PROJECT / "conf"),
        base_env="base",
        default_run_env="base",
        runtime_params={"sample_dir": str(tmp_path)},
        config_patterns={"catalog": ["catalog.yml", "catalog_sample*"]},
    )
    catalog = DataCatalog.from_config(configuration["catalog"])
    parameters = SampleParameters(seed=5, patients=1, frames=2, size=96)
    catalog["params:sample"] = MemoryDataset(parameters)
    SequentialRunner().run(create_pipeline(), catalog)
    entries = json.loads((tmp_path / "annotations.json").read_text(encoding="utf-8"))
    for entry, angiogram in zip(entries, draw_patient(5, frames=2, size=96), strict=True):
        with Image.open(tmp_path / "images" / entry["image"]) as image:
            np.testing.assert_array_equal(np.array(image), angiogram.image)
