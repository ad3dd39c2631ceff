import pytest
import yaml

from vesselrl.config_loader import ConfigLoader


@pytest.fixture
def merged(tmp_path):
    """Parameters of an environment merged over those of base."""

    def merge(base: dict, changes: dict) -> dict:
        for folder, content in {"base": base, "other": changes}.items():
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "parameters.yml").write_text(yaml.safe_dump(content))
        loader = ConfigLoader(
            str(tmp_path), env="other", base_env="base", merge_strategy={"parameters": "soft"}
        )
        return loader["parameters"]

    return merge


BASE = {"kind": "ridge", "max_side": 320, "prompts": {"a": {"scales": [1]}}}


def test_an_environment_changes_single_settings_of_a_group(merged):
    found = merged({"segmenter": BASE}, {"segmenter": {"prompts": {"b": {"scales": [2]}}}})
    assert found["segmenter"] == BASE | {"prompts": {"a": {"scales": [1]}, "b": {"scales": [2]}}}


def test_a_group_of_another_kind_keeps_nothing_of_the_old_one(merged):
    other = {"kind": "sa2va", "prompts": {"a": {"text": "vessels"}}}
    found = merged({"reward": {"judge": BASE, "size": 3}}, {"reward": {"judge": other}})
    assert found == {"reward": {"judge": other, "size": 3}}


def test_a_group_of_the_same_kind_keeps_what_is_not_named(merged):
    found = merged({"segmenter": BASE}, {"segmenter": {"kind": "ridge", "max_side": 64}})
    assert found["segmenter"] == BASE | {"max_side": 64}
