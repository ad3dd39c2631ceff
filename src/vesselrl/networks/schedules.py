"""How the learning rate changes over a training."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR


def one_cycle(optimiser: Optimizer, peak: float, steps: int) -> OneCycleLR:
    """It rises for a tenth of the steps, then falls to next to nothing.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018, arXiv:1708.07120.

    Args:
        optimiser: whose learning rate is set.
        peak: the highest learning rate.
        steps: of the whole cycle, 1 or more.
    """
    # A rise of exactly one step would end where it begins, and torch divides by its length.
    rise = 0.1 if steps != 10 else 0.2
    return OneCycleLR(optimiser, peak, total_steps=steps, pct_start=rise)
