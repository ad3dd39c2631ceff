"""Training of one policy: PPO over stored candidates."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from tqdm import tqdm

from vesselrl.rl.environments import CandidateVecEnv
from vesselrl.rl.monitoring import LoggedPPO, Monitor, greedy_states
from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.parameters import Judge, PPOParameters, RLParameters
from vesselrl.rl.policy import Policy
from vesselrl.threads import one_thread


@dataclass(frozen=True)
class Trained:
    """A trained policy and what is known of its training.

    Attributes:
        model: for Stable-Baselines3.
        policy: the same policy, for deployment.
        history: one row an update: steps, ep_rew_mean, gt_dice, proxy, gold, val_gold, ….
        result: kept_step, steps, seconds, steps_per_second, val_dice, best_reward, collapsed,
            choices (what the policy does, most frequent first, as shares of the images).
    """

    model: PPO
    policy: Policy
    history: list[dict[str, float]]
    result: dict[str, Any]


def train_policy(
    name: str,
    training: Outcomes,
    validation: Outcomes,
    paid_by: Judge,
    parameters: RLParameters,
    seed: int,
    folder: Path,
) -> Trained:
    """Train a policy and keep the one that scored best on validation images.

    Proximal Policy Optimisation (Schulman et al., 2017), in Stable-Baselines3's implementation.

    Args:
        name: of the experiment, for the progress bar.
        training: images to learn on.
        validation: images of other patients; their true objective, never the reward, decides which
            policy is kept. Without any the last one is kept.
        paid_by: who judges the masks that are paid for.
        parameters: settings of PPO, of checkpoints and of validation.
        seed: fixes weights, exploration and the order of images.
        folder: receives ``logs/PPO_1`` and ``checkpoints/``.
    """
    ppo = parameters.ppo
    features = np.stack([training.image_features(sample) for sample in training.samples])
    observer = Observer.fit(features, training.rules.length, parameters.observations)
    environment = CandidateVecEnv(training, observer, paid_by, ppo.n_envs, seed)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    steps = _whole_rollouts(ppo)
    with one_thread(), tqdm(total=steps, desc=f"{name}, seed {seed}", unit="step") as progress:
        model = LoggedPPO(
            "MlpPolicy",
            environment,
            n_steps=ppo.n_steps,
            batch_size=ppo.batch_size,
            n_epochs=ppo.n_epochs,
            learning_rate=ppo.learning_rate,
            gamma=ppo.gamma,
            gae_lambda=ppo.gae_lambda,
            clip_range=ppo.clip_range,
            ent_coef=ppo.ent_coef,
            policy_kwargs={"net_arch": ppo.net_arch},
            tensorboard_log=str(folder / "logs"),
            seed=seed,
            device="cpu",  # a network this small is slower on a GPU
        )
        model.deployment = Policy.of(model, training.rules, observer).settings() | {
            "mean": observer.mean.tolist(),
            "scale": observer.scale.tolist(),
        }
        monitor = Monitor(
            observer,
            validation,
            parameters.validate_every,
            folder / "checkpoints",
            parameters.save_freq,
            progress,
        )
        model.learn(ppo.total_timesteps, monitor, log_interval=None, tb_log_name="PPO")
    seconds = time.perf_counter() - started
    policy = Policy.of(model, training.rules, observer)
    kept = monitor.best_step or model.num_timesteps
    return Trained(
        model,
        policy,
        model.history,
        {
            "steps": model.num_timesteps,
            "kept_step": kept,
            "seconds": round(seconds, 3),
            "steps_per_second": round(model.num_timesteps / seconds, 1),
            "best_reward": model.history[-1].get("best_reward"),
            "val_dice": next(
                (row["val_dice"] for row in model.history if row["steps"] == kept), None
            )
            if validation.samples
            else None,
            **_behaviour(policy, [training, validation]),
        },
    )


def _whole_rollouts(ppo: PPOParameters) -> int:
    """Steps that PPO takes: whole rollouts, until there are as many as asked for."""
    rollout = ppo.n_steps * ppo.n_envs
    return -(-ppo.total_timesteps // rollout) * rollout


def _behaviour(policy: Policy, sets: Sequence[Outcomes]) -> dict[str, Any]:
    """What the policy does to the images, and whether it does the same to all of them."""
    states = [state for outcomes in sets for state in greedy_states(policy, outcomes).values()]
    names = [" | ".join(map(str, policy.rules.describe(state).values())) for state in states]
    unique, counts = np.unique(names, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    choices: Mapping[str, float] = {
        str(unique[i]): round(float(counts[i] / len(names)), 4) for i in order
    }
    return {"collapsed": len(unique) == 1 and len(names) > 1, "choices": choices}
