"""Nodes of the pipeline ``reward_net``: arrays and tables in, arrays and tables out."""

from collections.abc import Callable
from functools import partial
from typing import Any

from vesselrl.checkpoints import Checkpoints
from vesselrl.pipelines import Partitions
from vesselrl.progress import with_progress
from vesselrl.reward.parameters import RewardParameters
from vesselrl.rl.parameters import ActionParameters
from vesselrl.samples import generator_of, ids_of, of_splits
from vesselrl.segmenters.parameters import FilterParameters, SegmenterParameters


def make_reward_examples(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    samples: Any,
    reward: RewardParameters,
    seed: int,
) -> Partitions:
    """Candidates of every quality for each training and validation image.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        candidates: sample id → loader of the stored maps.
        samples: the table of samples.
        reward: working size and number of corruptions.
        seed: with the id it fixes the corruptions of an image.

    Returns:
        Sample id → maker of `vesselrl.reward.examples.reward_examples`.
    """
    from vesselrl.ahead import made_ahead
    from vesselrl.reward.examples import ExampleMaker, Seen

    def see(sample: str) -> Seen:
        levels = candidates[sample]()["levels"]
        return images[sample](), masks[sample](), levels, generator_of(sample, seed)

    loaders = {sample: partial(see, sample) for sample in ids_of(samples, "train", "val")}
    makers = made_ahead(ExampleMaker(reward.examples), loaders)
    return with_progress(makers, "Making reward examples")


def train_network(
    reward_examples: Partitions,
    samples: Any,
    checkpoints: Checkpoints,
    reward: RewardParameters,
    objective: list[str],
    seed: int,
) -> tuple[dict[str, Any], Any]:
    """Train on the training patients, check and calibrate on the validation patients.

    Args:
        reward_examples: sample id → loader of its examples.
        samples: the table of samples.
        checkpoints: where an interrupted training goes on from.
        reward: sizes and lengths.
        objective: the scores whose mean is paid.
        seed: of the first member.

    Returns:
        The state of the `RewardNetwork`, and its history as a table (member, iteration, loss, tau,
        seconds).
    """
    import pandas as pd

    from vesselrl.reward.training import train_reward_network

    network, history = train_reward_network(
        training=of_splits(reward_examples, samples, "train"),
        validation=of_splits(reward_examples, samples, "val"),
        examples=reward.examples,
        parameters=reward.training,
        objective=objective,
        seed=seed,
        checkpoints=checkpoints,
        devices=reward.devices,
    )
    return network.state(), pd.DataFrame(history)


def train_scalar_judges(
    reward_examples: Partitions, samples: Any, reward: RewardParameters, seed: int
) -> dict[str, Any]:
    """Train what the report card compares with: judges that answer with one number for a mask.

    Returns:
        ``scalar`` (image and mask → Dice) and ``galdran`` (mask → mutual information with the
        truth), each the state of a `vesselrl.reward.scalar.ScalarJudge`.
    """
    from vesselrl.reward.scalar import train_scalar

    training = of_splits(reward_examples, samples, "train")
    return {
        "scalar": train_scalar(training, True, "dice", reward.scalar, seed).state(),
        "galdran": train_scalar(training, False, "nmi", reward.scalar, seed).state(),
    }


def score_actions(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    scalar_judges: dict[str, Any],
    samples: Any,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
) -> Partitions:
    """True and predicted scores of every mask of validation and test images that could be chosen.

    Returns:
        Sample id → maker of `vesselrl.rl.setting_scores.ReportCardScores`, float64 arrays (A,).
    """
    from vesselrl.reward.scalar import ScalarJudge

    judges = {name: ScalarJudge.from_state(state) for name, state in scalar_judges.items()}
    ids = ids_of(samples, "val", "test")
    return _scored(
        images, masks, candidates, reward_network, judges, ids, segmenter, actions, "Scoring masks"
    )


def score_unseen(
    images: Partitions,
    masks: Partitions,
    reward_network: dict[str, Any],
    samples: Any,
    reward: RewardParameters,
    actions: ActionParameters,
) -> Partitions:
    """The same of test images for a segmenter that had no part in training.

    Returns:
        Sample id → maker of `vesselrl.rl.setting_scores.ReportCardScores`, float64 arrays (A,).
    """
    from vesselrl.ahead import made_ahead, made_here
    from vesselrl.segmenters.candidate_folder import Asker
    from vesselrl.segmenters.keys import MapKeys

    def show(sample: str) -> tuple[str, Any]:
        return sample, images[sample]()

    unseen, ids = reward.unseen_segmenter, ids_of(samples, "test")
    spread = made_ahead if isinstance(unseen, FilterParameters) else made_here
    ask = Asker(unseen, MapKeys(unseen))
    candidates = spread(ask, {sample: partial(show, sample) for sample in ids})
    what = "Scoring masks of an unseen segmenter"
    return _scored(images, masks, candidates, reward_network, {}, ids, unseen, actions, what)


def _scored(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    judges: dict[str, Any],
    ids: list[str],
    segmenter: SegmenterParameters,
    actions: ActionParameters,
    what: str,
) -> Partitions:
    from vesselrl.ahead import made_ahead
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.reward.scenes import SceneLoader
    from vesselrl.rl.actions import ActionSet
    from vesselrl.rl.setting_scores import ReportCardScores, with_opinion_seconds

    action_set = ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions)
    network = RewardNetwork.from_state(reward_network)
    load = SceneLoader(images, masks, candidates, network)
    scenes = {sample: partial(with_opinion_seconds, load, network, sample) for sample in ids}
    return with_progress(made_ahead(ReportCardScores(action_set, judges), scenes), what)


def try_hacks(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    samples: Any,
    segmenter: SegmenterParameters,
    objective: list[str],
) -> Any:
    """Masks of validation and test images that a policy would find that exploits the network.

    Returns:
        A table, see `vesselrl.reward.hacks.HackRows`, with the columns ``split`` and ``image``.
    """
    import pandas as pd

    from vesselrl.ahead import made_ahead
    from vesselrl.reward.hacks import HACK_COLUMNS, HackRows
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.reward.scenes import SceneLoader

    scene = SceneLoader(images, masks, candidates, RewardNetwork.from_state(reward_network))
    work = HackRows(list(segmenter.prompts).index(segmenter.default_prompt), objective)

    def load(sample: str, other: str) -> Any:
        return scene(sample), masks[other]()

    splits = ("val", "test")
    others: dict[str, str] = {}
    for split in splits:
        others |= _others(samples[samples["split"] == split])
    loaders = {sample: partial(load, sample, other) for sample, other in others.items()}
    makers = with_progress(made_ahead(work, loaders), "Trying hacks")
    made = {sample: make() for sample, make in makers.items()}
    rows = [
        {"split": split, "image": sample, **row}
        for split in splits
        for sample in ids_of(samples, split)
        for row in made[sample]
    ]
    return pd.DataFrame(rows, columns=["split", *HACK_COLUMNS])


def _others(samples: Any) -> dict[str, str]:
    """For each image the next one of another group, or, where there is one group, the next one."""
    rows = list(zip(samples["id"].astype(str), samples["group"].astype(str), strict=True))
    pairs = list(zip(rows, [*rows[1:], *rows[:1]], strict=True))
    others = {sample: following for (sample, _), (following, _) in pairs}
    if len({group for _, group in rows}) > 1:
        # From the end, twice around: what follows the last images is known the second time.
        for (sample, group), (following, its_group) in [*reversed(pairs), *reversed(pairs)]:
            if its_group == group:
                others[sample] = others[following]
    return others


def write_report_card(
    action_scores: Partitions,
    unseen_scores: Partitions,
    reward_hacks: Any,
    samples: Any,
    reward: RewardParameters,
    objective: list[str],
) -> dict[str, Any]:
    """The report card on validation and on test patients, and the verdict (validation alone).

    Returns:
        ``val`` and ``test``, and ``unseen`` on the test patients with a segmenter that had no part
        in training, see `vesselrl.reward.report_card.report_card`; ``fit`` and ``reason``;
        ``rivals``, see `rival_cards`; ``hacks``: ``val`` and ``test``, see `ranked_right`.
    """
    from vesselrl.reward.hacks import ranked_right
    from vesselrl.reward.report_card import fitness, report_card, rival_cards

    val, test = (_loaders(action_scores, samples, split) for split in ("val", "test"))
    card = report_card(val, objective)
    hacks = {
        split: ranked_right(rows, reward.fitness.hacks_right)
        for split, rows in reward_hacks.groupby("split", sort=False)
    }
    return {
        "val": card,
        "test": report_card(test, objective),
        "unseen": report_card(_loaders(unseen_scores, samples, "test"), objective),
        "rivals": rival_cards(val, test),
        "hacks": {
            split: table.astype(object).where(table.notna(), None).to_dict("records")
            for split, table in hacks.items()
        },
        **fitness(card, hacks["val"], reward.fitness),
    }


def draw_report_card(
    action_scores: Partitions, samples: Any, reward_net_report: dict[str, Any], reward_history: Any
) -> Any:
    """Agreement, reliability, order and choices on validation and test patients, and training."""
    from vesselrl.reward.figures import draw_report_card as draw

    scores = {split: _loaders(action_scores, samples, split) for split in ("val", "test")}
    return draw(scores, reward_net_report, reward_history)


def _loaders(scores: Partitions, samples: Any, split: str) -> list[Callable[[], dict[str, Any]]]:
    return [scores[sample] for sample in ids_of(samples, split)]


def draw_error_maps(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    samples: Any,
    segmenter: SegmenterParameters,
) -> Any:
    """Where the network believes masks of validation images to be wrong, beside where they are."""
    from vesselrl.reward.error_maps import draw_error_maps as draw
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.reward.scenes import SceneLoader

    load = SceneLoader(images, masks, candidates, RewardNetwork.from_state(reward_network))
    default = list(segmenter.prompts).index(segmenter.default_prompt)
    return draw(load, ids_of(samples, "val"), default)


def draw_hacks(reward_hacks: Any) -> Any:
    """What each hack gains as predicted and in truth."""
    from vesselrl.reward.hack_figure import draw_hacks as draw

    return draw(reward_hacks)


def draw_reward_examples(reward_examples: Partitions, samples: Any) -> Any:
    """How good the masks are that the network learns from and is checked on."""
    from vesselrl.reward.example_figure import draw_examples

    splits = ("train", "val")
    return draw_examples({s: [reward_examples[i] for i in ids_of(samples, s)] for s in splits})
