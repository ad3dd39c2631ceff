"""Training of one policy: PPO over stored candidates."""

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from vesselrl.checkpoints import Checkpoints
from vesselrl.files import write_atomically, writer_of
from vesselrl.rl.environments import CandidateVecEnv
from vesselrl.rl.guard import GoldGuard, greedy_states
from vesselrl.rl.looks import kept, over_optimisation, reason_to_end
from vesselrl.rl.monitoring import Monitor, entropy
from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.parameters import Judge, PPOParameters, RLParameters
from vesselrl.rl.policy import Policy
from vesselrl.rl.ppo import SteppedPPO
from vesselrl.rl.run_folder import CHECKPOINTS, LOG, RESUME, STATE
from vesselrl.threads import one_thread

logger = logging.getLogger(__name__)

_EARLIER = "events.out.tfevents.0000000000"
"""Of the files of a TensorBoard log the one before all whose names have a time in this place."""


@dataclass(frozen=True)
class Trained:
    """A trained policy and what is known of its training.

    Attributes:
        model: for Stable-Baselines3.
        policy: the same policy, for deployment.
        history: one row an update: steps, ep_rew_mean, gt_dice, proxy, gold, val_gold, ….
        result: steps, ended (why), kept_step, seconds, steps_per_second, val_dice, best_reward;
            what `over_optimisation` tells; collapsed, choices (what the policy does, most frequent
            first, as shares of the images), most_frequent_choice (the first of these shares) and
            choice_entropy (in nats).
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
    fingerprint: str,
) -> Trained:
    """Train a policy and keep the one that scored best on validation images.

    Proximal Policy Optimisation (Schulman et al., 2017, arXiv:1707.06347), in Stable-Baselines3's
    implementation. An interrupted training goes on after its last update and ends in the same
    policy, history and files. A finished one is not trained again.

    Args:
        name: of the experiment, for the progress bar.
        training: images to learn on.
        validation: images of other patients; their true objective, never the reward, decides which
            policy is kept and when training ends early. Without any the last policy is kept.
        paid_by: who judges the masks that are paid for.
        parameters: settings of PPO, of checkpoints and of validation.
        seed: fixes weights, exploration and the order of images.
        folder: receives ``logs/PPO_1`` and ``checkpoints/``.
        fingerprint: of data and parameters: the state of another training is not gone on with.
    """
    ppo = parameters.ppo
    features = np.stack([training.image_features(sample) for sample in training.samples])
    observer = Observer.fit(features, training.rules.length, parameters.observations)
    environment = CandidateVecEnv(training, observer, paid_by, ppo.n_envs, seed)
    states, log = Checkpoints(folder / RESUME), folder / LOG
    saved = states.load(STATE, fingerprint)
    _take_back(log, saved["log"] if saved else 0)
    if saved:
        logger.info("%s, seed %d: goes on after step %d.", name, seed, saved["model"]["steps"])
    guard = GoldGuard(observer, validation)
    started = time.perf_counter()
    with (
        one_thread(),
        tqdm(total=_whole_rollouts(ppo), desc=f"{name}, seed {seed}", unit="step") as progress,
        closing(configure(str(log), ["tensorboard"])) as writer,
    ):
        model = _new_model(ppo, environment, seed)
        model.deployment = Policy.of(model, training.rules, observer).settings() | {
            "mean": observer.mean.tolist(),
            "scale": observer.scale.tolist(),
        }
        model.set_logger(writer)
        if saved:
            model.load_state(saved["model"])
            guard.best = saved["best"]
            started -= saved["seconds"]
            progress.update(model.num_timesteps)
        monitor = Monitor(folder / CHECKPOINTS, parameters.save_freq, progress)
        planned, patience = ppo.total_timesteps, parameters.patience
        model.begin(planned, monitor)
        while not (ended := reason_to_end(model.history, model.num_timesteps, planned, patience)):
            model.update(monitor)
            updates, is_last = len(model.history), model.num_timesteps >= planned
            if is_last or updates % parameters.validate_every == 0:
                guard.look(model)
            states.save(
                STATE,
                fingerprint,
                {
                    "model": model.state(),
                    "best": guard.best,
                    "log": sum(file.stat().st_size for file in _parts(log)),
                    "seconds": time.perf_counter() - started,
                },
            )
        seconds = time.perf_counter() - started
    if guard.best is not None:
        model.policy.load_state_dict(guard.best)
    policy = Policy.of(model, training.rules, observer)
    best = kept(model.history) or {}
    return Trained(
        model,
        policy,
        model.history,
        {
            "steps": model.num_timesteps,
            "ended": ended,
            "kept_step": best.get("steps", model.num_timesteps),
            "seconds": round(seconds, 3),
            "steps_per_second": round(model.num_timesteps / max(seconds, 1e-9), 1),
            "best_reward": model.history[-1].get("best_reward"),
            "val_dice": best.get("val_dice"),
            **over_optimisation(model.history, paid_by),
            **_behaviour(policy, [training, validation]),
        },
    )


def _new_model(ppo: PPOParameters, environment: CandidateVecEnv, seed: int) -> SteppedPPO:
    return SteppedPPO(
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
        seed=seed,
        device="cpu",  # a network this small is slower on a GPU
    )


def _whole_rollouts(ppo: PPOParameters) -> int:
    """Steps that PPO takes: whole rollouts, until there are as many as asked for."""
    rollout = ppo.n_steps * ppo.n_envs
    return -(-ppo.total_timesteps // rollout) * rollout


def _parts(log: Path) -> list[Path]:
    """Files of a TensorBoard log, in the order in which they are read."""
    return sorted(log.glob("events*"))


def _take_back(log: Path, size: int) -> None:
    """Take a TensorBoard log back to its first so many bytes: later updates come again.

    They are in one file then, which is read before the one that follows: the time in that one's
    name may be an earlier one, if the clock was set back.
    """
    parts = _parts(log)
    kept = b"".join(part.read_bytes() for part in parts)[:size]
    if kept:
        write_atomically(log / _EARLIER, writer_of(kept))
    for part in parts:
        if part.name != _EARLIER or not kept:
            part.unlink()


def _behaviour(policy: Policy, sets: Sequence[Outcomes]) -> dict[str, Any]:
    """What the policy does to the images, and whether it does the same to all of them."""
    states = [state for outcomes in sets for state in greedy_states(policy, outcomes).values()]
    names = [" | ".join(map(str, policy.rules.describe(state).values())) for state in states]
    unique, counts = np.unique(names, return_counts=True)
    shares = counts / len(names)
    order = np.argsort(-counts, kind="stable")
    choices = {str(unique[i]): round(float(shares[i]), 4) for i in order}
    return {
        "collapsed": len(unique) == 1 and len(names) > 1,
        "most_frequent_choice": round(float(shares.max()), 4),
        "choice_entropy": round(entropy(shares), 4),
        "choices": choices,
    }
