import base64
import io
import time

import numpy as np
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure
from PIL import Image

from vesselrl.datasets.figure import FigureDataset


def figure(height=1.0):
    drawn = Figure(figsize=(3, 2))
    drawn.subplots().plot([0, 1], [0, height])
    return drawn


def test_the_same_figure_gives_the_same_bytes_at_any_time(tmp_path, monkeypatch):
    one, other, third = (FigureDataset(filepath=str(tmp_path / f"{i}.png")) for i in range(3))
    one.save(figure())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    other.save(figure())
    third.save(figure(height=2.0))
    assert one.load() == other.load()
    assert one.load() != third.load()


def test_a_figure_loads_as_the_png_that_was_written(tmp_path):
    file = FigureDataset(filepath=str(tmp_path / "deep" / "x.png"), dots_per_inch=50)
    assert not file.exists()
    file.save(figure())
    assert file.exists()
    assert file.load() == (tmp_path / "deep" / "x.png").read_bytes()
    assert Image.open(io.BytesIO(file.load())).size == (150, 100)


def test_kedro_viz_shows_the_picture(tmp_path):
    file = FigureDataset(filepath=str(tmp_path / "x.png"))
    file.save(figure())
    assert base64.b64decode(file.preview()) == file.load()


def test_a_figure_that_cannot_be_drawn_leaves_the_former_one(tmp_path):
    file = FigureDataset(filepath=str(tmp_path / "x.png"))
    file.save(figure())
    before = file.load()
    broken = figure()
    broken.axes[0].set_title("$\\unknown{$")
    with pytest.raises(Exception, match="unknown"):
        file.save(broken)
    assert file.load() == before
    assert [one.name for one in tmp_path.iterdir()] == ["x.png"]


def test_pixels_are_those_of_the_figure(tmp_path):
    file = FigureDataset(filepath=str(tmp_path / "x.png"), dots_per_inch=50)
    drawn = Figure(figsize=(1, 1), facecolor="black")
    file.save(drawn)
    pixels = np.asarray(Image.open(io.BytesIO(file.load())).convert("L"))
    assert pixels.shape == (50, 50)
    assert not pixels.any()


def test_an_optional_figure_that_was_not_drawn_loads_as_no_bytes(tmp_path) -> None:
    path = str(tmp_path / "figure.png")
    assert FigureDataset(filepath=path, metadata={"optional": True}).load() == b""
    with pytest.raises(DatasetError, match="No such file"):
        FigureDataset(filepath=path).load()
