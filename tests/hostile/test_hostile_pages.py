"""The report with hostile texts, in a real browser: nothing of them runs, and it looks as ever."""

import base64
import hashlib
import html
import io
import re

import pytest
from PIL import Image

from vesselrl.report import document as report
from vesselrl.report.render import render_html

HOSTILE = (
    "<script>document.title = 'ran'</script>",
    "</script><script>document.title = 'ran'</script>",
    "</style><script>document.title = 'ran'</script>",
    "<img src=x onerror=\"document.title = 'ran'\">",
    '" onerror="document.title = \'ran\'" x="',
    "' onmouseover='document.title = `ran`",
    "javascript:document.title='ran'",
    "<a href=\"javascript:document.title='ran'\">click</a>",
    "<svg onload=\"document.title = 'ran'\">",
    "<style>body { display: none }</style>",
    '<meta http-equiv="refresh" content="0;url=about:blank">',
    '<base href="http://example.com/">',
    "<!--",
    "{{ 7 * 7 }}{% raw %}",
)


def document(texts):
    stream = io.BytesIO()
    Image.new("L", (64, 48), 90).save(stream, "PNG")
    blocks = [
        block
        for text in texts
        for block in (
            report.Paragraph(text), report.Callout(text, "warning"), report.Bullets((text,)),
            report.Code(text, title=text), report.Code(text),
            report.Tiles((report.Tile(text, text, text),)),
            report.Table((text, text), ((text, text),), marked_row=0, note=text),
            report.Picture(stream.getvalue(), f"{text}.png", text, text, photographs=True),
        )
    ]  # fmt: skip
    section = report.Section("one", " ".join(texts), tuple(blocks))
    return report.Document("Report", " ".join(texts), (section,))


def test_only_the_reports_own_style_is_allowed_and_no_script():
    text = render_html(document(["fine"]))
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    style = text[text.index("<style>") + len("<style>") : text.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    directives = dict(part.split(maxsplit=1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["style-src"] == f"'sha256-{digest}'"
    assert directives["img-src"] == "data:"
    assert "script-src" not in directives
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]*\sstyle=", text)


@pytest.fixture
def opened(browser, tmp_path):
    def open_page(*texts):
        (tmp_path / "report.html").write_text(render_html(document(texts)), encoding="utf-8")
        browser.get_log("browser")  # of earlier pages
        browser.get((tmp_path / "report.html").as_uri())
        return browser

    return open_page


def test_nothing_of_a_hostile_text_runs_in_the_report(opened):
    browser = opened(*HOSTILE)
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.title == "Report"
    count = "return document.querySelectorAll('script, a[href^=javascript], svg, base').length"
    assert browser.execute_script(count) == 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    shown = [one.get_attribute("textContent") for one in browser.find_elements("tag name", "li")]
    assert set(HOSTILE) <= set(shown)


def test_the_report_is_drawn_under_its_policy(opened):
    browser = opened("fine")
    image = browser.find_element("tag name", "img")
    assert browser.execute_script("return arguments[0].naturalWidth", image) == 64
    tile = browser.find_element("class name", "tile")
    assert tile.value_of_css_property("border-top-style") == "solid"  # its style sheet holds


def test_the_policy_stops_a_script_that_should_get_in(browser, tmp_path):
    text = render_html(document(["HERE"]))
    for hostile in (
        "<script>document.title='ran'</script>",
        "<img src=x onerror=document.title='ran'>",
    ):
        (tmp_path / "broken.html").write_text(text.replace("HERE", hostile), encoding="utf-8")
        browser.get((tmp_path / "broken.html").as_uri())
        assert browser.title == "Report"
