"""What judges and hacks are called where people read of them."""

NETWORK = "reward network"
RIVALS = {
    "confidence": "the segmenter's confidence",
    "entropy": "certainty of the map",
    "agreement": "agreement of the prompts",
    "connectivity": "connectivity of the mask",
    "scalar": "scalar network, image and mask",
    "galdran": "scalar network, mask alone",
}
"""Rival, see `vesselrl.reward.rivals` and `vesselrl.reward.scalar` → its name."""
HACKS = {
    "empty": "nothing is vessel",
    "full": "everything is vessel",
    "all_vesselness": "the least trace of vessel",
    "image_edges": "edges of the image",
    "other_truth": "vessels of another image",
    "ascent": "gradient ascent of the reward",
    "dilated_truth": "truth, too thick",
    "branch_removed": "truth, a branch missing",
}
"""Hack, see `vesselrl.reward.hacks` → its name."""
AGAINST_TRUTH = ("dilated_truth", "branch_removed")
"""Hacks that are compared with the truth; the others are with the default prompt's mask."""


def rival_name(rival: str) -> str:
    """A rival in words."""
    return RIVALS.get(rival, rival.replace("_", " "))


def hack_name(hack: str) -> str:
    """A hack in words."""
    return HACKS.get(hack, hack.replace("_", " "))
