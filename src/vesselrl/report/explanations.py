"""What each method does, in a sentence."""

from collections.abc import Mapping
from typing import Any

from vesselrl.report.language import mark, say, sentences

EXPLANATIONS = {
    "default": mark(
        "The segmenter with its default prompt, cut at a probability of 0.5: what is free."
    ),
    "static": mark(
        "One prompt, threshold and clean-up for all images: the best on validation images."
    ),
    "random": mark("A setting drawn at random for each image: a control, not an offer."),
    "best_of_one": mark(
        "The best static setting's prompt alone is asked; the reward network picks the "
        "threshold and clean-up it rates highest."
    ),
    "best_of_n": mark("Every prompt is tried; the reward network picks the mask it rates highest."),
    "posterior": mark(
        "The reward network's own vessel map: a supervised segmenter on the same labels."
    ),
    "policy": mark(
        "A finished policy, read from its file, chooses for each image; that no test image had a "
        "part in its training is taken on trust."
    ),
    "imported": mark(
        "Finished masks that were given. How they were made is not known here; that no test image "
        "had a part in it is taken on trust."
    ),
    "oracle": mark(
        "The best single setting for each image, chosen with the ground truth by the "
        "objective: what no choice of one setting can beat."
    ),
}
"""Kind of method → what it does."""
POLICIES = {
    "prompts": mark(
        "A policy trained by reinforcement learning chooses {length} prompts an image; "
        "their maps are averaged and cut at 0.5."
    ),
    "operations": mark(
        "A policy trained by reinforcement learning cleans up the default answer of each "
        "image in {length} steps of its choice."
    ),
    "setting": mark(
        "A policy trained by reinforcement learning chooses prompt, threshold and clean-up "
        "for each image."
    ),
}
"""What a policy chooses → what it does."""
REGRESSOR = mark(
    "Ridge regression predicts the objective of every setting from what a policy sees of the "
    "image, and the highest is taken: the plain rival of reinforcement learning."
)
LEARNED_FROM = {
    "ground_truth": mark("It learned from the ground truth of the training images."),
    "reward_network": mark(
        "It learned from the reward network's judgement of the training images' masks."
    ),
}
PAID_BY = {
    "ground_truth": mark("It was paid by the ground truth of the training images."),
    "reward_network": mark("It was paid by the reward network."),
}
SEES = {
    "handmade": "",
    "reward_network": mark(
        "It sees the image through the reward network, whose weights it needs wherever it is used."
    ),
}


def explanation(
    kind: str, specification: Mapping[str, Any], experiments: Mapping[str, Mapping[str, Any]]
) -> str:
    """A method in words.

    Args:
        kind: of the method.
        specification: its settings, of which ``experiment`` is read.
        experiments: experiment or regressor → its settings: what is chosen, how often, who pays,
            what is seen.
    """
    experiment = experiments.get(str(specification.get("experiment")))
    if experiment is None:
        return say(EXPLANATIONS.get(kind, kind))
    if kind == "regressor":
        parts = [say(REGRESSOR), say(LEARNED_FROM[experiment["reward"]])]
    else:
        parts = [
            say(POLICIES[experiment["chooses"]], length=experiment["episode_length"]),
            say(PAID_BY[experiment["reward"]]),
        ]
    return sentences(*parts, say(SEES[experiment["observations"]]))
