"""Edges become softer or harder, and what is inside keeps its colour."""

import numpy as np

from focus_ray.data.composites.training.edges import VariedEdges, soften_edges
from focus_ray.data.occluders.drawing import Colour, Landmarks, OccluderLayer, draw_lines, ellipse, fill_polygons
from tests.data.composites.photographs import astronaut


def draw_disc(rng: np.random.Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """A red disc; black outside it."""
    alpha = fill_polygons(size, ellipse(np.array([[60.0, 60.0]]), (30.0, 30.0)))
    rgb = np.zeros((size, size, 3), np.float32)
    rgb[..., 0] = alpha > 0
    return OccluderLayer(rgb, alpha)


def test_softened_edges_keep_the_colour_and_the_size():
    sharp = draw_disc(np.random.default_rng(0), 120, np.zeros((68, 2)), np.ones(3))
    soft = soften_edges(sharp, 2.0)
    assert np.count_nonzero((soft.alpha > 0.1) & (soft.alpha < 0.9)) > 2 * np.count_nonzero(
        (sharp.alpha > 0.1) & (sharp.alpha < 0.9)
    )
    assert np.count_nonzero(soft.alpha > 0.5) > 0.95 * np.count_nonzero(sharp.alpha > 0.5)
    np.testing.assert_allclose(soft.rgb[soft.alpha > 0.05, 0], 1, atol=0.05)  # no dark seam


def test_thin_lines_stay_as_they_are():
    line = draw_lines(120, [np.array([[10.0, 10.0], [110.0, 60.0]])], 1.0)
    layer = OccluderLayer(np.ones((120, 120, 3), np.float32), line)
    assert soften_edges(layer, 2.0) is layer


def test_edges_vary_and_the_same_chance_draws_the_same():
    family, points = VariedEdges(draw_disc), astronaut().landmarks
    widths = []
    for seed in range(20):
        first, second = (family(np.random.default_rng(seed), 120, points, np.ones(3)) for _ in range(2))
        assert np.array_equal(first.alpha, second.alpha)
        assert 0 <= first.alpha.min() <= first.alpha.max() <= 1
        widths.append(np.count_nonzero((first.alpha > 0.1) & (first.alpha < 0.9)))
    assert len(set(widths)) > 4
