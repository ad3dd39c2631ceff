"""Whether a reward network may pay."""

import logging
from collections.abc import Mapping
from typing import Any

from vesselrl.errors import VesselrlError

logger = logging.getLogger(__name__)


def check_fit(reward_net_report: Mapping[str, Any], allow_unfit: bool) -> None:
    """A policy goes wherever its reward is wrong: an unfit network stops, or at least warns.

    Args:
        reward_net_report: of which ``fit`` and ``reason`` are read.
        allow_unfit: whether training goes on.

    Raises:
        VesselrlError: the network is not fit, and that is not allowed.
    """
    if reward_net_report["fit"]:
        return
    verdict = f"The reward network is not fit to train a policy. {reward_net_report['reason']}"
    if not allow_unfit:
        raise VesselrlError(
            f"{verdict} See 08_reporting/reward_net_report.json. More labelled patients help most; "
            "reward.training.iterations and reward.training.features make it larger. To train on "
            "it anyway: rl.allow_unfit_reward: true."
        )
    logger.warning("%s Training goes on, as rl.allow_unfit_reward says.", verdict)
