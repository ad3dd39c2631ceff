"""Words, documents and the files that keep them."""

import base64
import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from vesselrl.datasets.figure import FigureDataset
from vesselrl.datasets.text import HtmlDataset
from vesselrl.report import words
from vesselrl.report.document import (
    Bullets,
    Callout,
    Code,
    Document,
    Paragraph,
    Picture,
    Section,
    Table,
    Tile,
    Tiles,
)
from vesselrl.report.render import render_html, render_markdown

DOCUMENT = Document(
    "A & B",
    "<i>x</i>",
    (
        Section(
            "one",
            "One | two",
            (
                Paragraph("a_b *c*"),
                Callout("stop", "warning"),
                Bullets(("first", "second")),
                Tiles((Tile("Dice", "0.8", "fine"),)),
                Code("a: <b>\nc: 1", title="Configuration"),
                Table(("Name", "Value"), (("x|y", "1"), ("z", "2")), marked_row=1, note="so"),
                Picture(b"png", "f.png", "a figure", "the caption"),
            ),
        ),
    ),
)


def test_every_kind_of_block_reaches_both_renderings() -> None:
    html, markdown = render_html(DOCUMENT), render_markdown(DOCUMENT)
    for text in ("stop", "second", "0.8", "Configuration", "so", "the caption", "c: 1"):
        assert text in html
        assert text in markdown


def test_html_escapes_and_inlines() -> None:
    html = render_html(DOCUMENT)
    assert "<h1>A &amp; B</h1>" in html
    assert "&lt;i&gt;x&lt;/i&gt;" in html
    assert f"data:image/png;base64,{base64.b64encode(b'png').decode()}" in html
    assert '<tr class="marked"><td>z</td><td class="number">2</td></tr>' in html


def test_markdown_keeps_cells_and_marks_apart() -> None:
    markdown = render_markdown(DOCUMENT)
    assert "# A &amp; B" in markdown
    assert "a\\_b \\*c\\*" in markdown
    assert "| --- | ---: |\n| x\\|y | 1 |\n| z | 2 |" in markdown
    assert "![a figure](figures/f.png)" in markdown
    assert "    a: <b>\n    c: 1" in markdown


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.signed_points(0.0123), "+1.2"),
        (words.signed_points(-0.0123), "−1.2"),
        (words.points_interval(-0.0001, 0.02), "0.0 to 2.0"),
        (words.points_interval(-0.105, -0.0004), "−10.5 to 0.0"),
        (words.decimal(float("nan")), "–"),
        (words.decimal(-0.05), "−0.050"),
        (words.p_value(0.0002), "<0.001"),
        (words.significant(0.0213), "0.021"),
        (words.counted(1, "image"), "1 image"),
        (words.counted(1200, "image"), "1,200 images"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
        (words.listed(["a"]), "a"),
    ],
)
def test_numbers_and_lists_read_well(shown: str, expected: str) -> None:
    assert shown == expected


def test_page_is_kept_and_previewed(tmp_path: Path) -> None:
    dataset = HtmlDataset(filepath=str(tmp_path / "deep" / "page.html"))
    assert not dataset.exists()
    dataset.save("<p>naïve</p>")
    assert dataset.load() == dataset.preview() == "<p>naïve</p>"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["page.html"]


def test_figure_is_saved_as_a_picture_and_loaded_as_its_bytes(tmp_path: Path) -> None:
    dataset = FigureDataset(filepath=str(tmp_path / "figure.png"), dots_per_inch=50)
    dataset.save(Figure(figsize=(2, 1)))
    assert Image.open(io.BytesIO(dataset.load())).size == (100, 50)
    assert base64.b64decode(dataset.preview()) == dataset.load()
