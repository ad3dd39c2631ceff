"""Weights to begin a training with: whether they fit, and whom they know."""

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vesselrl.errors import VesselrlError
from vesselrl.samples import HELD_OUT, group_hashes, ids_of, known_groups
from vesselrl.segmenters.unet.parameters import SupervisedParameters

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Weights = Mapping[str, Tensor]


def weights_to_start_from(
    state: Mapping[str, Any] | None, parameters: SupervisedParameters
) -> Weights | None:
    """The weights of a network that training starts from.

    Args:
        state: of the `SegmentationNetwork`; None for drawn weights, which are None again.
        parameters: of which the size of the networks to be trained is read.

    Raises:
        VesselrlError: the network is of another size than those to be trained.
    """
    if state is None:
        return None
    training = parameters.training
    given, wanted = (
        f"features {list(features)}, downscale {downscale} and norm {norm}"
        for features, downscale, norm in (
            (state["features"], state["downscale"], state["norm"]),
            (training.features, training.downscale, training.norm),
        )
    )
    if given != wanted:
        raise VesselrlError(
            f"supervised.pretrained, '{parameters.pretrained}', has the weights of a network with "
            f"{given}; supervised.training asks for {wanted}. Give it those (as conf/gpu does for "
            "the weights that are shipped), or supervised.pretrained: none."
        )
    weights: Weights = state["weights"]
    return weights


def check_groups(
    known: Collection[str], samples: "pd.DataFrame", parameters: SupervisedParameters
) -> None:
    """Warn where weights learned from groups that are trained on here: cross-fitting is not honest.

    Args:
        known: hashes of the groups that they learned from, see `vesselrl.samples.group_hashes`.
        samples: the table of samples.
        parameters: whose ``pretrained`` names them.

    Raises:
        VesselrlError: they learned from groups that are in validation or test here.
    """
    if leaking := known_groups(samples, known, *HELD_OUT):
        raise VesselrlError(
            f"supervised.pretrained, '{parameters.pretrained}', learned from {leaking} of the "
            "groups that are in validation or test here, so nothing measured on them would be "
            "true: give it weights that were trained on other patients, or the splits they were "
            "trained with. (If these are other patients of the same names, give the groups other "
            "names, in groups.json.)"
        )
    if again := known_groups(samples, known, "train"):
        logger.warning(
            "supervised.pretrained, '%s', learned from %d of the %d training groups: what the fold "
            "networks show of these is not honest, and a reward network that learns from it (as in "
            "pixel_rl) believes masks to be better than they are.",
            parameters.pretrained,
            again,
            len(group_hashes(samples, ids_of(samples, "train"))),
        )
