"""A pasted occluder: the mask says which pixels changed, and the edge is soft."""

import cv2
import numpy as np
import pytest

from focus_ray.data.composites.face_region import face_region
from focus_ray.data.composites.paste import OccludedPhoto, OccluderFamily, OpenPhoto, paste_occluder
from focus_ray.data.occluders import FAMILIES
from focus_ray.data.occluders.drawing import FaceFrame, OccluderLayer, ellipse, fill_polygons, solid_canvas
from tests.data.composites.photographs import astronaut

PHOTO = astronaut()
LIMITS = (0.1, 0.6)


def disc(rng, size, landmarks, skin):
    """A green disc before the nose, of a random radius."""
    frame = FaceFrame.from_landmarks(landmarks)
    outline = ellipse(frame.to_pixels(np.array([[0.0, 0.7]])), (frame.unit * rng.uniform(0.3, 0.9),) * 2)
    return OccluderLayer(solid_canvas(size, np.array([0.1, 0.8, 0.1])), fill_polygons(size, outline))


def paste(draw, photo: OpenPhoto = PHOTO, seed: int = 0, name: str = "disc") -> OccludedPhoto:
    pasted = paste_occluder(np.random.default_rng(seed), photo, OccluderFamily(name, draw), LIMITS, 50)
    assert pasted is not None
    return pasted


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_covers_an_allowed_share_and_changes_only_its_surroundings(name: str):
    pasted = paste(FAMILIES[name], name=name)
    region = face_region(PHOTO.landmarks, *PHOTO.rgb.shape[:2])
    assert LIMITS[0] <= pasted.covered <= LIMITS[1]
    assert pasted.covered == pytest.approx((pasted.occluder & region).sum() / region.sum())
    changed = (pasted.rgb != PHOTO.rgb).any(axis=2)
    assert changed[pasted.occluder].mean() > 0.9
    beside = cv2.dilate(pasted.occluder.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    assert not changed[~beside & ~cv2.dilate(region.astype(np.uint8), np.ones((31, 31), np.uint8)).astype(bool)].any()


def test_the_mask_is_that_of_the_colour_and_the_edge_is_soft():
    pasted = paste(disc)
    inner = cv2.erode(pasted.occluder.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    outer = cv2.dilate(pasted.occluder.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    greenness = pasted.rgb[..., 1].astype(int) - pasted.rgb[..., 0]
    assert (greenness[inner] > 100).all()
    assert (greenness[~outer] < 60).all()
    between = (greenness > 30) & (greenness < 100)  # pixels that show skin and occluder
    outline = pasted.occluder & ~cv2.erode(pasted.occluder.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert between.sum() > 0.25 * outline.sum()


def test_a_blurred_photograph_gets_a_blurred_occluder():
    blurred = PHOTO._replace(rgb=cv2.GaussianBlur(PHOTO.rgb, (0, 0), 3.0))
    steepest = []
    for photo in (PHOTO, blurred):
        greenness = paste(disc, photo).rgb[..., 1].astype(int) - paste(disc, photo).rgb[..., 0]
        steepest.append(np.abs(np.diff(greenness, axis=1)).max())
    assert steepest[1] < 0.6 * steepest[0]


def test_a_shadow_falls_on_the_skin_beside_the_occluder_only():
    region = face_region(PHOTO.landmarks, *PHOTO.rgb.shape[:2])
    shadows = []
    for seed in range(6):
        pasted = paste(disc, seed=seed)
        beside = cv2.dilate(pasted.occluder.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        shadow = (pasted.rgb.astype(int) - PHOTO.rgb < -3).all(axis=2) & ~beside
        shadows.append(int(shadow.sum()))
        assert (shadow & region).sum() >= 0.8 * shadow.sum()
    assert max(shadows) > 50


def test_occluders_that_cover_too_little_are_refused():
    def speck(rng, size, landmarks, skin):
        alpha = np.zeros((size, size), np.float32)
        alpha[:3, :3] = 1
        return OccluderLayer(solid_canvas(size, np.zeros(3)), alpha)

    assert paste_occluder(np.random.default_rng(0), PHOTO, OccluderFamily("speck", speck), LIMITS, 5) is None


def test_the_same_seed_gives_the_same_picture_also_of_a_small_face_in_a_large_picture():
    large = astronaut(left=0, width=512, height=512)
    first, second, other = (paste(FAMILIES["cup"], large, seed, "cup") for seed in (1, 1, 2))
    assert np.array_equal(first.rgb, second.rgb)
    assert not np.array_equal(first.rgb, other.rgb)


def test_a_blur_factor_softens_the_pasted_occluder_and_1_changes_nothing():
    family = OccluderFamily("disc", disc)
    first, same, soft = (
        paste_occluder(np.random.default_rng(1), PHOTO, family, (0.0, 1.0), 1, *extra) for extra in ((), (1.0,), (6.0,))
    )
    assert first is not None
    assert same is not None
    assert soft is not None
    assert np.array_equal(first.rgb, same.rgb)
    edges = [np.abs(np.diff(one.rgb.astype(np.float32), axis=1))[first.occluder[:, 1:]] for one in (first, soft)]
    assert np.quantile(edges[1], 0.99) < np.quantile(edges[0], 0.99)
