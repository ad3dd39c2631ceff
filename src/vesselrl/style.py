"""Colours and type of the figures: Okabe and Ito's palette, told apart by the colour-blind."""

from typing import Any

BLUE, SKY, ORANGE, VERMILLION, GREEN, YELLOW, PURPLE = (
    "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#F0E442", "#CC79A7",
)  # fmt: skip
INK, GREY, FAINT = "#1f2328", "#7d858d", "#dfe3e7"
GROUND, PAPER = "#14171a", "#e8ebee"
"""Behind photographs, and of the words there."""
PARTS = {
    "vessel found": SKY,
    "marked, but no vessel": YELLOW,
    "vessel missed": VERMILLION,
}
"""Part of a mask (true positive, false positive, false negative) → its colour."""

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
