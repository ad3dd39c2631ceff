"""Numbers and lists as a reader expects them in running text and tables."""

import re
from collections.abc import Sequence

import numpy as np

from vesselrl.report.language import mark, say

NOTHING = "–"
SCORE_NAMES = {
    "dice": mark("Dice"),
    "recall": mark("Recall"),
    "precision": mark("Precision"),
    "iou": mark("IoU"),
    "cldice": mark("clDice"),
    "hd95": mark("HD95 [px]"),
    "thin_recall": mark("Recall, thin vessels"),
    "thick_recall": mark("Recall, thick vessels"),
    "components_error": mark("Regions too many or too few"),
}
IN_TEXT = {"recall": mark("recall"), "precision": mark("precision")}
"""Scores that running text calls otherwise."""


def _minus(text: str) -> str:
    """A typographic minus sign, and none before a zero."""
    return re.sub(r"-(?=0\.?0*(?![\d.]))", "", text).replace("-", "−")


def decimal(value: float, digits: int = 3) -> str:
    """A number with a fixed count of decimals; a dash where there is none."""
    return _minus(f"{value:.{digits}f}") if np.isfinite(value) else NOTHING


def with_interval(mean: float, low: float, high: float) -> str:
    """A score and its confidence interval: ``0.812 (0.790–0.834)``."""
    return f"{mean:.3f} ({low:.3f}–{high:.3f})"


def signed_points(value: float) -> str:
    """A difference of scores in hundredths with its sign: ``+1.2``."""
    return _minus(f"{100 * value:+.1f}")


def points_interval(low: float, high: float) -> str:
    """An interval of differences in hundredths: ``−0.3 to 1.8``."""
    return _minus(say("{low} to {high}", low=f"{100 * low:.1f}", high=f"{100 * high:.1f}"))


def p_value(p: float) -> str:
    """A p-value, never zero: resampling cannot show that."""
    return "<0.001" if p < 0.001 else decimal(p)


def p_of(p: float) -> str:
    """A p-value in running text: ``p = 0.020``, ``p < 0.001``."""
    return f"p {p_value(p).replace('<', '< ')}" if p < 0.001 else f"p = {p_value(p)}"


def significant(value: float) -> str:
    """A cost in two significant digits; a dash where it is not known."""
    if not np.isfinite(value):
        return NOTHING
    return f"{value:.2g}" if abs(value) < 100 else f"{value:,.0f}"


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    message = f"{{n}} {noun}" if number == 1 else f"{{n}} {noun}s"
    return say(message, n=f"{number:,}")


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return say("{first} and {last}", first=say(", ").join(names[:-1]), last=names[-1])


def score_names(scores: Sequence[str]) -> str:
    """Scores as running text calls them: ``Dice and recall``."""
    return listed([say(IN_TEXT.get(score, SCORE_NAMES[score])) for score in scores])


def objective_name(objective: Sequence[str]) -> str:
    """The objective in words: ``mean of Dice and recall``."""
    names = score_names(objective)
    return names if len(objective) == 1 else say("mean of {scores}", scores=names)


def params_of_run(quick: bool) -> str:
    """What commands must be given to meet this run's data and results."""
    paths = say("raw_dir=<images and annotations>,out_dir=<results>")
    return f"--params {paths}{',quick:true' if quick else ''}"
