"""Numbers and lists as a reader expects them in running text and tables."""

import re
from collections.abc import Sequence

import numpy as np

NOTHING = "–"
SCORE_NAMES = {
    "dice": "Dice",
    "recall": "Recall",
    "precision": "Precision",
    "iou": "IoU",
    "cldice": "clDice",
    "hd95": "HD95 [px]",
    "thin_recall": "Recall, thin vessels",
    "thick_recall": "Recall, thick vessels",
    "components_error": "Regions too many or too few",
}


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
    return _minus(f"{100 * low:.1f} to {100 * high:.1f}")


def p_value(p: float) -> str:
    """A p-value, never zero: resampling cannot show that."""
    return "<0.001" if p < 0.001 else decimal(p)


def p_of(p: float) -> str:
    """A p-value in running text: ``p = 0.020``, ``p < 0.001``."""
    return f"p {p_value(p).replace('<', '< ')}" if p < 0.001 else f"p = {p_value(p)}"


def significant(value: float) -> str:
    """A cost in two significant digits; a dash where it is unknown."""
    if np.isnan(value):
        return NOTHING
    return f"{value:.2g}" if abs(value) < 100 else f"{value:,.0f}"


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def objective_name(objective: Sequence[str]) -> str:
    """The objective in words: ``mean of Dice and recall``."""
    names = [
        score if score in ("recall", "precision") else SCORE_NAMES[score] for score in objective
    ]
    return names[0] if len(names) == 1 else f"mean of {listed(names)}"
