"""Masks of cloth and paper in all colours, skin and cream among them, with folds; also worn low or on one side."""

import numpy as np
from numpy.random import Generator

from focus_ray.data.composites.training.relief import draw_folds, light_relief
from focus_ray.data.occluders.cloth import cloth
from focus_ray.data.occluders.drawing import (
    Colour,
    FaceFrame,
    Image,
    Landmarks,
    OccluderLayer,
    Points,
    add_light_gradient,
    composite,
    draw_lines,
    fill_polygons,
    overlay,
    random_colour,
    random_skin_colour,
    rotation_matrix,
    shade_edges,
    solid_canvas,
)


def draw(rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
    """Draw a mask fixed to jaw and nose, with seams or pleats, a round body, folds and bands."""
    frame = FaceFrame.from_landmarks(landmarks)
    jaw, top = _edges(rng, frame, landmarks)
    outline = np.concatenate([_smooth(jaw), _smooth(top)])
    alpha, colour = fill_polygons(size, outline), _mask_colour(rng, skin)
    rgb = cloth(rng, size, colour, 0.25)
    across = frame.unit * rng.uniform(0.1, 0.35)
    folds = draw_folds(rng, size, across, across * rng.uniform(1.5, 5), frame.angle + rng.normal(0, 0.4))
    rgb = light_relief(rgb, folds, rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.09))
    rgb = _round_body(rng, rgb, frame, landmarks)
    rgb = _seams(rng, rgb, frame, jaw, top)
    rgb = shade_edges(rgb, alpha, rng.uniform(0.05, 0.5) * frame.unit, rng.uniform(0.03, 0.35))
    bands = [np.stack([landmarks[0 if end == -1 else 16], edge]) for end, edge in ((-1, top[-1]), (0, top[0]))]
    bands += [np.stack([landmarks[1], jaw[0]]), np.stack([landmarks[15], jaw[-1]])]
    if rng.uniform() < 0.3:
        bands = bands[:2]
    band = draw_lines(size, bands, max(rng.uniform(0.02, 0.06) * frame.unit, 1.0))
    below = solid_canvas(size, colour if rng.uniform() < 0.5 else np.full(3, rng.choice([0.08, 0.9])))
    return composite(OccluderLayer(below, band), OccluderLayer(add_light_gradient(rng, rgb), alpha))


def _mask_colour(rng: Generator, skin: Colour) -> Colour:
    """Cream, white or skin-like, black or grey, medical blue or green, or any colour."""
    kind = rng.uniform()
    if kind < 0.2:
        return np.clip(np.array([0.95, 0.92, 0.86]) * rng.uniform(0.8, 1.05) * rng.uniform(0.94, 1.06, 3), 0, 1)
    if kind < 0.4:
        return np.clip(random_skin_colour(rng, skin, own=0.6) * rng.uniform(0.85, 1.2), 0, 1)
    if kind < 0.6:
        return rng.uniform(0.02, 0.3) * rng.uniform(0.9, 1.1, 3)
    if kind < 0.75:
        return np.clip(np.array([0.62, 0.82, 0.88]) * rng.uniform(0.75, 1.1) * rng.uniform(0.85, 1.1, 3), 0, 1)
    return random_colour(rng)


def _edges(rng: Generator, frame: FaceFrame, landmarks: Landmarks) -> tuple[Points, Points]:
    """The lower edge from one cheek along the jaw to the other, and the upper edge back."""
    first = int(rng.integers(1, 4))
    centre = landmarks[33:34]
    jaw = centre + (landmarks[first : 17 - first] - centre) * rng.uniform(0.98, 1.1)
    low = rng.uniform() < 0.25
    height = rng.uniform(0.9, 2.0) if low else rng.uniform(0.1, 0.8)
    nose = landmarks[27] + (landmarks[33] - landmarks[27]) * height
    side, lift = rng.uniform(0.25, 0.6), rng.uniform(-0.05, 0.18) * frame.unit * frame.axes[1]
    ends = [jaw[-1] - lift, jaw[0] - lift]
    flat = 0.3 * lift + rng.uniform(0, 0.14) * frame.unit * frame.axes[1]
    between = [nose + side * (end - nose) - flat for end in ends]
    top = np.stack([ends[0], between[0], nose, between[1], ends[1]])
    if rng.uniform() < 0.15:  # it hangs from one ear
        turn, pivot = rng.choice([-1.0, 1.0]) * rng.uniform(0.25, 0.7), jaw[0] if rng.uniform() < 0.5 else jaw[-1]
        jaw, top = (pivot + (points - pivot) @ rotation_matrix(turn) for points in (jaw, top))
    return jaw, top


def _smooth(points: Points) -> Points:
    """The line with its corners cut twice (Chaikin 1974)."""
    for _ in range(2):
        first, second = points[:-1], points[1:]
        inner = np.stack([0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second], 1).reshape(-1, 2)
        points = np.concatenate([points[:1], inner, points[-1:]])
    return points


def _round_body(rng: Generator, rgb: Image, frame: FaceFrame, landmarks: Landmarks) -> Image:
    """Brighter towards the light and darker away from it, as the mask bulges over nose and chin."""
    size = rgb.shape[0]
    middle = (landmarks[30] + landmarks[8]) / 2
    grid = np.arange(size, dtype=np.float32)
    turn, depth = rng.uniform(0, 2 * np.pi), np.float32(rng.uniform(0.05, 0.45))
    aim = np.array([np.cos(turn), np.sin(turn)]) / (1.1 * frame.unit)
    x, y = (grid - np.float32(middle[0])) * np.float32(aim[0]), (grid - np.float32(middle[1])) * np.float32(aim[1])
    way = np.clip(x + y[:, None], -1, 1)
    return rgb * (1 + depth * (way - np.float32(0.4) * way * way))[..., None]


def _seams(rng: Generator, rgb: Image, frame: FaceFrame, jaw: Points, top: Points) -> Image:
    """Pleats across, a seam down the middle, or a border; dark on one side and light on the other."""
    kind, middle = rng.uniform(), len(jaw) // 2
    if kind < 0.45:
        lines = []
        for share in np.linspace(0.25, 0.75, int(rng.integers(2, 5))):
            lower = jaw[middle] + share * (top[2] - jaw[middle])
            left, right = (jaw[k] + share * (top[e] - jaw[k]) for k, e in ((1, -1), (-2, 0)))
            lines.append(_smooth(np.stack([left, 0.5 * (left + lower) + 0.1 * (lower - left), lower, right])))
    elif kind < 0.65:
        bow = 0.5 * (top[2] + jaw[middle]) + rng.normal(0, 0.12) * frame.unit * frame.axes[0]
        lines = [_smooth(np.stack([top[2], bow, jaw[middle]]))]
    elif kind < 0.85:
        centre = 0.5 * (top[2] + jaw[middle])
        lines = [centre + 0.92 * (_smooth(points) - centre) for points in (jaw, top)]
    else:
        return rgb
    width, strength = max(rng.uniform(0.015, 0.05) * frame.unit, 1.0), np.float32(rng.uniform(0.08, 0.45))
    light = [line - 0.7 * width * frame.axes[1] for line in lines]
    rgb = overlay(rgb, strength * np.float32(0.6) * draw_lines(rgb.shape[0], light, width), np.ones(3))
    return overlay(rgb, strength * draw_lines(rgb.shape[0], lines, width), np.zeros(3))
