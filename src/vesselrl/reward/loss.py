"""What a member of the reward network learns by."""

from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional


def reward_loss(logits: Tensor, judged: Tensor, cut: Tensor, truth: Tensor) -> Tensor:
    """2 BCE + (expected Dice - true Dice)^2 + 1/2 soft Dice loss, a float ().

    The first and last term ask where the truth is, the middle one that a mask is judged well.

    Args:
        logits: float (B, H, W), the network's answer.
        judged: float (B, H, W) in [0, 1], a map whose mask is judged.
        cut: float (B,), where it is cut for that.
        truth: float (B, H, W) in [0, 1].
    """
    q = logits.sigmoid()
    mask = (judged > cut[:, None, None]).to(q.dtype)

    def dice(where: Tensor) -> Tensor:
        total = mask.sum((1, 2)) + where.sum((1, 2))
        return 2 * (mask * where).sum((1, 2)) / total.clamp_min(1)

    entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    calibration = (dice(q) - dice(truth)).square().mean()
    overlap: Tensor = DiceLoss()(q[:, None], truth[:, None])
    return 2 * entropy + calibration + 0.5 * overlap
