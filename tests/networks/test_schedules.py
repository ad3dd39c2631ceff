import pytest
import torch

from vesselrl.networks.schedules import one_cycle


@pytest.mark.parametrize("steps", [*range(1, 31), 300])
def test_a_training_of_any_length_has_a_learning_rate_at_every_step(steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([weight])
    schedule = one_cycle(optimiser, 0.01, steps)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step() if len(rates) < steps else None
    assert all(0 < rate <= 0.01 + 1e-12 for rate in rates)
    if steps >= 10:
        assert rates[0] < 0.5 * max(rates) > rates[-1]
