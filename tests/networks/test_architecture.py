import torch

from vesselrl.networks.architecture import Architecture


def weights(seed):
    parts = Architecture(1, (4,) * 6, 2).build(seed).parameters()
    return torch.cat([part.detach().flatten() for part in parts])


def test_the_seed_fixes_the_weights_and_the_callers_random_numbers_stay():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one, same, other = weights(1), weights(1), weights(2)
    assert one.equal(same)
    assert not one.equal(other)
    assert torch.rand(3).equal(expected)


def test_to_draw_weights_takes_no_memory_on_any_gpu(monkeypatch):
    def taken(*_):
        raise AssertionError("a GPU was asked for its state")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", taken)
    weights(0)
