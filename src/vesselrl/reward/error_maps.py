"""Where the network believes a mask to be wrong, beside where it is."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vesselrl.reward.closed_form import error_probability
from vesselrl.reward.scenes import Scene
from vesselrl.segmenters.answers import default_mask
from vesselrl.style import GROUND, PAPER, PARTS, RC

Mask = npt.NDArray[np.bool_]

ROWS = 4
COLUMNS = 4
KEYS = 0.05
"""Height of the row of keys, where an image's width is 1."""
COLOURS = "magma"
"""Of probabilities of an error, black for none."""
DIM = 0.35
"""How bright an image is behind its errors."""
LONGEST = 36
"""Characters of an image's name that there is room for."""
WRONG = {part: colour for part, colour in PARTS.items() if part != "vessel found"}
"""False positive, false negative → colour."""


def evenly_spread(qualities: Mapping[str, float]) -> list[str]:
    """The image of the least quality, that of the highest, and two between; fewer of fewer."""
    order = sorted(qualities, key=lambda sample: qualities[sample])
    places = np.linspace(0, len(order) - 1, min(ROWS, len(order))).round().astype(int)
    return [order[place] for place in places]


def draw_error_maps(
    load: Callable[[str], Scene], samples: Sequence[str], default_prompt: int
) -> Figure:
    """Images spread over the predicted quality of their default masks, the worst on top.

    Args:
        load: makes the scene of a sample id.
        samples: ids to choose from; at least one.
        default_prompt: position of the prompt whose mask is judged.
    """

    def predicted_dice(sample: str) -> float:
        scene = load(sample)
        mask = default_mask(scene.probabilities, default_prompt)
        return float(scene.predicted_scores(mask[None])["dice"][0])

    chosen = evenly_spread({sample: predicted_dice(sample) for sample in samples})
    look = {**RC, "text.color": PAPER, "axes.titlecolor": PAPER, "axes.titleweight": "normal"}
    with rc_context(look):
        heights = [np.divide(*load(sample).truth.shape) for sample in chosen]
        size = (11, 0.7 + sum(0.25 + 2.7 * height for height in heights))
        figure = Figure(figsize=size, facecolor=GROUND)
        *rows, keys = figure.subplots(
            len(chosen) + 1, COLUMNS, squeeze=False, height_ratios=[*heights, KEYS]
        )
        for row, sample in zip(rows, chosen, strict=True):
            scene = load(sample)
            _draw_row(row, sample, scene, default_mask(scene.probabilities, default_prompt))
        _draw_keys(figure, keys)
    return figure


def _draw_row(row: Sequence[Axes], sample: str, scene: Scene, mask: Mask) -> None:
    image, answer, expected, true = row
    predicted, real = (
        float(scores["dice"][0])
        for scores in (scene.predicted_scores(mask[None]), scene.true_scores(mask[None]))
    )
    error, wrong = error_probability(mask, scene.opinions), mask ^ scene.truth
    image.imshow(scene.image, cmap="gray")
    # An id may hold a dollar sign, which Matplotlib would read as mathematics.
    name = sample if len(sample) <= LONGEST else f"{sample[: LONGEST - 1]}…"
    image.set_title(name, parse_math=False, fontsize=9)
    answer.imshow(mask, cmap="gray", interpolation="nearest")
    answer.set_title(f"Dice: predicted {predicted:.2f}, true {real:.2f}", fontsize=9)
    expected.imshow(error, cmap=COLOURS, vmin=0, vmax=1)
    expected.set_title(f"errors expected: {100 * error.mean():.1f} % of pixels", fontsize=9)
    true.imshow(scene.image, cmap="gray", alpha=DIM)
    for part, colour in zip((wrong & mask, wrong & ~mask), WRONG.values(), strict=True):
        layer = np.zeros((*part.shape, 4))
        layer[part] = to_rgba(colour)
        true.imshow(layer, interpolation="nearest")
    true.set_title(f"true errors: {100 * wrong.mean():.1f} %", fontsize=9)
    for ax in row:
        ax.set_axis_off()


def _draw_keys(figure: Figure, row: Sequence[Axes]) -> None:
    *unused, probability, parts = row
    for ax in (*unused, parts):
        ax.set_axis_off()
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), cax=probability, orientation="horizontal")
    bar.set_label("probability of an error", color=PAPER, fontsize=9)
    bar.ax.tick_params(colors=PAPER, labelsize=8)
    handles = [Patch(color=colour) for colour in WRONG.values()]
    parts.legend(handles, WRONG, loc="upper left", fontsize=9, borderaxespad=0, borderpad=0)
