"""What each method costs: time, training, parameters, files and configuration.

Only what was measured or can be counted; what nobody measured is NaN, or an empty text.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vesselrl.evaluation.parameters import NETWORK_SECONDS, TRAINED
from vesselrl.rl.pixel.parameters import PIXEL_RL, REFINE, SA2VA_RL

if TYPE_CHECKING:
    from vesselrl.rl.policy import Policy

Named = Mapping[str, Mapping[int, Any]]
"""Experiment, regressor or network → seed → something."""

NETWORK_FILE = "best_reward_net.pth"
STATIC_FILE = "static_setting.json"
FILES = {
    "default": (),
    "random": (),
    "oracle": (),
    "static": (STATIC_FILE,),
    "best_of_one": (STATIC_FILE, NETWORK_FILE),
    "best_of_n": (NETWORK_FILE,),
    "posterior": (NETWORK_FILE,),
    "policy": ("policy.safetensors", "policy.json"),
    "regressor": ("policy.safetensors", "policy.json"),
    "network": (),
}
"""Kind → the files it needs wherever it is used, beside the segmenter's; a network's facts name its
own."""
GROUPS = {
    "default": ("segmenter",),
    "random": ("segmenter", "actions"),
    "oracle": ("segmenter", "actions"),
    "static": ("segmenter", "actions"),
    "best_of_one": ("segmenter", "actions", "reward"),
    "best_of_n": ("segmenter", "actions", "reward"),
    "posterior": ("segmenter", "reward"),
    "policy": ("segmenter", "actions", "experiments", "rl"),
    "regressor": ("segmenter", "actions", "regressors"),
    "network": ("supervised",),
}
"""Kind → the groups of parameters that make it; of experiments and regressors its own entry."""
IN_USE, IN_TRAINING, NOT_NEEDED = "use", "training", "no"
"""Where a method needs the reward network."""


def method_costs(
    choices: pd.DataFrame,
    segmenter_seconds: pd.DataFrame,
    network_seconds: pd.DataFrame,
    specifications: Mapping[str, Mapping[str, Any]],
    policies: Named,
    infos: Named,
    network_parameters: int,
    network_training: float,
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """One row a method, in the order of the choices.

    Args:
        choices: columns method, seed, image, segmenter_calls, seconds.
        segmenter_seconds: columns id, seconds (for all prompts), calls (the number of prompts).
        network_seconds: columns id, opinion_seconds, judging_seconds.
        specifications: method → its settings, of which kind, experiment and network are read.
        policies: experiment or regressor → seed → `Policy`.
        infos: experiment, regressor or network → seed → facts of its training, of which
            ``seconds``, and, where what was trained is no policy, ``parameters`` and ``files``.
        network_parameters: trained parameters of the reward network.
        network_training: seconds that its training took; NaN where they are not known.
        settings: all parameters of the run, as plain values.

    Returns:
        Columns method; segmenter_calls, encoder_passes; seconds (an image) and its parts
        segmenter_seconds, network_seconds, other_seconds (choosing and cleaning up; it holds what
        is NaN among the others); reward_network (where it is needed: ``use``, ``training``,
        ``no``); parameters (trained, to deploy); training_seconds (its own, of one seed, mean over
        seeds) and network_training_seconds (the reward network's, where it is needed);
        configuration_lines (of YAML); files (to deploy).
    """
    timed = choices.merge(
        segmenter_seconds.rename(columns={"seconds": "all_prompts"}), left_on="image", right_on="id"
    ).merge(network_seconds, left_on="image", right_on="id", suffixes=("", "_of_network"))
    timed["segmenter"] = timed["segmenter_calls"] * timed["all_prompts"] / timed["calls"]
    rows = []
    for method, of_method in timed.groupby("method", sort=False):
        specification = specifications.get(str(method), {})
        kind = specification.get("kind", "")
        name = str(specification.get("experiment") or specification.get("network"))
        policy = next(iter(policies.get(name, {}).values()), None)
        if (kind in TRAINED and policy is None) or (kind == "network" and name not in infos):
            kind = ""  # trained elsewhere: nothing is known of it
        needed = _reward_network(kind, policy, _trained_by(settings, name))
        means = of_method.groupby("image").mean(numeric_only=True).mean()
        network = _network_seconds(kind, needed, means)
        in_parts = float(means["segmenter"]) + np.nan_to_num(network)
        rows.append(
            {
                "method": method,
                "segmenter_calls": means["segmenter_calls"],
                "encoder_passes": _encoder_passes(kind, policy, float(means["segmenter_calls"])),
                "seconds": means["seconds"],
                "segmenter_seconds": means["segmenter"],
                "network_seconds": network,
                "other_seconds": means["seconds"] - in_parts,
                "reward_network": needed,
                "parameters": _parameters(
                    kind, needed, policy, network_parameters, infos.get(name, {})
                ),
                "training_seconds": _training_seconds(kind, infos.get(name, {})),
                "network_training_seconds": _network_training(needed, network_training),
                "configuration_lines": _lines(kind, needed, name, specification, settings),
                "files": ", ".join(_files(kind, needed, infos.get(name, {}))),
            }
        )
    return pd.DataFrame(rows)


def _trained_by(settings: Mapping[str, Any], name: str) -> str:
    """Who judged while the experiment or regressor was trained; empty for other methods."""
    trained = {**settings.get("experiments", {}), **settings.get("regressors", {})}
    return str(trained.get(name, {}).get("reward", ""))


def _reward_network(kind: str, policy: "Policy | None", reward: str) -> str:
    if NETWORK_FILE in FILES.get(kind, ()):
        return IN_USE
    if policy is not None and policy.observer.observations == "reward_network":
        return IN_USE
    if reward == "reward_network":
        return IN_TRAINING
    return NOT_NEEDED if kind in FILES else ""


def _encoder_passes(kind: str, policy: "Policy | None", calls: float) -> float:
    """Prompts asked together share one pass; a policy that looks at answers asks one by one."""
    if not calls:
        return 0.0
    if kind not in FILES:
        return np.nan
    if policy is None or not policy.observer.sees_masks or policy.rules.chooses != "prompts":
        return 1.0
    return calls


def _network_seconds(kind: str, needed: str, means: "pd.Series[Any]") -> float:
    if kind in NETWORK_SECONDS:
        return float(means[list(NETWORK_SECONDS[kind])].sum())
    return 0.0 if needed in (NOT_NEEDED, IN_TRAINING) else np.nan


def _parameters(
    kind: str,
    needed: str,
    policy: "Policy | None",
    of_network: int,
    infos: Mapping[int, Mapping[str, Any]],
) -> float:
    if kind not in FILES:
        return np.nan
    weights = policy.weights.items() if policy else ()
    own = sum(array.size for name, array in weights if name.startswith("layer."))
    own += max((info.get("parameters", 0) for info in infos.values()), default=0)
    return float(own + (of_network if needed == IN_USE else 0))


def _training_seconds(kind: str, infos: Mapping[int, Mapping[str, Any]]) -> float:
    if infos:
        return float(np.mean([info.get("seconds", np.nan) for info in infos.values()]))
    return 0.0 if kind in FILES and kind not in TRAINED else np.nan


def _network_training(needed: str, seconds: float) -> float:
    return {IN_USE: seconds, IN_TRAINING: seconds, NOT_NEEDED: 0.0}.get(needed, np.nan)


def _files(kind: str, needed: str, infos: Mapping[int, Mapping[str, Any]]) -> list[str]:
    files = [*FILES.get(kind, ()), *next(iter(infos.values()), {}).get("files", ())]
    if needed == IN_USE and NETWORK_FILE not in files:
        files.append(NETWORK_FILE)
    return files


def _lines(
    kind: str,
    needed: str,
    name: str,
    specification: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> float:
    """Lines of YAML, as the report prints the configuration."""
    import yaml

    if kind not in GROUPS:
        return np.nan
    groups = [*GROUPS[kind], *(["pixel_rl"] if name in (PIXEL_RL, REFINE) else [])]
    if name == SA2VA_RL:
        groups = ["segmenter", "reward", SA2VA_RL]
    if needed in (IN_USE, IN_TRAINING) and "reward" not in groups:
        groups.append("reward")
    whole = {group: settings.get(group) for group in groups}
    for group in ("experiments", "regressors"):
        if group in whole:
            whole[group] = {name: settings.get(group, {}).get(name)}
    whole["method"] = dict(specification)
    return len(yaml.safe_dump(whole, sort_keys=False).splitlines())
