"""What `rl.py` measures on: the quick form's own parts, and stand-ins for what is dear."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from measuring import project_parameters
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from vesselrl.devices import best_device
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.parameters import RewardParameters
from vesselrl.reward.scenes import SceneLoader
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.environments import CandidateVecEnv
from vesselrl.rl.observations import Observer, image_features
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.parameters import (
    EXPERIMENTS,
    ActionParameters,
    ExperimentParameters,
    PPOParameters,
)
from vesselrl.rl.reference import SegmentationEnv
from vesselrl.segmenters.base import Segmenter
from vesselrl.segmenters.candidates import make_candidates
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.synthetic.angiogram import draw_patient
from vesselrl.threads import one_thread

IMAGES = 20
CALL = 0.45
"""Seconds that `Sleeper` sleeps when it is asked, be it one prompt or all."""
SMALL = 32
"""Side of the small images in pixels."""

Loaders = dict[str, Callable[[], Any]]


class Project:
    """The parts of a run, made from the parameters of the quick form."""

    def __init__(self) -> None:
        self._conf = conf = project_parameters(quick=True)
        self.segmenter = SegmenterParameters.model_validate(conf["segmenter"])
        self.prompts = list(self.segmenter.prompts)
        self.objective = conf["report"]["objective"]
        self.ppo = PPOParameters(**conf["rl"]["ppo"])
        self.rollout = self.ppo.n_steps * self.ppo.n_envs
        self._experiments = {n: ExperimentParameters(**conf["experiments"][n]) for n in EXPERIMENTS}
        self._actions = ActionSet.of(
            self.prompts, self.segmenter.default_prompt, ActionParameters(**conf["actions"])
        )

    def rules(self, experiment: str) -> Rules:
        """The rules of an experiment."""
        return Rules.of(self._actions, self._experiments[experiment])

    def network(self, kind: type[RewardNetwork] = RewardNetwork) -> RewardNetwork:
        """A reward network with drawn weights."""
        reward = RewardParameters(**self._conf["reward"])
        training, architecture = reward.training, reward.training.architecture
        members = [architecture.build(n).to(best_device()) for n in range(training.members)]
        side = reward.examples.max_side
        scoring = Scoring(training.aggregation, training.kappa)
        return kind(members, architecture, side, scoring)

    def draw(self) -> tuple[Loaders, Loaders]:
        """Images and truths, each id → loader."""
        sample = self._conf["sample"]
        patients = range(sample["seed"], sample["seed"] + -(-IMAGES // sample["frames"]))
        frames = [f for p in patients for f in draw_patient(p, sample["frames"], sample["size"])]
        drawn = {str(number): frame for number, frame in enumerate(frames[:IMAGES])}
        return (
            {name: lambda image=frame.image: image for name, frame in drawn.items()},
            {name: lambda mask=frame.mask: mask for name, frame in drawn.items()},
        )

    def load(
        self, images: Loaders, truths: Loaders, segmenter: Segmenter, network: RewardNetwork
    ) -> SceneLoader:
        """Ask the segmenter about all images; the scenes of its answers."""
        made = {
            s: make_candidates(s, load(), segmenter, self.prompts) for s, load in images.items()
        }
        candidates = {sample: lambda stored=stored: stored for sample, stored in made.items()}
        return SceneLoader(images, truths, candidates, network)

    def outcomes(self, experiment: str, samples: Sequence[str], load: SceneLoader) -> Outcomes:
        """An empty table."""
        return Outcomes(samples, load, self.rules(experiment), self.objective)

    def environment(
        self,
        experiment: str,
        outcomes: Outcomes,
        n_envs: int,
        kind: type[CandidateVecEnv] = CandidateVecEnv,
    ) -> CandidateVecEnv:
        """Environments over a table; they see images as the first twenty are seen."""
        features = np.stack([outcomes.image_features(s) for s in outcomes.samples[:IMAGES]])
        observer = Observer.fit(features, outcomes.rules.length)
        return kind(outcomes, observer, self._experiments[experiment].reward, n_envs, seed=0)

    def in_the_loop(
        self,
        experiment: str,
        images: Loaders,
        truths: Loaders,
        segmenter: Segmenter,
        network: RewardNetwork,
    ) -> VecEnv:
        """Plain environments in a batch of Stable-Baselines3's."""
        rules = self.rules(experiment)
        features = np.stack([image_features(load()) for load in images.values()])
        observer = Observer.fit(features, rules.length)
        paid_by = self._experiments[experiment].reward
        make = partial(
            SegmentationEnv, images, truths, segmenter, network, rules, self.objective, observer,
            paid_by,
        )  # fmt: skip
        return DummyVecEnv([make] * self.ppo.n_envs)

    def learn(
        self,
        environment: VecEnv,
        steps: int,
        rollout: int,
        clock: Callable[[], float] = time.process_time,
    ) -> float:
        """Seconds of PPO, by the CPU's clock; in the same world it does the same each time."""
        started = clock()
        with one_thread():
            PPO(
                "MlpPolicy",
                environment,
                n_steps=rollout // environment.num_envs,
                batch_size=self.ppo.batch_size,
                n_epochs=self.ppo.n_epochs,
                learning_rate=self.ppo.learning_rate,
                gamma=self.ppo.gamma,
                gae_lambda=self.ppo.gae_lambda,
                clip_range=self.ppo.clip_range,
                ent_coef=self.ppo.ent_coef,
                policy_kwargs={"net_arch": self.ppo.net_arch},
                seed=0,
                device="cpu",
            ).learn(steps)
        return clock() - started


class Idle(CandidateVecEnv):
    """Environments of the same shapes in which nothing happens."""

    def reset(self) -> Any:
        """Noise, as is paid then: of nothing but zeros PPO's arithmetic takes another time."""
        random = np.random.default_rng(0)
        shown = random.normal(size=(self.num_envs, *self.observation_space.shape))
        paid = random.normal(size=self.num_envs).astype(np.float32)
        dones = np.full(self.num_envs, self._outcomes.rules.length == 1)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._result = shown.astype(np.float32), paid, dones, infos
        return self._result[0]

    def step_async(self, actions: Any) -> None:
        """Nothing."""

    def step_wait(self) -> Any:
        """The same each time."""
        return self._result


class Sleeper:
    """A segmenter that takes its time; dark pixels are vessel to it."""

    def probabilities(self, image: Any, prompts: Sequence[str]) -> Any:
        """Always all prompts are asked."""
        time.sleep(CALL)
        return np.stack([1 - image.astype(np.float32) / 255] * len(prompts))


class Believer(RewardNetwork):
    """A reward network that takes the segmenter's word for it."""

    def opinions(self, image: Any, candidate: Any) -> Any:
        """The candidate."""
        return candidate[None]


class Watched:
    """A method of an object, whose calls are counted and timed from now on."""

    def __init__(self, owner: Any, name: str) -> None:
        self._method = getattr(owner, name)
        self.calls, self.seconds = 0, 0.0
        setattr(owner, name, self)

    def __call__(self, *arguments: Any) -> Any:
        """What the method says."""
        started = time.perf_counter()
        answer = self._method(*arguments)
        self.seconds += time.perf_counter() - started
        self.calls += 1
        return answer


def small_loaders(samples: Sequence[str], prompts: int) -> list[Loaders]:
    """Images, truths and candidates of noise, each id → loader; nothing is kept."""
    kinds = (_small_image, _small_truth, _small_candidates)
    return [{s: partial(make, int(s), prompts) for s in samples} for make in kinds]


def _small_image(number: int, _: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (SMALL, SMALL), np.uint8)


def _small_truth(number: int, prompts: int) -> Any:
    return _small_image(number, prompts) < 64


def _small_candidates(number: int, prompts: int) -> dict[str, Any]:
    image = _small_image(number, prompts)
    return {"levels": np.stack([np.roll(255 - image, prompt) for prompt in range(prompts)])}
