"""The page on which masks are checked: what it holds, and what it does not let in."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vesselrl.prediction.review import render_review

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "a'b\"c&amp;",
    "two\nlines\r\u2028end",
    "../../etc/passwd",
    "造影 🫀",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
)


def quality(*names: str) -> pd.DataFrame:
    """A table with a row for each name, the last of which failed if there are several."""
    count = len(names)
    table = pd.DataFrame(
        {
            "image": names,
            "file": [f"{name}.png" for name in names],
            "width": 64,
            "height": 48,
            "dice": np.linspace(0.41237, 0.9, count),
            "dice_low": 0.2,
            "dice_high": 0.95,
            "recall": 0.7,
            "precision": 0.6,
            "out_of_distribution": 0.5,
            "prompt": ["fine" if n % 2 else "coarse" for n in range(count)],
            "threshold": 0.4,
            "operations": "keep",
            "segmenter_calls": 1,
            "seconds": 0.25,
            "error": "",
        }
    )
    if count > 1:
        scores = ["dice", "dice_low", "dice_high", "recall", "precision", "prompt", "threshold"]
        table.loc[count - 1, scores] = None
        table.loc[count - 1, "error"] = "The segmenter <failed>"
    return table


def render(*names: str, share=0.05, labelme="labelme", language="en") -> str:
    return render_review(quality(*names), share, 0.9, 9, labelme, language)


class Page(HTMLParser):
    """The elements of a page, as a browser parses it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        self._open.append("data" if found.get("id") == "data" else tag)

    def handle_data(self, data):
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data

    def handle_endtag(self, tag):
        if self._open:
            self._open.pop()

    @property
    def data(self) -> dict:
        return json.loads(self.texts["data"])

    @property
    def policy(self) -> str:
        (policy,) = (a["content"] for t, a in self.elements if t == "meta" and "http-equiv" in a)
        return str(policy)


def rows(page: Page) -> list[dict]:
    return [dict(zip(page.data["columns"], row, strict=True)) for row in page.data["rows"]]


def test_the_page_holds_every_row_in_its_order():
    page = Page(render("b", "a", "broken"))
    first, second, third = rows(page)
    assert [row["image"] for row in (first, second, third)] == ["b", "a", "broken"]
    assert first["dice"] == 0.4124
    assert page.data["decisions"][first["decision"]] == ["coarse", 0.4, "keep"]
    assert page.data["decisions"][second["decision"]] == ["fine", 0.4, "keep"]
    assert third["dice"] is None
    assert third["error"] == "The segmenter <failed>"


def test_the_most_doubtful_are_a_share_of_all_rounded_up():
    names = [f"i{n}" for n in range(21)]
    assert Page(render(*names, share=0.05)).data["urgent"] == 2
    assert Page(render(*names, share=0)).data["urgent"] == 0


def test_only_the_pages_own_script_and_style_are_allowed():
    text = render("a", "b")
    page = Page(text)
    for kind in ("script", "style"):
        source = page.texts[kind].encode()
        digest = base64.b64encode(hashlib.sha256(source).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page.policy
    assert "default-src 'none'" in page.policy
    assert "unsafe" not in page.policy
    assert not any(name.startswith("on") or name == "style" for _, a in page.elements for name in a)
    assert "://" not in text


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@example("".join(HOSTILE))
def test_a_name_changes_nothing_but_the_data(name):
    usual, odd = Page(render("a", "b")), Page(render(name, "b"))
    assert odd.elements == usual.elements
    assert rows(odd)[0]["image"] == name
    assert {k: v for k, v in odd.texts.items() if k != "data"} == {
        k: v for k, v in usual.texts.items() if k != "data"
    }


def test_an_error_and_a_prompt_are_data_too():
    table = quality("a", "b")
    table["error"], table["prompt"] = "</script><script>alert(1)", "<b>"
    page = Page(render_review(table, 0.05, 0.9, 9, None, "en"))
    assert page.elements == Page(render("a", "b")).elements
    assert page.data["decisions"][0][0] == "<b>"


def test_the_page_speaks_chinese():
    text = render("a", "b", language="zh")
    page = Page(text)
    assert page.elements[0] == ("html", {"lang": "zh-Hans"})
    words = json.dumps(page.data["texts"], ensure_ascii=False) + page.texts["h1"] + page.texts["dd"]
    words = re.sub(r"\{\w+\}", "", words)
    keys = set(page.data["texts"]) | set(page.data["texts"]["filters"])
    english = set(re.findall(r"[A-Za-z_]{2,}", words)) - keys
    assert english == {"Dice", "LabelMe", "predict", "formats"}


def test_a_page_of_ten_thousand_images_stays_small():
    text = render(*(f"patient{n:05d}_frame{n % 40:02d}" for n in range(10_000)))
    assert len(text) < 1.5e6


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    channels = np.array(list(bytes.fromhex(colour[1:]))) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("screen", ["light", "dark"])
def test_text_stands_out_from_its_ground(screen):
    style = Page(render("a")).texts["style"]
    places = re.findall(r"--([\w-]+): (#[0-9a-f]{6});", style)
    light, dark = dict(reversed(places)), dict(places)  # what is dark comes after what is light
    colours = light if screen == "light" else dark
    for text in ("ink", "soft", "accent", "warn", "good"):
        for ground in ("paper", "ground", "mark"):
            bright, dim = sorted((luminance(colours[c]) for c in (text, ground)), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, ground)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_interval_that_promises_nothing_is_explained(language):
    wide = quality("a", "b").assign(dice_low=0.0, dice_high=1.0)  # which a bad network has, too
    untold, told = (render_review(wide, 0.05, 0.9, groups, None, language) for groups in (8, 9))
    too_few = {"en": "too few validation patients", "zh": "验证患者太少"}[language]
    assert too_few not in told
    assert too_few in untold


def test_the_page_of_no_image_is_a_page():
    page = Page(render_review(quality("a")[:0], 0.05, 0.9, 9, None, "en"))
    assert page.data["rows"] == []
    assert page.data["urgent"] == 0


FILES = [name for name in HOSTILE if "/" not in name]  # what can be a file's name


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page from the disk, its pictures beside it; twice the same folder if asked again.

    Each test marks images of its own: Chromium may clear its storage late, when the next test has
    marked.
    """
    from PIL import Image

    for folder in ("review", "masks", "errors"):
        (tmp_path / folder).mkdir()
        for name in FILES:
            Image.new("L", (64, 48), 90).save(tmp_path / folder / f"{name}.png")

    def open_page(*names: str, **options):
        (tmp_path / "review.html").write_text(render(*names, **options), encoding="utf-8")
        browser.get((tmp_path / "review.html").as_uri())
        return browser

    return open_page


def press(browser, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def text(browser, element: str) -> str:
    return browser.find_element("id", element).text


def wait_for(browser, script: str):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 10).until(lambda b: b.execute_script(f"return {script}"))


def load_until(browser, words: str) -> None:
    """Load the page again until its summary ends with some words.

    To one page in a hundred that follow each other so quickly, on busy cores, Chromium shows an
    empty storage; the next one sees it all.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    def said(browser) -> bool:
        browser.refresh()
        return text(browser, "summary").endswith(words)

    WebDriverWait(browser, 10).until(said, words)


LOADED = "document.getElementById('{}').naturalWidth === 64"


def test_pictures_of_oddly_named_files_are_shown_and_their_names_do_nothing(opened):
    browser = opened(*FILES, "broken")
    press(browser, "h")
    for name in FILES:
        for layer in ("image", "contour", "heat"):
            wait_for(browser, LOADED.format(layer))
        shown = browser.execute_script("return document.getElementById('name').textContent")
        assert shown == name
        press(browser, "j")
    assert text(browser, "failure") == "The segmenter <failed>"
    assert browser.execute_script("return document.querySelectorAll('script').length") == 2
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_errors_are_shown_over_an_image_without_colour(opened):
    browser = opened(FILES[0])
    filters = []
    for _ in range(3):
        image = browser.find_element("id", "image")
        filters.append(image.value_of_css_property("filter"))
        press(browser, "h")
    assert filters == ["none", "grayscale(1)", "none"]


def test_a_name_that_leads_out_of_the_folder_shows_no_picture(opened, tmp_path):
    from PIL import Image

    Image.new("L", (64, 48)).save(tmp_path / "outside.png")
    browser = opened("../outside")
    wait_for(browser, "!document.getElementById('failure').hidden")
    assert "not there" in text(browser, "failure")


def test_keys_go_through_the_images(opened):
    browser = opened(*FILES, "broken")
    last = len(FILES) + 1
    for keys, place in (("jj", 3), ("k", 2), ("G", last), ("j", last), ("g", 1), ("k", 1)):
        press(browser, *keys)
        assert text(browser, "place") == f"{place} / {last}"
    press(browser, "c")
    assert not browser.find_element("id", "contour").is_displayed()
    press(browser, "?")
    assert browser.find_element("id", "help").is_displayed()
    press(browser, "j")  # the help is open: nothing moves
    assert text(browser, "place") == f"1 / {last}"


def test_marks_outlive_the_page_but_not_their_mask(opened, tmp_path):
    browser = opened(*FILES, share=0.5)
    press(browser, "d", "a", "a", "k", "a")  # doubtful, accepted, accepted; the last is taken back
    assert text(browser, "summary").endswith("2 are checked; 1 accepted, 1 doubtful.")
    opened(*FILES, share=0.5)
    load_until(browser, "2 are checked; 1 accepted, 1 doubtful.")
    # Of the first image the mask stays, though the choices of others are listed before its own.
    table = quality(FILES[1], FILES[0], *FILES[2:])
    table.loc[0, "prompt"], table.loc[1, ["prompt", "dice"]] = "another", ["coarse", 0.41237]
    (tmp_path / "review.html").write_text(render_review(table, 0.5, 0.9, 9, None, "en"))
    load_until(browser, "1 are checked; 0 accepted, 1 doubtful.")


def test_marks_are_saved_for_people_and_programs(opened, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    browser = opened("=1+1", FILES[3], "c")
    to = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", to)
    press(browser, "d", "a", "d")
    browser.find_element("id", "save-csv").click()
    browser.find_element("id", "save-json").click()
    table, listed = tmp_path / "marks.csv", tmp_path / "marks.json"
    WebDriverWait(browser, 10).until(lambda _: table.is_file() and listed.is_file())
    assert [(r["image"], r["mark"], r["labelme"]) for r in json.loads(listed.read_text())] == [
        ("=1+1", "doubtful", "labelme/=1+1.json"),
        (FILES[3], "accepted", f"labelme/{FILES[3]}.json"),
        ("c", "doubtful", ""),  # it failed: there is no mask to correct
    ]
    saved = pd.read_csv(table)
    assert list(saved) == ["image", "file", "mark", "dice", "labelme"]
    assert saved["image"].tolist() == ["'=1+1", FILES[3], "c"]  # no formula in a spreadsheet


def test_a_filter_shows_some_of_the_images(opened):
    from selenium.webdriver.support.ui import Select

    browser = opened("one", "two", "broken")
    press(browser, "d")
    Select(browser.find_element("id", "filter")).select_by_value("doubtful")
    assert text(browser, "place") == "1 / 1"
    Select(browser.find_element("id", "filter")).select_by_value("failed")
    assert text(browser, "name") == "broken"


def test_of_a_long_list_few_rows_are_in_the_page(opened):
    browser = opened(*(f"image{n}" for n in range(3000)))
    press(browser, "G")
    assert text(browser, "place") == "3,000 / 3,000"
    wait_for(browser, "document.querySelector('.row[aria-selected=true]') !== null")
    assert wait_for(browser, "document.querySelectorAll('.row').length") < 100


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_screen(opened, width):
    browser = opened("a" * 200, "b")
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
