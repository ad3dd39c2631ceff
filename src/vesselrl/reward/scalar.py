"""Scalar judges: small networks that answer with one number for a whole mask.

This is how quality is predicted most often, and what the dense reward network has to beat:

- from image and mask to the Dice (cf. Robinson et al., "Real-time prediction of segmentation
  quality", MICCAI 2018, arXiv:1806.06244);
- from the mask alone to its normalised mutual information with the truth, learnt from corrupted
  truths (Galdran et al., "A no-reference quality metric for retinal vessel tree segmentation",
  MICCAI 2018).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets import ResNet
from scipy.special import entr
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from vesselrl.devices import best_device
from vesselrl.metrics.masks import Scores
from vesselrl.networks.imaging import grey, normalised
from vesselrl.networks.schedules import one_cycle
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.examples import Example, Loader
from vesselrl.reward.parameters import ScalarParameters
from vesselrl.segmenters.levels import from_levels
from vesselrl.threads import one_thread

Mask = npt.NDArray[np.bool_]
Target = Literal["dice", "nmi"]

CHUNK = 32
"""Masks that are judged at a time: about 12 MB at 300 × 300 pixels."""
MASKS_PER_IMAGE = 64
"""Masks that are drawn of a training image; when all were used they come again, turned."""
EMPTY, TRUTH = 0.02, 0.05
"""Shares of empty and of perfect masks among them."""


class ScalarJudge:
    """A network that looks at a mask, with or without its image, and says how good it is.

    Args:
        network: from float (B, C, side, side) to one logit, (B, 1); see `build_network`.
        channels: its widths.
        side: images and masks are brought to squares of this side, in pixels.
        sees_image: whether it sees image and mask (C = 2) or the mask alone (C = 1).
    """

    def __init__(
        self, network: nn.Module, channels: list[int], side: int, sees_image: bool
    ) -> None:
        self.network = network.eval()
        self.channels = channels
        self.side = side
        self.sees_image = sees_image

    @one_thread()
    @torch.inference_mode()
    def scores(self, image: npt.NDArray[np.uint8], masks: Mask) -> Scores:
        """The predicted quality of masks.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            masks: bool (N, H, W).

        Returns:
            float64 (N,) in [0, 1].
        """
        device = next(self.network.parameters()).device
        lit = _squares(grey(image)[None], self.side).to(device)
        scores = np.empty(len(masks))
        for start in range(0, len(masks), CHUNK):
            chunk = slice(start, start + CHUNK)
            judged = _squares(masks[chunk].astype(np.float32), self.side).to(device)
            seen = _seen(lit.expand_as(judged), judged, self.sees_image)
            scores[chunk] = self.network(seen).sigmoid()[:, 0].cpu().numpy()
        return scores

    def state(self) -> dict[str, Any]:
        """All there is to know of the judge, of tensors (on the CPU) and plain values only."""
        return {
            "network": {key: tensor.cpu() for key, tensor in self.network.state_dict().items()},
            "channels": self.channels,
            "side": self.side,
            "sees_image": self.sees_image,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "ScalarJudge":
        """The judge that `state` describes, on the CPU: worker processes, too, have that one."""
        network = build_network(state["channels"], state["sees_image"])
        network.load_state_dict(state["network"])
        return cls(network, state["channels"], state["side"], state["sees_image"])


def build_network(channels: list[int], sees_image: bool) -> nn.Module:
    """MONAI's ResNet (arXiv:1512.03385) of one block a stage, pooled over the whole image.

    It has batch normalisation: the usual normalisation of each instance would take away how much of
    an image is vessel.
    """
    return ResNet(
        block="basic",
        layers=[1, 1, 1, 1],
        block_inplanes=channels,
        spatial_dims=2,
        n_input_channels=2 if sees_image else 1,
        conv1_t_stride=2,
        num_classes=1,
    )


@one_thread()
def train_scalar(
    training: Mapping[str, Loader],
    sees_image: bool,
    target: Target,
    parameters: ScalarParameters,
    seed: int,
) -> ScalarJudge:
    """Train a judge by least squares.

    Args:
        training: image id → loader of its `reward_examples`; at least one.
        sees_image: whether it sees the image, too. One that does not learns from corrupted truths
            alone, as that of Galdran et al.; one that does also from the segmenter's own masks.
        target: what it predicts.
        parameters: size and length of training.
        seed: fixes weights and draws.
    """
    rng = np.random.default_rng(seed)
    device = best_device()
    draws = parameters.batch * parameters.iterations
    lesson = Lesson.of(list(training.values()), draws, sees_image, target, parameters.side, rng)
    # The caller's random numbers stay as they are; those of GPUs are not drawn from.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build_network(parameters.channels, sees_image).to(device)
    optimiser = torch.optim.AdamW(network.parameters())
    schedule = one_cycle(optimiser, parameters.learning_rate, parameters.iterations)
    order = np.resize(rng.permutation(len(lesson.masks)), draws)
    for chosen in tqdm(order.reshape(-1, parameters.batch), desc=f"Scalar judge of {target}"):
        image, mask, quality = (part.to(device) for part in lesson.batch(chosen, rng))
        loss = functional.mse_loss(network(_seen(image, mask, sees_image)).sigmoid()[:, 0], quality)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return ScalarJudge(network, parameters.channels, parameters.side, sees_image)


@dataclass(frozen=True)
class Lesson:
    """Masks of known quality.

    Attributes:
        images: uint8 (I, side, side).
        masks: uint8 (M, side, side), 255 where all of a pixel is in the mask.
        owners: int (M,), the image that a mask belongs to.
        qualities: float32 (M,) in [0, 1].
    """

    images: Tensor
    masks: Tensor
    owners: npt.NDArray[np.int_]
    qualities: Tensor

    @classmethod
    def of(
        cls,
        loaders: list[Loader],
        draws: int,
        sees_image: bool,
        target: Target,
        side: int,
        rng: np.random.Generator,
    ) -> "Lesson":
        """Draw as many masks as training will see, the same number of each image."""
        loaders = [loaders[i] for i in rng.permutation(len(loaders))[:draws]]
        count = min(MASKS_PER_IMAGE, -(-draws // len(loaders)))
        images, masks, qualities = [], [], []
        for load in loaders:
            example = load()
            drawn = np.stack([_draw_mask(example, sees_image, rng) for _ in range(count)])
            images.append(_bytes(grey(example["image"])[None], side))
            masks.append(_bytes(drawn.astype(np.float32), side))
            qualities.append(_quality(drawn, example["truth"], target))
        return cls(
            torch.cat(images),
            torch.cat(masks),
            np.repeat(np.arange(len(loaders)), count),
            torch.from_numpy(np.concatenate(qualities).astype(np.float32)),
        )

    def batch(
        self, chosen: npt.NDArray[np.int_], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Some of the masks, turned, with their images, re-lit.

        Args:
            chosen: int (B,), positions of the masks.
            rng: draws how they are turned and lit.

        Returns:
            Images and masks, float32 (B, side, side) in [0, 1], and qualities, float32 (B,).
        """
        pairs = torch.stack([self.images[self.owners[chosen]], self.masks[chosen]], dim=1)
        turned = torch.stack([_turned(pair, int(rng.integers(8))) for pair in pairs]) / 255
        gamma = torch.from_numpy(np.exp(rng.uniform(-0.4, 0.4, len(chosen))).astype(np.float32))
        return turned[:, 0] ** gamma[:, None, None], turned[:, 1], self.qualities[chosen]


def normalised_mutual_information(masks: Mask, truth: Mask) -> Scores:
    """What mask and truth tell of each other: ``2 (H(m) + H(t) - H(m, t)) / (H(m) + H(t))``.

    H is the entropy of the pixels' values. A mask and its complement tell the same.

    Args:
        masks: bool (N, H, W).
        truth: bool (H, W).

    Returns:
        float64 (N,) in [0, 1]; where mask and truth are both constant, 1 if they are equal, else 0.
    """
    both = np.array([np.count_nonzero(mask & truth) for mask in masks], float)
    in_mask = np.array([np.count_nonzero(mask) for mask in masks], float)
    in_truth = np.full_like(in_mask, np.count_nonzero(truth))

    def entropy(*counts: Scores) -> Scores:
        shares: Scores = entr(np.stack(counts) / truth.size)
        return shares.sum(0)

    neither = truth.size - in_mask - in_truth + both
    joint = entropy(both, in_mask - both, in_truth - both, neither)
    alone = entropy(in_mask, truth.size - in_mask) + entropy(in_truth, truth.size - in_truth)
    equal = (in_mask == in_truth).astype(float)
    shared = np.divide(2 * (alone - joint), alone, out=equal, where=alone > 0)
    return np.clip(shared, 0, 1)  # rounding goes a little beyond


def _draw_mask(example: Example, own_masks: bool, rng: np.random.Generator) -> Mask:
    """A mask to learn from, bool (h, w)."""
    corrupted = example["sources"] != ""
    pools = [np.flatnonzero(corrupted), np.flatnonzero(~corrupted & own_masks)]
    pools = [pool for pool in pools if len(pool)]
    kind = rng.random()
    if kind < EMPTY:
        return np.zeros(example["truth"].shape, bool)
    if kind < EMPTY + TRUTH or not pools:
        return np.asarray(example["truth"] > 127)
    chosen = rng.choice(pools[rng.integers(len(pools))])
    return np.asarray(from_levels(example["maps"][chosen]) > rng.uniform(0.1, 0.9))


def _quality(masks: Mask, truth: npt.NDArray[np.uint8], target: Target) -> Scores:
    """The target of masks (N, h, w), float64 (N,); `truth` is as in `reward_examples`."""
    if target == "nmi":
        return normalised_mutual_information(masks, truth > 127)
    share = truth.astype(np.float32) / np.float32(255)
    return expected_scores(masks, share[None])["dice"][:, 0]


def _squares(maps: npt.NDArray[np.float32], side: int) -> Tensor:
    """Bring maps (N, H, W) to (N, side, side) by averaging."""
    return functional.interpolate(torch.from_numpy(maps)[None], (side, side), mode="area")[0]


def _bytes(maps: npt.NDArray[np.float32], side: int) -> Tensor:
    return (_squares(maps, side) * 255).round().to(torch.uint8)


def _turned(pair: Tensor, way: int) -> Tensor:
    """One of the eight ways to lay down a square."""
    turned = torch.rot90(pair, way % 4, (1, 2))
    return turned.flip(1) if way >= 4 else turned


def _seen(image: Tensor, mask: Tensor, sees_image: bool) -> Tensor:
    """What the network is shown of masks (B, side, side), of as many images or of one (1, …)."""
    shown = mask * 2 - 1
    channels = [normalised(image).expand_as(shown), shown] if sees_image else [shown]
    # Few channels are convolved faster on a CPU when those of a pixel lie together.
    return torch.stack(channels, dim=-1).movedim(-1, 1)
