"""Learning curves: what the policy was paid for beside what is true."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesselrl.report.style import BLUE, GREY, INK, ORANGE, RC, VERMILLION

PANELS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Reward an episode": {"ep_rew_mean": (INK, "-", "reward")},
    "Objective, proxy against gold": {
        "proxy": (ORANGE, "--", "proxy: reward network, training images"),
        "gold": (BLUE, "-", "gold: ground truth, training images"),
        "val_gold": (VERMILLION, "-.", "gold: ground truth, validation images"),
    },
    "Action entropy [nats]": {"action_entropy": (INK, "-", "entropy")},
}
"""Panel title → column → colour, line style, name in the legend."""


def draw_learning_curves(curves: pd.DataFrame) -> Figure:
    """One row of panels an experiment: a thin line a seed, a thick one for their mean.

    Args:
        curves: columns experiment, seed, steps, ep_rew_mean, proxy, gold, val_gold,
            action_entropy: one row a policy update. Without rows the figure says so.
    """
    experiments = list(curves["experiment"].unique())
    with rc_context(RC):
        if not experiments:
            figure = Figure(figsize=(8.4, 1))
            figure.text(0.5, 0.5, "No training history: no experiment was run.", ha="center")
            return figure
        figure = Figure(figsize=(10, 0.8 + 2.2 * len(experiments)))
        rows = figure.subplots(len(experiments), len(PANELS), squeeze=False, sharex="row")
        for axes, experiment in zip(rows, experiments, strict=True):
            of_experiment = curves[curves["experiment"] == experiment]
            for ax, (title, lines) in zip(axes, PANELS.items(), strict=True):
                for column, look in lines.items():
                    _draw_seeds(ax, of_experiment, column, look)
                ax.set_title(title, fontweight="normal", fontsize=9, color=GREY)
                ax.grid(axis="y")
                ax.set_xlabel("Environment steps" if experiment == experiments[-1] else "")
            axes[0].set_ylabel(experiment, fontweight="bold")
        handles, names = rows[0, 1].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def _draw_seeds(ax: Axes, history: pd.DataFrame, column: str, look: tuple[str, str, str]) -> None:
    colour, dashes, name = look
    history = history.dropna(subset=[column])  # validation is not scored at every update
    for _, of_seed in history.groupby("seed"):
        ax.plot(of_seed["steps"], of_seed[column], color=colour, ls=dashes, lw=0.7, alpha=0.45)
    mean = history.groupby("steps")[column].mean()
    ax.plot(mean.index, mean.to_numpy(), color=colour, ls=dashes, lw=1.9, label=name)
