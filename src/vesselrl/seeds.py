"""Where results of several seeds lie: the first listed seed owns the top, others ``seeds/<n>``."""

SEEDS = "seeds"


def place_of_seed(top: str, seed: int, first: int) -> str:
    """The folder of a seed, or the beginning of its names.

    Args:
        top: of all seeds.
        seed: one of them.
        first: the first listed one.
    """
    return top if seed == first else f"{top}/{SEEDS}/{seed}"
