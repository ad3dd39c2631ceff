"""A document as one HTML file that needs nothing else, and as Markdown."""

import base64
import hashlib
import html
import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from vesselrl.report.document import Document
from vesselrl.report.language import LANGUAGE_TAGS, say

PAGE, MARKDOWN = "report/report.html.j2", "report/report.md.j2"


def render_html(document: Document) -> str:
    """The page: figures inlined, no script, no network; every text escaped, no other style."""
    environment = templates(autoescape=True)
    environment.filters["base64"] = lambda png: base64.b64encode(png).decode()
    return environment.get_template(PAGE).render(
        document=document,
        tag=LANGUAGE_TAGS[document.language],
        contents=say("Contents"),
        style=text_of("report/theme.css") + text_of("report/report.css"),
    )


def render_markdown(document: Document) -> str:
    """The same as Markdown, with figures as files under ``figures/``."""
    environment = templates(autoescape=False)  # Markdown has an escaping of its own
    environment.filters["md"] = escape_markdown
    text = environment.get_template(MARKDOWN).render(document=document)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape_markdown(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line: ``a|b`` → ``a\|b``, ``<`` → ``&lt;``."""
    one_line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#!])", r"\\\1", one_line)


def templates(autoescape: bool) -> Environment:
    """The templates of the package, each by its path within it."""
    environment = Environment(
        loader=PackageLoader("vesselrl", ""),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["csp_hash"] = _csp_hash
    return environment


def text_of(path: str) -> str:
    """A style or a script of the package, by its path within it."""
    return (files("vesselrl") / path).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    """The source of a content security policy that allows this text alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
