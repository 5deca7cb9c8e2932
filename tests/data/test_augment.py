"""Augmentation: one transform of the crop, landmarks that follow the pixels, the same draw for the same generator."""

import numpy as np
import pytest

from focus_ray.data.align import Crop
from focus_ray.data.augment import AugmentSettings, draw_augmentation
from focus_ray.face_models.landmarks import FLIP

NEUTRAL = AugmentSettings(flip=0.0, shift=0.0, scale=0.0, rotation=0.0)
AS_IS = Crop(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 64)


def landmarks() -> np.ndarray:
    return np.random.default_rng(3).uniform(10, 54, (68, 2))


def test_neutral_settings_change_nothing():
    augmentation = draw_augmentation(np.random.default_rng(0), 64, NEUTRAL)
    np.testing.assert_allclose(augmentation.matrix, AS_IS.matrix, atol=1e-12)
    assert not augmentation.flipped


def test_a_flip_mirrors_pixels_exactly_and_reorders_the_points():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    augmentation = draw_augmentation(np.random.default_rng(0), 64, NEUTRAL.model_copy(update={"flip": 1.0}))
    np.testing.assert_array_equal(augmentation.crop(AS_IS).warp(image), image[:, ::-1])
    points = landmarks()
    moved = augmentation.landmarks(AS_IS, points)
    np.testing.assert_allclose(moved[:, 0], 63 - points[list(FLIP), 0])
    np.testing.assert_allclose(moved[:, 1], points[list(FLIP), 1])
    right_eye_of_the_mirrored_face, old_left_eye = moved[36], points[45]
    np.testing.assert_allclose(right_eye_of_the_mirrored_face, [63 - old_left_eye[0], old_left_eye[1]])


def test_landmarks_follow_the_pixels():
    """Bright dots at the landmarks are found where the landmarks are said to be."""
    yy, xx = np.mgrid[:64, :64]
    for seed in range(6):
        augmentation = draw_augmentation(np.random.default_rng(seed), 64)
        points = np.full((68, 2), 30.0)
        points[[36, 45]] = [22.0, 35.0]
        image = np.exp(-((xx - 22.0) ** 2 + (yy - 35.0) ** 2) / 8).astype(np.float32)
        seen = augmentation.crop(AS_IS).warp(image)
        found = np.array([(seen * xx).sum(), (seen * yy).sum()]) / seen.sum()
        np.testing.assert_allclose(found, augmentation.landmarks(AS_IS, points)[36], atol=0.15)


def test_ranges_of_the_released_code_scaled_to_the_crop():
    middle = np.array([31.5, 31.5])
    rng = np.random.default_rng(0)
    drawn = [draw_augmentation(rng, 64) for _ in range(400)]
    moved = np.array([one.crop(AS_IS).to_crop(middle) - middle for one in drawn])
    scales = np.array([one.crop(AS_IS).scale for one in drawn])
    assert 2.5 < np.abs(moved).max() < 10 * 64 / 224 * 1.1 * np.sqrt(2)
    assert scales.min() == pytest.approx(0.9, abs=0.01)
    assert scales.max() == pytest.approx(1.1, abs=0.01)
    assert 0.4 < np.mean([one.flipped for one in drawn]) < 0.6
    turns = np.degrees([one.crop(AS_IS).roll for one in drawn if not one.flipped])
    assert 9 < np.abs(turns).max() <= 10


def test_the_same_generator_gives_the_same_augmentation():
    one, other = (
        draw_augmentation(np.random.default_rng((1, 2, 3)), 64),
        draw_augmentation(np.random.default_rng((1, 2, 3)), 64),
    )
    np.testing.assert_array_equal(one.matrix, other.matrix)
    assert one.flipped == other.flipped
