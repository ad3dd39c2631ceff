"""RL on the segmenter's own weights: who paid, what it brought, what it did to the masks."""

from collections.abc import Mapping
from typing import Any

from vesselrl.report.document import Block, Callout, Paragraph, Picture, Section, Table
from vesselrl.report.language import mark, say, say_stored, sentences
from vesselrl.report.words import NOTHING, decimal, signed_points
from vesselrl.rl.looks import ALL_STEPS

PAID_BY = {
    "network": mark("the reward network"),
    "ensemble": mark("the fold ensemble"),
    "both": mark("reward network and fold ensemble, half each"),
}


def pixel_rl(
    infos: Mapping[int, Mapping[str, Any]], curves: bytes, dice: bytes, gallery: bytes
) -> tuple[Section, ...]:
    """The section, or none where RL on the segmenter's weights was not run.

    Args:
        infos: seed → facts of its training.
        curves: PNG of proxy and gold.
        dice: PNG of the Dice of each validation image before and after.
        gallery: PNG of masks before and after.
    """
    if not infos:
        return ()
    first = next(iter(infos.values()))
    unlabelled = first["unlabelled_images"]
    text = sentences(
        say(
            "The network ‘{start}’ went on learning by reinforcement: every pixel of a mask drawn "
            "from its map was paid by {payer}.",
            start=first["start"],
            payer=say(PAID_BY[first["reward"]["paid_by"]]),
        ),
        say("It learned on {count} images without label.", count=f"{unlabelled:,}")
        if unlabelled
        else say("Without images without label it learned on the training images."),
        say(
            "Which network was kept, the start among them, was decided by the truth of the "
            "validation images alone. Their scores therefore flatter it; the comparison is of test "
            "images."
        ),
    )
    blocks: list[Block] = [Paragraph(text), *_warnings(infos), _runs(infos)]
    if first["reward"]["network"]["n_images"]:
        blocks.append(_payers(first["reward"]))
    blocks += _pictures(curves, dice, gallery)
    return (Section("pixel-rl", say("RL on the segmenter's weights"), tuple(blocks)),)


def _warnings(infos: Mapping[int, Mapping[str, Any]]) -> list[Callout]:
    return [
        Callout(
            say(
                "Seed {seed}: the network learned to please the reward, not to segment better "
                "(reward hacking). On the validation images, from batch {step} to the end of "
                "training, the proxy rose from {proxy} to {risen} while gold fell from {gold} to "
                "{fallen}. The network of batch {step} was kept.",
                seed=seed,
                step=f"{info['kept_step']:,}",
                proxy=decimal(info["proxy_at_best"]),
                risen=decimal(info["proxy_last"]),
                gold=decimal(info["gold_best"]),
                fallen=decimal(info["gold_last"]),
            ),
            "warning",
        )
        for seed, info in infos.items()
        if info.get("overoptimised")
    ]


def _runs(infos: Mapping[int, Mapping[str, Any]]) -> Table:
    rows, early = [], []
    for seed, info in infos.items():
        known = info.get("gained") is not None
        rows.append(
            (
                str(seed),
                f"{info['steps']:,}",
                f"{info['kept_step']:,}",
                decimal(info["gold_best"] - info["gained"]) if known else NOTHING,
                decimal(info["gold_best"]) if known else NOTHING,
                signed_points(info["gained"]) if known else NOTHING,
                decimal(info["seconds"] / 60, 1),
            )
        )
        if info["ended"] != ALL_STEPS:
            early.append(say("seed {seed}: {why}", seed=seed, why=say_stored(info["ended"])))
    return Table(
        (
            say("Seed"), say("Batches"), say("Kept batch"), say("Objective before"), say("after"),
            say("Gain in hundredths"), say("Minutes"),
        ),
        tuple(rows),
        note=sentences(
            say("The objective on validation images, all maps cut at 0.5."),
            say("Ended early: {runs}.", runs=say("; ").join(early)) if early else "",
        ),
    )  # fmt: skip


def _payers(reward: Mapping[str, Any]) -> Table:
    rows = [
        (
            say(PAID_BY[source]),
            decimal(reward[source]["within_image_tau"], 2),
            decimal(reward[source]["top1_regret"]),
            decimal(reward[source]["mae"]),
        )
        for source in PAID_BY
    ]
    return Table(
        (say("Who may pay"), say("Order within an image, τ"), say("Regret"), say("Mean error")),
        tuple(rows),
        marked_row=list(PAID_BY).index(reward["paid_by"]),
        note=say(
            "How well each knows the objective of masks of validation images: what the reward "
            "network adds to the ensemble that is there anyway."
        ),
    )


def _pictures(curves: bytes, dice: bytes, gallery: bytes) -> list[Block]:
    return [
        Picture(
            curves,
            "pixel_rl_training.png",
            say("Objective over training as reward and truth see it, and one against the other."),
            say(
                "Thin: a seed; thick: the mean of the seeds. Where the path on the right turns "
                "down while it goes on to the right, the network pleases the reward alone."
            ),
        ),
        Picture(
            dice,
            "pixel_rl_dice.png",
            say("Dice of each validation image before and after, for RL and for its rival."),
            say(
                "A point is a validation image; above the line it became better. With several "
                "seeds the point is their mean. All maps are cut at 0.5."
            ),
        ),
        Picture(
            gallery,
            "pixel_rl_gallery.png",
            say("Validation images with their masks before and after in colour, and expected "
                "errors."),
            say(
                "From the validation image that lost most to the one that gained most, by the "
                "first seed."
            ),
            photographs=True,
        ),
    ]  # fmt: skip
