import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesselrl.rl.actions import ActionSet, Rules, Setting
from vesselrl.rl.parameters import ActionParameters

PARAMETERS = ActionParameters(
    thresholds=[0.25, 0.5],
    operations={"dilate": {"kind": "dilate"}, "erode": {"kind": "erode"}},
)
ACTIONS = ActionSet.of(["a", "b", "c"], "b", PARAMETERS)
MAPS = np.random.default_rng(0).random((3, 20, 20), dtype=np.float32)
KINDS = {"prompts": (3,), "operations": (3,), "setting": (3, 2, 3)}


def test_every_combination_is_a_setting_once():
    assert len(ACTIONS.settings) == len(set(ACTIONS.settings)) == 3 * 2 * 3
    assert ACTIONS.settings[0] == Setting(0, 0, 0)
    assert ACTIONS.describe(Setting(2, 0, 1)) == {
        "prompt": "c", "threshold": 0.25, "operations": "dilate",
    }  # fmt: skip


def test_masks_of_all_settings_are_the_masks_of_each():
    together = np.concatenate(list(ACTIONS.masks_by_prompt(MAPS)))
    for mask, setting in zip(together, ACTIONS.settings, strict=True):
        assert np.array_equal(mask, ACTIONS.setting_mask(MAPS, setting))


@pytest.mark.parametrize("kind", KINDS)
def test_an_episode_begins_with_the_default_prompt_cut_at_half(kind):
    mask, probability = Rules(ACTIONS, kind, 3).answer(MAPS, ())
    assert np.array_equal(mask, MAPS[1] > 0.5)
    assert np.array_equal(probability, MAPS[1])
    assert Rules(ACTIONS, kind, 3).prompts_used(()) == (1,)


def test_prompts_are_averaged_and_their_order_does_not_matter():
    rules = Rules(ACTIONS, "prompts", 2)
    one = rules.extend(rules.extend((), (2,)), (0,))
    other = rules.extend(rules.extend((), (0,)), (2,))
    assert one == other
    mask, _ = rules.answer(MAPS, one)
    assert np.array_equal(mask, (MAPS[0] + MAPS[2]) / 2 > 0.5)
    assert rules.prompts_used(one) == (0, 2)


def test_operations_follow_one_another_and_keep_changes_nothing():
    rules = Rules(ACTIONS, "operations", 3)
    state = rules.extend(rules.extend(rules.extend((), (1,)), (0,)), (2,))
    mask, _ = rules.answer(MAPS, state)
    by_hand = ACTIONS.operate(ACTIONS.operate(MAPS[1] > 0.5, MAPS[1], 1), MAPS[1], 2)
    assert np.array_equal(mask, by_hand)
    kept, _ = rules.answer(MAPS, rules.extend((), (0,)))
    assert np.array_equal(kept, MAPS[1] > 0.5)


def test_of_settings_the_last_choice_counts():
    rules = Rules(ACTIONS, "setting", 2)
    state = rules.extend(rules.extend((), (0, 0, 1)), (2, 1, 0))
    mask, _ = rules.answer(MAPS, state)
    assert np.array_equal(mask, MAPS[2] > 0.5)
    assert rules.prompts_used(state) == (2,)


@given(st.data())
def test_only_the_prompts_that_are_said_to_be_used_matter(data):
    kind = data.draw(st.sampled_from(list(KINDS)))
    rules = Rules(ACTIONS, kind, 4)
    assert rules.choices == KINDS[kind]
    state = ()
    for _ in range(data.draw(st.integers(0, 4))):
        state = rules.extend(state, tuple(data.draw(st.integers(0, n - 1)) for n in KINDS[kind]))
    mask, _ = rules.answer(MAPS, state)
    others = MAPS.copy()
    others[[p for p in range(3) if p not in rules.prompts_used(state)]] = np.nan
    assert np.array_equal(rules.answer(others, state)[0], mask)
    assert set(rules.describe(state)) == {"prompt", "threshold", "operations"}
