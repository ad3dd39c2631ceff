import pickle

import pytest
import torch

from vesselrl.networks.architecture import Architecture
from vesselrl.networks.folding import folded


def trained(norm):
    """A network whose normalisation has seen something, and an image."""
    network = Architecture(1, (4, 4, 8, 8, 8, 4), 2, norm).build(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(torch.randn(weights.shape, generator=generator) * 0.1)
        for _ in range(3):
            network(torch.randn((4, 1, 64, 64), generator=generator) * 2 + 1)
    return network.eval(), torch.randn((1, 1, 96, 64), generator=generator)


def norms(network):
    return [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize("within", [torch.enable_grad, torch.inference_mode])
def test_without_its_batch_normalisation_a_network_answers_alike(within):
    network, image = trained("batch")
    assert norms(network)
    with within():
        quick = folded(network)
    assert not norms(quick)
    with torch.inference_mode():
        answer, expected = quick(image), network(image)
        again = pickle.loads(pickle.dumps(quick))(image)
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1
    assert torch.equal(again, answer)


def test_the_network_itself_stays_as_it_is_and_may_learn_on():
    network, image = trained("batch")
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    quick = folded(network)
    assert norms(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])
    before = quick(image)
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
    assert torch.equal(quick(image), before)


def test_what_normalises_each_image_by_itself_is_left_as_it_is():
    network, image = trained("instance")
    assert torch.equal(folded(network)(image), network(image))
