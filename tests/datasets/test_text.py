import pytest
from kedro.io import DatasetError

from vesselrl.datasets.text import HtmlDataset, TextDataset

WORDS = "Dice 0,9 ± 0.1 · “naïve” — 血管\r\nnext\n"


@pytest.mark.parametrize("kind", [TextDataset, HtmlDataset])
def test_text_comes_back_to_the_letter(tmp_path, kind):
    file = kind(filepath=str(tmp_path / "deep" / "x"))
    assert not file.exists()
    file.save(WORDS)
    assert file.exists()
    assert (tmp_path / "deep" / "x").read_bytes() == WORDS.encode()


def test_line_ends_read_alike(tmp_path):
    file = TextDataset(filepath=str(tmp_path / "x"))
    file.save(WORDS)
    assert file.load() == WORDS.replace("\r\n", "\n")


def test_what_is_no_text_leaves_the_former_text(tmp_path):
    file = TextDataset(filepath=str(tmp_path / "x"))
    file.save("before")
    with pytest.raises(DatasetError):
        file.save(b"bytes")
    assert file.load() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_kedro_viz_shows_a_page(tmp_path):
    file = HtmlDataset(filepath=str(tmp_path / "x.html"))
    file.save("<p>Dice</p>")
    assert file.preview() == "<p>Dice</p>"
