"""Food, foam, cream and sponges: one or more uneven bodies of any colour at the mouth or elsewhere."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.composites.training.relief import draw_folds, light_relief
from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Landmarks,
    OccluderLayer,
    add_light_gradient,
    blob,
    fill_polygons,
    random_colour,
    shade_edges,
)

_WARM = np.array([[0.96, 0.94, 0.9], [0.85, 0.6, 0.3], [0.35, 0.18, 0.1], [0.8, 0.15, 0.12], [0.95, 0.8, 0.35]])


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw bodies with a rough surface that melt into one outline."""
    frame = FaceFrame.from_landmarks(landmarks)
    centre = np.array([rng.normal(0, 0.35), 1.15 + rng.normal(0, 0.2)])
    if rng.uniform() < 0.45:
        centre = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 1.6)])
    radius = rng.uniform(0.3, 0.8)
    count = int(rng.integers(1, 6))
    places = centre + rng.normal(0, 0.6 * radius, (count, 2)) * (count > 1)
    outlines = [blob(rng, place[None], radius * rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.4)) for place in places]
    alpha = fill_polygons(size, *(frame.to_pixels(outline) for outline in outlines))
    tone = _WARM[int(rng.integers(len(_WARM)))] * rng.uniform(0.85, 1.1, 3)
    colour = random_colour(rng) if rng.uniform() < 0.4 else np.clip(tone, 0, 1)
    rgb = cloth(rng, size, colour, 0.3)
    grain = frame.unit * rng.uniform(0.04, 0.25)
    rough = draw_folds(rng, size, grain, grain * rng.uniform(1, 2), rng.uniform(0, np.pi))
    rgb = light_relief(rgb, rough, rng.normal(-np.pi / 2, 0.7), rng.uniform(0.03, 0.16))
    rgb = shade_edges(rgb, alpha, rng.uniform(0.2, 0.7) * radius * frame.unit, rng.uniform(0.1, 0.5))
    return OccluderLayer(np.clip(add_light_gradient(rng, rgb), 0, 1), alpha)
