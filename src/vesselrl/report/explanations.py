"""What each method does, in a sentence."""

from collections.abc import Mapping
from typing import Any

EXPLANATIONS = {
    "default": "The segmenter with its default prompt, cut at a probability of 0.5: what is free.",
    "static": "One prompt, threshold and clean-up for all images: the best on validation images.",
    "random": "A setting drawn at random for each image: a control, not an offer.",
    "best_of_one": "The best static setting's prompt alone is asked; the reward network picks the "
    "threshold and clean-up it rates highest.",
    "best_of_n": "Every prompt is tried; the reward network picks the mask it rates highest.",
    "posterior": "The reward network's own vessel map: a supervised segmenter on the same labels.",
    "policy": "A finished policy, read from its file, chooses for each image; that no test image "
    "had a part in its training is taken on trust.",
    "imported": "Finished masks that were given. How they were made is not known here; that no "
    "test image had a part in it is taken on trust.",
    "oracle": "The best single setting for each image, chosen with the ground truth by the "
    "objective: what no choice of one setting can beat.",
}
"""Kind of method → what it does."""
POLICIES = {
    "prompts": "A policy trained by reinforcement learning chooses {length} prompts an image; "
    "their maps are averaged and cut at 0.5.",
    "operations": "A policy trained by reinforcement learning cleans up the default answer of each "
    "image in {length} steps of its choice.",
    "setting": "A policy trained by reinforcement learning chooses prompt, threshold and clean-up "
    "for each image.",
}
"""What a policy chooses → what it does."""
REGRESSOR = (
    "Ridge regression predicts the objective of every setting from what a policy sees of the "
    "image, and the highest is taken: the plain rival of reinforcement learning."
)
LEARNED_FROM = {
    "ground_truth": "It learned from the ground truth of the training images.",
    "reward_network": "It learned from the reward network's judgement of the training images' "
    "masks.",
}
PAID_BY = {
    "ground_truth": "It was paid by the ground truth of the training images.",
    "reward_network": "It was paid by the reward network.",
}
SEES = {
    "handmade": "",
    "reward_network": " It sees the image through the reward network, whose weights it needs "
    "wherever it is used.",
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
        return EXPLANATIONS.get(kind, kind)
    if kind == "regressor":
        text = f"{REGRESSOR} {LEARNED_FROM[experiment['reward']]}"
    else:
        text = POLICIES[experiment["chooses"]].format(length=experiment["episode_length"])
        text += f" {PAID_BY[experiment['reward']]}"
    return text + SEES[experiment["observations"]]
