"""The coronary trees obey Murray's law and hang together."""

import numpy as np
import pytest

from vesselrl.synthetic.projection import contrast_thickness, silhouette
from vesselrl.synthetic.tree import MURRAY_EXPONENT, Vessel, grow_tree


@pytest.fixture(scope="module", params=range(12))
def tree(request: pytest.FixtureRequest) -> list[Vessel]:
    return grow_tree(np.random.default_rng(request.param))


def straight(x: float, radius: float) -> Vessel:
    """A vertical vessel through the whole image."""
    y = np.arange(-0.1, 1.1, 1 / 1024)
    return Vessel(
        points=np.stack([np.full_like(y, x), y], axis=1),
        radii=np.full_like(y, radius),
        distance=y + 0.1,
    )


def test_calibres_obey_murrays_law_at_every_bifurcation(tree: list[Vessel]) -> None:
    assert len(tree) > 3
    for branch in tree[1:]:
        parent = tree[branch.parent]
        before, after = parent.radii[branch.fork - 1], parent.radii[branch.fork]
        total = after**MURRAY_EXPONENT + branch.radii[0] ** MURRAY_EXPONENT
        assert total == pytest.approx(before**MURRAY_EXPONENT)


def test_branches_begin_on_their_parents(tree: list[Vessel]) -> None:
    for branch in tree[1:]:
        parent = tree[branch.parent]
        np.testing.assert_allclose(branch.points[0], parent.points[branch.fork])
        assert branch.distance[0] == pytest.approx(parent.distance[branch.fork])


def test_a_silhouette_is_as_wide_as_the_calibre() -> None:
    vessel = straight(x=0.5, radius=0.1)
    mask = silhouette([vessel], [np.ones(len(vessel.points), dtype=bool)], size=100)
    assert (mask.sum(axis=1) == 20).all()


def test_points_that_are_not_shown_leave_no_silhouette() -> None:
    vessel = straight(x=0.5, radius=0.1)
    assert not silhouette([vessel], [np.zeros(len(vessel.points), dtype=bool)], size=50).any()


def test_a_ray_through_the_middle_crosses_the_whole_diameter() -> None:
    vessel = straight(x=0.505, radius=0.1)
    thickness = contrast_thickness([vessel], [np.ones(len(vessel.points))], size=100)
    assert thickness.max() == pytest.approx(0.2, rel=1e-3)
    x = (np.arange(100) + 0.5) / 100
    chord = 2 * np.sqrt(np.maximum(0.1**2 - (x - 0.505) ** 2, 0))
    np.testing.assert_allclose(thickness[50], chord, atol=2e-3)


def test_crossing_vessels_add_up() -> None:
    one, other = straight(x=0.505, radius=0.1), straight(x=0.505, radius=0.05)
    full = [np.ones(len(one.points))] * 2
    assert contrast_thickness([one, other], full, size=100).max() == pytest.approx(0.3, rel=1e-3)
