"""Experiments and evaluation on drawn images, from candidates to scores per image."""

import gc
import json
import shutil
import weakref
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from scipy import ndimage

from vesselrl.checkpoints import Checkpoints
from vesselrl.datasets.images import MaskDataset
from vesselrl.datasets.sb3 import Sb3ModelDataset
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.imports import open_results
from vesselrl.evaluation.parameters import EvaluationParameters
from vesselrl.metrics.masks import mask_metrics
from vesselrl.networks.architecture import Architecture
from vesselrl.pipelines import evaluation, experiments
from vesselrl.pipelines.experiments.nodes import train_policies
from vesselrl.pipelines.reward_net.nodes import score_actions
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scenes import Scene
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.observations import feature_function
from vesselrl.rl.parameters import (
    EXPERIMENTS,
    REGRESSORS,
    ActionParameters,
    ExperimentParameters,
    RegressorParameters,
    RLParameters,
)
from vesselrl.rl.run_folder import RunFolder
from vesselrl.segmenters.levels import from_levels, to_levels
from vesselrl.segmenters.parameters import FilterParameters

SIZE = 48
SPLITS = ["train"] * 4 + ["val"] * 2 + ["test"] * 3
SAMPLES = pd.DataFrame(
    {
        "id": [f"00{number}" for number in range(len(SPLITS))],
        "file": [f"00{number}.jpg" for number in range(len(SPLITS))],
        "width": SIZE,
        "height": SIZE,
        "group": [f"g{number}" for number in range(len(SPLITS))],
        "split": SPLITS,
        "vessel_fraction": 0.1,
        "sha256": [str(number) for number in range(len(SPLITS))],
    }
)
TEST = list(SAMPLES.loc[SAMPLES["split"] == "test", "id"])
PROMPT = {"scales": [2], "fraction": 0.1, "min_size": 0}
SEGMENTER = FilterParameters(
    kind="ridge", default_prompt="thick", max_side=320, prompts={"good": PROMPT, "thick": PROMPT}
)
ACTIONS = ActionParameters(
    thresholds=[0.3, 0.5], operations={"erode": {"kind": "erode"}, "dilate": {"kind": "dilate"}}
)
RL = RLParameters(
    seeds=[1, 2], save_freq=64, validate_every=1, resume="auto", patience=9,
    allow_unfit_reward=False,
    ppo={
        "total_timesteps": 128, "n_envs": 2, "n_steps": 32, "batch_size": 32, "n_epochs": 4,
        "learning_rate": 3e-3, "gamma": 0.99, "gae_lambda": 0.95, "clip_range": 0.2,
        "ent_coef": 0.0, "net_arch": [16],
    },
)  # fmt: skip
METHODS = EvaluationParameters(
    methods={
        **{kind: {"kind": kind} for kind in ("default", "static", "best_of_n", "posterior")},
        "random": {"kind": "random", "repeats": 3},
        **{name: {"kind": "policy", "experiment": name} for name in EXPERIMENTS},
        **{name: {"kind": "regressor", "experiment": name} for name in REGRESSORS},
        "supervised": {"kind": "network", "network": "supervised"},
        "oracle": {"kind": "oracle"},
    }
)
NO_SETTINGS = ["oracle", "posterior", "postprocess_rl", "supervised"]
"""Methods that do not choose one setting, and may beat the oracle, and itself."""
TRAINING = list(SAMPLES.loc[SAMPLES["split"] == "train", "id"])
OBJECTIVE = ["dice", "recall"]
PARTS = ("models", "policies", "histories", "training_infos")


def draw(number):
    rng = np.random.default_rng(number)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[int(rng.integers(12, 36)), 4:-4] = True
    mask = ndimage.binary_dilation(mask, iterations=2)
    image = np.clip(150 - 60 * mask + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8)
    answers = np.stack([mask, ndimage.binary_dilation(mask, iterations=3)]).astype(np.float32)
    levels = to_levels(np.stack([ndimage.gaussian_filter(answer, 1) for answer in answers]))
    prompts = np.array(list(SEGMENTER.prompts))
    return image, mask, {"levels": levels, "prompts": prompts, "seconds": np.array(0.2)}


WORLD = {sample: draw(number) for number, sample in enumerate(SAMPLES["id"])}


class KeptDataset(MemoryDataset):
    """Still there when the last node that reads it has run."""

    def _release(self):
        pass


def partitions(part):
    return {sample: (lambda p=parts[part]: p) for sample, parts in WORLD.items()}


def network_maps(sample):
    """What a network that always sees a little too much vessel shows of an image."""
    blurred = ndimage.gaussian_filter(WORLD[sample][1].astype(np.float32), 1)
    return {"levels": to_levels(np.sqrt(np.clip(blurred, 0, 1))), "seconds": np.array(0.3)}


MAPS = {
    f"supervised/{sample}": (lambda sample=sample: network_maps(sample))
    for sample in SAMPLES.loc[SAMPLES["split"] != "train", "id"]
}


def untrained_network():
    architecture = Architecture(2, (4, 8, 8, 8, 8, 4), downscale=2)
    members = [architecture.build(seed) for seed in range(2)]
    return RewardNetwork(members, architecture, 64, Scoring("lower_bound", 0.5)).state()


def run(folder, names=EXPERIMENTS, without=(), observations="handmade"):
    """Run the named experiments, then evaluation; some methods as if they were not trained."""
    network = untrained_network()
    images, masks, candidates = (partitions(part) for part in range(3))
    scores = score_actions(images, masks, candidates, network, {}, SAMPLES, SEGMENTER, ACTIONS)
    inputs = {
        "images": images, "masks": masks, "candidates": candidates, "reward_network": network,
        "reward_net_report": {"fit": True, "reason": "It orders masks well."},
        "action_scores": {sample: cache(make) for sample, make in scores.items()},
        "samples": SAMPLES, "params:segmenter": SEGMENTER,
        "params:rl": RL.model_copy(update={"observations": observations}),
        "params:rl.observations": observations, "params:rl.allow_unfit_reward": False,
        "params:actions": ACTIONS, "params:report.objective": OBJECTIVE, "params:seed": 5,
        "params:evaluation": METHODS, "params:evaluation.metrics": METHODS.metrics,
        "params:ingest.max_pixels": 10**6, "file_names": {},
        "imported_results": {}, "finished_policies": {}, "segmenter.network_maps": MAPS,
        "pixel_rl.network_maps": {}, "sa2va_rl.network_maps": {},
    }  # fmt: skip
    for name in EXPERIMENTS:
        chooses, length = {
            "prompt_rl": ("prompts", 3), "postprocess_rl": ("operations", 5),
            "reward_rl": ("setting", 1),
        }[name]  # fmt: skip
        judge = "reward_network" if name == "reward_rl" else "ground_truth"
        inputs[f"params:experiments.{name}"] = ExperimentParameters(
            chooses=chooses, episode_length=length, reward=judge
        )
        inputs[f"{name}.run_folder"] = RunFolder(folder / name)
    for name, judge in zip(REGRESSORS, ("reward_network", "ground_truth"), strict=True):
        inputs[f"params:regressors.{name}"] = RegressorParameters(reward=judge)
    inputs |= {f"{name}.policies": {} for name in without}
    kept = ("choices", "methods_not_run", "static_setting", "predictions", "metrics_per_image")
    kept += ("operating_points",)
    kept += tuple(f"{n}.{p}" for n in names for p in PARTS)
    regressors = Pipeline([])
    if not set(REGRESSORS) & set(without):
        kept += tuple(f"{n}.{p}" for n in REGRESSORS for p in ("policies", "training_infos"))
        regressors = experiments.create_regressors()
    catalog = DataCatalog(
        {name: MemoryDataset(value, "assign") for name, value in inputs.items()}
        | {name: KeptDataset(copy_mode="assign") for name in kept}
    )
    pipeline = experiments.create_pipeline(names) + regressors + evaluation.create_pipeline()
    SequentialRunner().run(Pipeline(pipeline), catalog)
    return catalog


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return run(tmp_path_factory.mktemp("models"))


def test_every_method_is_scored_on_the_same_test_images(catalog):
    table = catalog.load("metrics_per_image")
    assert set(table["method"]) == set(METHODS.methods)
    for (method, _), rows in table.groupby(["method", "seed"]):
        assert list(rows["image"]) == TEST, method
    assert set(table["split"]) == {"test"}
    assert table.loc[table["method"] == "random", "seed"].nunique() == 3
    assert set(table.loc[table["method"] == "reward_rl", "seed"]) == {1, 2}


def test_scores_are_those_of_the_predicted_masks(catalog):
    predictions, choices = catalog.load("predictions"), catalog.load("choices")
    table = catalog.load("metrics_per_image").set_index(["method", "seed", "image"])
    assert set(choices["prediction"]) == set(predictions)
    for row in choices.itertuples():
        expected = mask_metrics(predictions[row.prediction](), WORLD[row.image][1])
        scored = table.loc[(row.method, row.seed, row.image)]
        assert {key: scored[key] for key in expected} == pytest.approx(expected, abs=0, nan_ok=True)


def test_no_choice_beats_the_oracle_and_the_static_setting_is_best_on_validation(catalog):
    table = catalog.load("metrics_per_image")
    table = table.assign(objective=table[OBJECTIVE].mean(axis=1))
    means = table.groupby("method")["objective"].mean()
    assert means["oracle"] >= means.drop(NO_SETTINGS).max()
    static = catalog.load("static_setting")
    assert static["prompt"] == "good"


def test_a_call_is_paid_for_each_prompt_asked(catalog):
    calls = catalog.load("metrics_per_image").groupby("method")["segmenter_calls"].agg(set)
    assert calls["default"] == calls["static"] == calls["random"] == calls["reward_rl"] == {1}
    assert calls["regressor"] == calls["regressor_true"] == {1}
    assert calls["best_of_n"] == calls["oracle"] == calls["posterior"] == {2}
    assert calls["postprocess_rl"] == {1}


def test_a_networks_map_is_cut_where_validation_images_score_best(catalog):
    point = catalog.load("operating_points")["supervised"]
    rows = catalog.load("choices").query("method == 'supervised'")
    assert set(rows["threshold"]) == {point["threshold"]}
    predictions = catalog.load("predictions")
    for row in rows.itertuples():
        expected = from_levels(network_maps(row.image)["levels"]) > point["threshold"]
        assert np.array_equal(predictions[row.prediction](), expected)


def test_a_network_calls_no_segmenter_and_takes_its_own_time(catalog):
    rows = catalog.load("metrics_per_image").query("method == 'supervised'")
    assert set(rows["segmenter_calls"]) == {0}
    assert set(rows["seconds"]) == {0.3}


def test_a_network_that_was_not_trained_is_named_with_its_command():
    methods = EvaluationParameters(
        methods={"default": {"kind": "default"}, "d": {"kind": "network", "network": "distilled"}}
    )
    choices, not_run = decide(methods)
    assert set(choices["method"]) == {"default"}
    assert not_run == [{"method": "d", "command": "kedro run --pipeline segmenter"}]


def test_best_of_n_pays_for_the_reward_network_too(catalog):
    seconds = catalog.load("metrics_per_image").groupby("method")["seconds"].mean()
    assert seconds["best_of_n"] > seconds["posterior"] > 2 * 0.1
    assert 0.1 <= seconds["static"] < seconds["posterior"]


def test_the_first_seed_has_the_short_name(catalog):
    names = set(catalog.load("predictions"))
    assert f"prompt_rl/masks/{TEST[0]}" in names
    assert f"prompt_rl/seeds/2/masks/{TEST[0]}" in names
    assert f"default/masks/{TEST[0]}" in names


def test_training_infos_tell_settings_versions_and_result(catalog):
    infos = catalog.load("prompt_rl.training_infos")
    assert list(infos) == [1, 2]
    for seed, info in infos.items():
        json.dumps(info)
        assert info["seed"] == seed
        assert info["config"]["rl"]["ppo"]["learning_rate"] == 3e-3
        assert info["training_images"] == 4
        assert info["packages"]["stable-baselines3"]
        assert info["steps"] == 128
    assert infos[1]["fingerprint"] == infos[2]["fingerprint"]
    assert infos[1]["fingerprint"] != catalog.load("reward_rl.training_infos")[1]["fingerprint"]


def test_experiments_that_were_not_run_are_named_with_their_command(tmp_path):
    missing = ["prompt_rl", "postprocess_rl", *REGRESSORS]
    catalog = run(tmp_path, ["reward_rl"], without=missing)
    assert catalog.load("methods_not_run") == [
        {"method": name, "command": "kedro run --pipeline experiments"} for name in missing
    ]
    assert "prompt_rl" not in set(catalog.load("metrics_per_image")["method"])


def test_a_regressor_is_made_of_training_images_and_chosen_by_validation_images(catalog):
    infos = {name: catalog.load(f"{name}.training_infos")[5] for name in REGRESSORS}
    assert [info["reward"] for info in infos.values()] == ["reward_network", "ground_truth"]
    for name, info in infos.items():
        json.dumps(info)
        assert info["training_images"] == 4
        assert info["validation_images"] == 2
        policy = catalog.load(f"{name}.policies")[5]
        assert policy.joint
        assert policy.rules.choices == (2, 2, 3)


def test_scoring_what_it_learns_from_is_part_of_a_regressors_training_time():
    images, masks, candidates = (partitions(part) for part in range(3))
    network = untrained_network()
    world = (images, masks, candidates, network)
    scored = experiments.nodes.score_training_images(*world, SAMPLES, SEGMENTER, ACTIONS)
    assert all(make()["seconds"] > 0 for make in scored.values())
    an_hour = {s: (lambda make=make: make() | {"seconds": 3600}) for s, make in scored.items()}
    validation = score_actions(*world, {}, SAMPLES, SEGMENTER, ACTIONS)
    seen = experiments.nodes.see_images(images, network, SAMPLES, "handmade")
    _, infos = experiments.nodes.fit_regressor(
        seen, an_hour, validation, UNFIT, SAMPLES,
        RegressorParameters(reward="ground_truth"), "handmade", False, SEGMENTER, ACTIONS,
        OBJECTIVE, 5,
    )  # fmt: skip
    assert 4 * 3600 < infos[5]["seconds"] < 4 * 3600 + 600


def test_policies_may_see_images_through_the_reward_network_and_pay_for_it(tmp_path):
    through = run(tmp_path, ["reward_rl"], ["prompt_rl", "postprocess_rl"], "reward_network")
    network = RewardNetwork.from_state(untrained_network())
    seen = np.stack([network.image_features(WORLD[sample][0]) for sample in TRAINING])
    for name in ("reward_rl", *REGRESSORS):
        observer = next(iter(through.load(f"{name}.policies").values())).observer
        assert observer.observations == "reward_network"
        np.testing.assert_allclose(observer.mean, seen.mean(0), atol=1e-6)
    table = through.load("metrics_per_image").groupby("method")
    assert set(table.get_group("reward_rl")["segmenter_calls"]) == {1}
    assert table["seconds"].min()["reward_rl"] > table["seconds"].min()["static"]


def decide(methods=METHODS, samples=SAMPLES, policies=None, imported_masks=None):
    """Let methods decide about the test images, none of which was looked at before."""
    network = untrained_network()
    images, masks, candidates = (partitions(part) for part in range(3))
    scores = score_actions(images, masks, candidates, network, {}, samples, SEGMENTER, ACTIONS)
    return evaluation.nodes.decide(
        images, candidates, scores, {"index": 0}, network, policies or {}, imported_masks or {},
        {}, samples, methods, SEGMENTER, ACTIONS, OBJECTIVE, 1,
    )  # fmt: skip


def test_without_test_images_the_comparison_says_what_to_do():
    samples = SAMPLES.assign(split="train")
    with pytest.raises(VesselrlError, match=r"no test images.*split.fractions.test"):
        decide(samples=samples)


def test_a_patient_in_the_training_and_the_test_split_stops_the_comparison():
    tampered = SAMPLES.assign(group=["g0"] * len(SAMPLES))
    with pytest.raises(VesselrlError, match=r"share their group with images of train and val"):
        decide(samples=tampered)


def with_imported(**settings):
    mine = {"kind": "imported", "path": "/data/theirs"} | settings
    return EvaluationParameters(methods={"default": {"kind": "default"}, "mine": mine})


TRUTH = {f"mine/{sample}": (lambda s=sample: WORLD[s][1]) for sample in TEST}


def test_imported_masks_are_scored_like_any_other_and_their_unknown_cost_stays_unknown():
    choices, not_run = decide(with_imported(), imported_masks=TRUTH)
    assert not_run == []
    images, masks, candidates = (partitions(part) for part in range(3))
    predictions = evaluation.nodes.draw_predictions(
        choices, images, candidates, untrained_network(), TRUTH, with_imported(), SEGMENTER,
        ACTIONS,
    )  # fmt: skip
    assert {f"mine/masks/{sample}" for sample in TEST} < set(predictions)
    scores = evaluation.nodes.score_predictions(choices, predictions, masks, SAMPLES, [])
    of_mine = scores[scores["method"] == "mine"]
    assert list(of_mine["image"]) == TEST
    assert set(of_mine["dice"]) == {1.0}
    assert of_mine[["segmenter_calls", "seconds"]].isna().all(axis=None)
    assert scores.loc[scores["method"] == "default", "seconds"].notna().all()


def test_the_cost_of_an_imported_method_can_be_told():
    choices, _ = decide(with_imported(segmenter_calls=2, seconds=0.25), imported_masks=TRUTH)
    of_mine = choices[choices["method"] == "mine"]
    assert set(of_mine["segmenter_calls"]) == {2}
    assert set(of_mine["seconds"]) == {0.25}


def test_an_imported_method_without_the_mask_of_every_test_image_is_left_out_in_words(caplog):
    choices, not_run = decide(with_imported(), imported_masks=dict(list(TRUTH.items())[:1]))
    assert set(choices["method"]) == {"default"}
    assert not_run == [
        {
            "method": "mine",
            "command": f"add the masks of 2 of 3 test images ({TEST[1]}, {TEST[2]}) where "
            "evaluation.methods.mine.path says",
        }
    ]
    assert "‘mine’ is left out: add the masks of 2 of 3" in caplog.text


def test_masks_are_imported_by_the_names_behind_the_pseudonyms(tmp_path):
    hidden = SAMPLES.assign(file=[f"img-{sample}.jpg" for sample in SAMPLES["id"]])
    names = {"files": {file: f"Mustermann {file[4:]}" for file in hidden["file"]}}
    for sample in TEST:
        MaskDataset(filepath=str(tmp_path / f"Mustermann {sample}.png")).save(WORLD[sample][1])
    opener = {"mine": lambda: open_results(tmp_path)}
    imported = evaluation.nodes.import_masks(opener, names, hidden, 10**6)
    assert list(imported) == list(TRUTH)
    for name, make in imported.items():
        assert np.array_equal(make(), TRUTH[name]())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_finished_policy_decides_as_the_method_it_was_trained_for(catalog, tmp_path, name):
    file = Sb3ModelDataset(filepath=str(tmp_path / "final_model.zip"))
    file.save(catalog.load(f"{name}.models")[1])
    methods = EvaluationParameters(methods={"given": {"kind": "policy", "path": "final_model.zip"}})
    choices, _ = decide(methods, policies={"given": file.load()})
    trained = catalog.load("choices").query(f"method == '{name}' and seed == 1")
    columns = ["image", "chooses", "state", "segmenter_calls"]
    assert choices[columns].values.tolist() == trained[columns].values.tolist()


def test_a_checkpoint_is_a_finished_policy_too(catalog, tmp_path_factory):
    files = list(tmp_path_factory.getbasetemp().rglob("reward_rl/checkpoints/*_64_steps.zip"))
    assert files
    for file in files:
        policy = Sb3ModelDataset(filepath=str(file)).load()
        assert policy.rules == catalog.load("reward_rl.policies")[1].rules


def test_a_finished_policy_of_other_prompts_stops_the_comparison(catalog):
    methods = EvaluationParameters(methods={"given": {"kind": "policy", "path": "final_model.zip"}})
    policy = catalog.load("prompt_rl.policies")[1]
    others = ActionSet.of(["good", "thin"], "thin", ACTIONS)
    policy = replace(policy, rules=replace(policy.rules, actions=others))
    with pytest.raises(VesselrlError, match=r"‘given’ .*‘thin’ .the default. where .* ‘thick’"):
        decide(methods, policies={"given": policy})


@pytest.mark.parametrize("observations", ["handmade", "reward_network"])
def test_what_is_seen_of_an_image_is_filed_under_its_id(observations):
    network = untrained_network()
    unsorted = SAMPLES[::-1]
    seen = experiments.nodes.see_images(partitions(0), network, unsorted, observations)
    assert seen["samples"].tolist() == list(unsorted.loc[unsorted["split"] != "test", "id"])
    see = feature_function(observations, RewardNetwork.from_state(network))
    expected = [see(WORLD[sample][0]) for sample in seen["samples"].tolist()]
    np.testing.assert_array_equal(seen["features"], expected)
    assert seen["features"].dtype == np.float32


UNFIT = {"fit": False, "reason": "It is deceived by empty."}


@pytest.fixture
def train(tmp_path):
    """Trains an experiment whose reward network is unfit."""

    def run_node(name, **rl):
        judge = "reward_network" if name == "reward_rl" else "ground_truth"
        images, masks, candidates = (partitions(part) for part in range(3))
        network = untrained_network()
        return train_policies(
            images,
            masks,
            candidates,
            experiments.nodes.see_images(images, network, SAMPLES, "handmade"),
            network,
            UNFIT,
            SAMPLES,
            RunFolder(tmp_path / name),
            ExperimentParameters(chooses="setting", episode_length=1, reward=judge),
            RL.model_copy(update={"seeds": [1]} | rl),
            SEGMENTER,
            ACTIONS,
            OBJECTIVE,
        )

    return run_node


def test_no_policy_learns_from_a_network_that_is_unfit(train, tmp_path):
    with pytest.raises(VesselrlError, match="deceived by empty.*rl.allow_unfit_reward: true"):
        train("reward_rl")
    assert not (tmp_path / "reward_rl").exists()


def test_it_may_be_told_to_and_then_warns(train, caplog):
    models, *_ = train("reward_rl", allow_unfit_reward=True)
    assert list(models) == [1]
    assert "deceived by empty" in caplog.text


def test_where_the_truth_pays_the_network_need_not_be_fit(train, caplog):
    models, *_ = train("prompt_rl")
    assert list(models) == [1]
    assert "not fit" not in caplog.text


def test_a_finished_training_keeps_no_image_in_memory(train, monkeypatch):
    seen = []

    def of(*parts, **named):
        scene = make(*parts, **named)
        seen.append(weakref.ref(scene))
        return scene

    make = Scene.of
    monkeypatch.setattr(Scene, "of", of)
    gc.disable()  # cycles may last
    try:
        trained = train("prompt_rl")
        assert [scene for scene in seen if scene() is not None] == []
    finally:
        gc.enable()
    assert seen
    assert trained


def test_images_are_seen_before_anything_is_made_of_the_segmenters_answers(train, monkeypatch):
    class BegunError(Exception):
        pass

    def begin(*_):
        raise BegunError

    monkeypatch.setattr("vesselrl.rl.training.CandidateVecEnv", begin)
    monkeypatch.setattr(Scene, "of", None)
    with pytest.raises(BegunError):
        train("prompt_rl")


def test_an_interrupted_experiment_goes_on_and_trains_no_finished_seed_again(
    train, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    at_end = Checkpoints.save
    models, _, histories, infos = train("prompt_rl", seeds=[1, 2])
    shutil.rmtree(tmp_path / "prompt_rl")

    def dies_in_the_second_seed(states, name, fingerprint, state):
        at_end(states, name, fingerprint, state)
        if "seeds" in str(states._folder):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", dies_in_the_second_seed)
        with pytest.raises(KeyboardInterrupt):
            train("prompt_rl", seeds=[1, 2])
    resumed, _, same_histories, same_infos = train("prompt_rl", seeds=[1, 2])
    assert "seed 1: goes on after step 128" in caplog.text
    assert "seed 2: goes on after step 64" in caplog.text
    for seed, model in models.items():
        pd.testing.assert_frame_equal(same_histories[seed], histories[seed])
        for key in set(infos[seed]) - {"seconds", "steps_per_second"}:
            assert same_infos[seed][key] == infos[seed][key], key
        for name, weight in model.policy.state_dict().items():
            assert weight.equal(resumed[seed].policy.state_dict()[name]), name


@pytest.mark.parametrize("change", ["candidates", "settings", "never"])
def test_what_is_not_the_same_experiment_starts_anew(train, monkeypatch, caplog, change):
    caplog.set_level("INFO")
    train("prompt_rl")
    if change == "candidates":
        levels = {"levels": WORLD["000"][2]["levels"][::-1]}
        monkeypatch.setitem(WORLD, "000", (*WORLD["000"][:2], WORLD["000"][2] | levels))
    changes = {"settings": {"validate_every": 2}, "never": {"resume": "never"}}
    train("prompt_rl", **changes.get(change, {}))
    assert "goes on" not in caplog.text
