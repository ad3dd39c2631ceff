import numpy as np
import pytest

from vesselrl.networks.residents import Residents


@pytest.mark.parametrize(
    ("kept", "expected"), [(2, [0, 1, 2, 0]), (9, [0, 1, 2]), (0, [0, 1, 0, 1, 2, 1, 0])]
)
def test_items_stay_as_far_as_memory_goes_the_last_used_longest(kept, expected):
    loaded = []

    def loader(number):
        def load():
            loaded.append(number)
            return np.full(5, number, np.uint8)

        return load

    residents = Residents([loader(number) for number in range(3)], kept_bytes=kept * 5)
    for index in (0, 1, 0, 1, 2, 1, 0):
        assert (residents[index] == index).all()
    assert loaded == expected
    assert len(residents) == 3


def test_a_large_item_pushes_out_the_oldest_and_small_ones_stay():
    sizes = {"small": 10, "large": 40, "other": 40}
    loaded = []

    def loader(name):
        def load():
            loaded.append(name)
            return np.zeros(sizes[name], np.uint8)

        return load

    residents = Residents({name: loader(name) for name in sizes}, kept_bytes=60)
    for name in ("large", "small", "large", "small", "other", "small", "other", "large"):
        assert len(residents[name]) == sizes[name]
    assert loaded == ["large", "small", "other", "large"]
