from pathlib import Path

import pytest
import yaml

from vesselrl.errors import VesselrlError
from vesselrl.overrides import parse, resolve

CONF = {
    "seed": 42,
    "quick": False,
    "quick_overrides": {"rl": {"ppo": {"n_envs": 2, "n_steps": 128}}},
    "rl": {"seeds": [1, 2], "ppo": {"n_envs": 8, "n_steps": 64, "gamma": 0.99}},
    "split": {"max_images": {"train": None, "val": None}},
}
PATHS = {"raw_dir": "data/01_raw/sample", "out_dir": "data"}

WRITTEN = {
    "equals": ("quick=true", {"quick": True}),
    "colon": ("quick:true", {"quick": True}),
    "both forms": ("quick:true,seed=7", {"quick": True, "seed": 7}),
    "spaces around": (" quick : true , seed = 7 ", {"quick": True, "seed": 7}),
    "nested, equals": ("rl.ppo.gamma=0.9", {"rl": {"ppo": {"gamma": 0.9}}}),
    "nested, colon": ("rl.ppo.gamma:0.9", {"rl": {"ppo": {"gamma": 0.9}}}),
    "two of one group": ("rl.a=1,rl.b.c=2", {"rl": {"a": 1, "b": {"c": 2}}}),
    "the last wins": ("seed=1,seed=2", {"seed": 2}),
    "Windows drive": (r"raw_dir=C:\data", {"raw_dir": r"C:\data"}),
    "Windows drive, colon": (r"raw_dir:C:\data", {"raw_dir": r"C:\data"}),
    "URL": ("raw_dir=s3://x?a=b", {"raw_dir": "s3://x?a=b"}),
    "URL, colon": ("raw_dir:s3://x?a=b", {"raw_dir": "s3://x?a=b"}),
    "list": ("rl.seeds=[1,2]", {"rl": {"seeds": [1, 2]}}),
    "list, colon, spaces": ("rl.seeds: [1, 2],seed=3", {"rl": {"seeds": [1, 2]}, "seed": 3}),
    "list of lists": ("a=[[1,2],[3]],b=1", {"a": [[1, 2], [3]], "b": 1}),
    "mapping": ("split.limits={train: 3, val: 2}", {"split": {"limits": {"train": 3, "val": 2}}}),
    "comma in quotes": ("raw_dir='/a,b',seed=1", {"raw_dir": "/a,b", "seed": 1}),
    "comma in double quotes": ('raw_dir="/a,b"', {"raw_dir": "/a,b"}),
    "quotes in a list": ("report.objective=['a,b',c]", {"report": {"objective": ["a,b", "c"]}}),
    "apostrophe within": ("raw_dir=/o'brien,seed=1", {"raw_dir": "/o'brien", "seed": 1}),
    "bracket within": ("raw_dir=/a[1,seed=1", {"raw_dir": "/a[1", "seed": 1}),
    "key with a space": ("kinds.remove small.size:3", {"kinds": {"remove small": {"size": 3}}}),
    "nothing as value": ("split.max_images.train=null", {"split": {"max_images": {"train": None}}}),
    "small number": ("rl.ppo.learning_rate=3e-4", {"rl": {"ppo": {"learning_rate": 0.0003}}}),
    "number as text": ("raw_dir='2024'", {"raw_dir": "2024"}),
    "empty": ("", {}),
    "comma at the end": ("seed=1,", {"seed": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRITTEN.values(), ids=WRITTEN)
def test_parameters_are_read_as_written(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("raw_dir=/a,b", "'b' is no parameter"),
        ("quick", "'quick' is no parameter"),
        ("=3", "'=3' is no parameter"),
        ("seed=1,,quick=true", "'' is no parameter"),
        ("rl.seeds=[1,2", "value of 'rl.seeds'"),
        ("raw_dir='/a", "value of 'raw_dir'"),
        ("raw_dir=${nothing}", "value of 'raw_dir'"),
        ("raw_dir=@x", "value of 'raw_dir'"),
    ],
)
def test_what_cannot_be_read_is_named(text, named):
    with pytest.raises(VesselrlError, match=named):
        parse(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"n_envs": 8, "n_steps": 64, "gamma": 0.99}),
        ({"quick": False}, {"n_envs": 8, "n_steps": 64, "gamma": 0.99}),
        ({"quick": True}, {"n_envs": 2, "n_steps": 128, "gamma": 0.99}),
        ({"rl": {"ppo": {"n_envs": 3}}}, {"n_envs": 3, "n_steps": 64, "gamma": 0.99}),
        (
            {"quick": True, "rl": {"ppo": {"n_envs": 3}}},
            {"n_envs": 3, "n_steps": 128, "gamma": 0.99},
        ),
    ],
)
def test_conf_yields_to_quick_overrides_and_both_to_params(given, expected):
    merged, _ = resolve(CONF, PATHS, given)
    assert merged["rl"] == {"seeds": [1, 2], "ppo": expected}
    assert merged["quick"] is given.get("quick", False)
    assert "quick_overrides" not in merged


def test_the_order_in_which_files_were_read_does_not_show():
    backwards = dict(reversed(CONF.items()))
    assert list(resolve(backwards, PATHS, {})[0]) == list(resolve(CONF, PATHS, {})[0])


def test_a_list_given_replaces_the_list_in_conf():
    assert resolve(CONF, PATHS, {"rl": {"seeds": [9]}})[0]["rl"]["seeds"] == [9]


@pytest.mark.parametrize(
    ("given", "out_dir"),
    [
        ({}, "data"),
        ({"quick": True}, "data/quick"),
        ({"out_dir": "/elsewhere"}, "/elsewhere"),
        ({"out_dir": "/elsewhere", "quick": True}, "/elsewhere/quick"),
        ({"out_dir": "/elsewhere", "quick": False}, "/elsewhere"),
    ],
)
def test_a_quick_run_writes_to_a_folder_of_its_own(given, out_dir):
    merged, paths = resolve(CONF, PATHS, given)
    assert paths == {"raw_dir": "data/01_raw/sample", "out_dir": out_dir}
    assert not paths.keys() & merged.keys()


def test_quick_in_conf_counts_and_params_turn_it_off():
    conf = CONF | {"quick": True}
    assert resolve(conf, PATHS, {})[1]["out_dir"] == "data/quick"
    assert resolve(conf, PATHS, {"quick": False})[1]["out_dir"] == "data"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sed": 1}, "Unknown parameter 'sed': did you mean seed?"),
        ({"bogus": 1}, "Unknown parameter 'bogus': conf/base lists all of them."),
        ({"rl": {"ppo": {"gama": 1}}}, "'rl.ppo.gama': did you mean rl.ppo.gamma"),
        ({"gamma": 0.9}, "'gamma': did you mean rl.ppo.gamma"),
        ({"raw_dri": "x"}, "'raw_dri': did you mean raw_dir"),
        ({"out_dir": {"a": 1}}, "Unknown parameter 'out_dir.a'"),
        ({"quick_overrides": {"seed": 1}}, "Unknown parameter 'quick_overrides'"),
        ({"quick": "maybe"}, "'quick' is 'maybe'; expected true or false"),
        ({"quick": 1}, "'quick' is 1; expected true or false"),
        ({"quick": None}, "'quick' is None; expected true or false"),
        ({"rl": 3}, "'rl' is a group, and got 3"),
        ({"rl": {"ppo": None}}, "'rl.ppo' is a group, and got None"),
        ({"seed": -1}, "'seed' is -1"),
        ({"seed": "x"}, "'seed' is 'x'"),
        ({"seed": True}, "'seed' is True"),
        ({"seed": 1.5}, "'seed' is 1.5"),
        ({"out_dir": None}, "'out_dir' is None; expected a path"),
        ({"raw_dir": 2024}, "'raw_dir' is 2024; expected a path"),
        ({"raw_dir": "s3://x?a=b"}, "'raw_dir' is 's3://x?a=b'; expected a path on this machine"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence_that_names_it(given, sentence):
    with pytest.raises(VesselrlError) as caught:
        resolve(CONF, PATHS, given)
    assert sentence in str(caught.value)


def test_a_misspelt_key_in_the_quick_overrides_is_found_in_every_run():
    conf = CONF | {"quick_overrides": {"rl": {"pppo": {"n_envs": 2}}}}
    with pytest.raises(VesselrlError, match=r"'quick_overrides.rl.pppo': did you mean rl.ppo"):
        resolve(conf, PATHS, {})


def test_conf_itself_stays_as_it_was():
    resolve(CONF, PATHS, {"quick": True, "rl": {"seeds": [9]}})
    assert CONF["rl"] == {"seeds": [1, 2], "ppo": {"n_envs": 8, "n_steps": 64, "gamma": 0.99}}


def test_the_quick_run_has_the_sizes_that_were_promised():
    base = Path(__file__).parents[1] / "conf" / "base"
    conf = {}
    for file in base.glob("parameters*.yml"):
        conf |= yaml.safe_load(file.read_text())
    quick, _ = resolve(conf, PATHS, {"quick": True})
    assert quick["split"]["max_images"] == {"train": 20, "val": 20, "test": 20, "unlabelled": 20}
    ppo = quick["rl"]["ppo"]
    assert ppo == {
        "total_timesteps": 2000, "n_envs": 2, "n_steps": 128, "batch_size": 64, "n_epochs": 10,
        "learning_rate": 3e-4, "ent_coef": 0.01, "gamma": 0.99, "gae_lambda": 0.95,
        "clip_range": 0.2, "net_arch": [128, 64],
    }  # fmt: skip
    assert len(quick["segmenter"]["prompts"]) == 11
    assert len(quick["actions"]["operations"]) == 7
    lengths = {name: one["episode_length"] for name, one in quick["experiments"].items()}
    assert lengths == {"reward_rl": 1, "prompt_rl": 3, "postprocess_rl": 5}


def test_pseudonymise_is_true_or_false_and_nothing_between():
    conf = {"pseudonymise": False}
    assert resolve(conf, {}, {"pseudonymise": True})[0] == {"pseudonymise": True}
    with pytest.raises(VesselrlError, match="'pseudonymise' is 'maybe'; expected true or false"):
        resolve(conf, {}, {"pseudonymise": "maybe"})
