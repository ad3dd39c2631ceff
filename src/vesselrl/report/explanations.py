"""What each method does, in a sentence."""

from collections.abc import Mapping
from typing import Any

from vesselrl.report.language import mark, say, sentences
from vesselrl.rl.pixel.parameters import PIXEL_RL, REFINE, SA2VA_RL

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
NETWORKS = {
    "supervised": mark("A network of our own, trained on the labelled training images alone."),
    "supervised_tta": mark(
        "The same network asked four times, about the image and its mirror images; the mean of the "
        "answers (test-time augmentation)."
    ),
    "fold_ensemble": mark(
        "The mean of several networks of our own, each trained without one part of the training "
        "patients."
    ),
    "fold_ensemble_tta": mark(
        "The same ensemble asked about the image and its mirror images, four times as often."
    ),
    "distilled": mark(
        "One network that went on learning, from the ensemble's maps of the images without label "
        "(of the training images, where there are none) and from the labels."
    ),
    "pseudo_labelled": mark(
        "One network that went on learning, from its own maps of these images and from the labels."
    ),
    PIXEL_RL: mark(
        "One network that went on learning by reinforcement: every pixel of masks drawn from its "
        "map was paid by who judges masks without their truth, beside the labels."
    ),
    REFINE: mark(
        "The mean of the fold ensemble's map and of what a reward network makes of it: the rival "
        "of reinforcement learning on the network's weights that needs none."
    ),
    SA2VA_RL: mark(
        "The segmenter itself, asked the default prompt, with adapters beside the weights of its "
        "mask decoder: they learned by reinforcement, paid by the reward network, beside the "
        "labels."
    ),
}
"""Network → what it is."""
CUT_AT_BEST = mark("Its map is cut where the validation images score best.")
CUT_AT = mark("Its map is cut at {threshold}.")
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
        specification: its settings, of which ``experiment``, ``network`` and ``threshold`` are
            read.
        experiments: experiment or regressor → its settings: what is chosen, how often, who pays,
            what is seen.
    """
    if kind == "network":
        threshold = specification.get("threshold")
        cut = say(CUT_AT, threshold=threshold) if threshold else say(CUT_AT_BEST)
        return sentences(say(NETWORKS[str(specification.get("network"))]), cut)
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
