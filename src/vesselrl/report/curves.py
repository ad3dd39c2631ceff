"""Learning curves: what the policy was paid for beside what is true."""

from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesselrl.rl.looks import kept
from vesselrl.style import BLUE, GREY, INK, ORANGE, RC

PROXY, GOLD = (ORANGE, "--"), (BLUE, "-")
PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "Reward an episode": {"ep_rew_mean": (INK, "-")},
    "Objective, training images": {"proxy": PROXY, "gold": GOLD},
    "Objective, validation images": {"val_proxy": PROXY, "val_gold": GOLD},
    "Action entropy [nats]": {"action_entropy": (INK, "-")},
}
"""Panel title → column → colour and line style."""
LEGEND = {"val_proxy": "proxy: the reward network", "val_gold": "gold: the ground truth"}

MARKS: dict[str, Any] = {"color": INK, "ms": 6.5, "fillstyle": "none", "zorder": 3}


def draw_learning_curves(curves: pd.DataFrame) -> Figure:
    """One row of panels an experiment: a thin line a seed, a thick one for their mean.

    On the validation images a ring marks the policy of each seed that was kept, a cross the end of
    its training. The mean is drawn as far as every seed went.

    Args:
        curves: columns experiment, seed, steps, ep_rew_mean, proxy, gold, val_proxy, val_gold,
            action_entropy: one row a policy update; the validation columns are missing where there
            were no validation images. Without rows the figure says so.
    """
    experiments = list(curves["experiment"].unique())
    with rc_context(RC):
        if not experiments:
            figure = Figure(figsize=(8.4, 1))
            figure.text(0.5, 0.5, "No training history: no experiment was run.", ha="center")
            return figure
        figure = Figure(figsize=(11, 0.8 + 2.2 * len(experiments)))
        rows = figure.subplots(len(experiments), len(PANELS), squeeze=False, sharex="row")
        for axes, experiment in zip(rows, experiments, strict=True):
            of_experiment = curves[curves["experiment"] == experiment]
            for ax, (title, lines) in zip(axes, PANELS.items(), strict=True):
                for column, look in lines.items():
                    if column in curves:
                        draw_seeds(ax, of_experiment, column, *look, LEGEND.get(column, ""))
                ax.set_title(title, fontweight="normal", fontsize=9, color=GREY)
                ax.grid(axis="y")
                ax.set_xlabel("Environment steps" if experiment == experiments[-1] else "")
            if "val_gold" in curves:
                mark_kept_and_ended(axes[2], of_experiment)
            axes[1].sharey(axes[2])
            axes[0].set_ylabel(experiment, fontweight="bold")
        handles, names = rows[0, 2].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def draw_seeds(
    ax: Axes, history: pd.DataFrame, column: str, colour: str, dashes: str, name: str
) -> None:
    """Thin lines a seed, a thick one for their mean as far as every seed went.

    Args:
        ax: to draw in.
        history: columns seed, steps and `column`; rows where it is missing are left out.
        column: what is drawn.
        colour: of all lines.
        dashes: their style.
        name: of the mean in a legend; none if empty.
    """
    history = history.dropna(subset=[column])  # validation is not scored at every update
    for _, of_seed in history.groupby("seed"):
        ax.plot(of_seed["steps"], of_seed[column], color=colour, ls=dashes, lw=0.7, alpha=0.45)
    by_step = history.groupby("steps")[column]
    mean = by_step.mean()[by_step.size() == history["seed"].nunique()]
    ax.plot(mean.index, mean.to_numpy(), color=colour, ls=dashes, lw=1.9, label=name)


def mark_kept_and_ended(ax: Axes, history: pd.DataFrame) -> None:
    """A ring at the policy of each seed that was kept, a cross where its training ended."""
    looks = history.dropna(subset=["val_gold"])
    for number, (_, of_seed) in enumerate(looks.groupby("seed")):
        rows: list[Any] = of_seed.to_dict("records")
        marked = {"kept policy": (kept(rows) or {}, "o"), "end of training": (rows[-1], "x")}
        for name, (row, marker) in marked.items():
            ax.plot(row["steps"], row["val_gold"], marker, label="" if number else name, **MARKS)
