"""The segmenter ``unet``: our own network, which needs no label to begin with."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vesselrl.devices import sent
from vesselrl.segmenters.base import check_image, settings_of
from vesselrl.segmenters.levels import levels_of_tensor
from vesselrl.segmenters.unet.network import Image, Probability
from vesselrl.segmenters.unet.parameters import UnetParameters
from vesselrl.segmenters.unet.weights import load_weights
from vesselrl.threads import one_thread


class UnetSegmenter:
    """One network; a prompt is the magnification under which it looks, and where it cuts.

    Under a lower magnification wide vessels come to the width it knows best, and fine ones vanish;
    under a higher one fine branches do. Prompts of one magnification share one pass.

    Attributes:
        encoder_passes: passes through the network since it was made.
    """

    def __init__(self, parameters: UnetParameters) -> None:
        self._prompts = parameters.prompts
        self._network = load_weights(parameters.file, parameters.held)
        self.encoder_passes = 0

    def probabilities(self, image: Image, prompts: Sequence[str]) -> Probability:
        """The map of each prompt, float32 (P, H, W) in [0, 1], of uint8 (H, W) or (H, W, 3).

        The network's probability p becomes ``p (1 - t) / (p (1 - t) + (1 - p) t)``: its log-odds
        less those of the prompt's operating point t, so that p = t becomes one half.
        """
        maps: Probability = self._maps(image, prompts).cpu().numpy()
        return maps

    def probability_levels(self, image: Image, prompts: Sequence[str]) -> Image:
        """The same as `vesselrl.segmenters.levels` stores it, uint8 (P, H, W).

        Raises:
            ValueError: the network answers with NaN.
        """
        return levels_of_tensor(self._maps(image, prompts))

    @one_thread()
    @torch.inference_mode()
    def _maps(self, image: Image, prompts: Sequence[str]) -> Tensor:
        settings = settings_of(self._prompts, prompts)
        check_image(image)
        network = self._network
        points = np.array([setting.operating_point for setting in settings])
        t = sent(points, network.device)[:, None, None]
        whole = network.sent(image)
        zooms = sorted({setting.zoom for setting in settings})
        seen = {zoom: network.map_on_device(whole, zoom) for zoom in zooms}
        self.encoder_passes += len(seen)
        p = torch.stack([seen[setting.zoom] for setting in settings])
        against = (1 - p).mul_(t)
        p.mul_(1 - t)
        return p.div_(against.add_(p))
