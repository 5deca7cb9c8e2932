"""Tests of focus_ray.data.appearance."""

import numpy as np
import pytest

from focus_ray.data.appearance import AppearanceDistributions, paint, simulate_camera
from tests.ellipsoid_face import ellipsoid_face

NOTHING = AppearanceDistributions(
    grain=0, patches=0, gradient=0, makeup=0, stubble=0, shine=0, blur=0, gamma=(1, 1), sensor_noise=0
)


@pytest.fixture(scope="module")
def face():
    model = ellipsoid_face()
    landmarks = model.landmarks(model.mean[None])[0].numpy()
    return model.mean_albedo.numpy(), model.mean.numpy(), landmarks


def test_without_laws_the_albedo_stays(face):
    np.testing.assert_allclose(paint(np.random.default_rng(0), *face, NOTHING), face[0], atol=1e-6)


@pytest.mark.parametrize("law", [{"grain": 0.03}, {"gradient": 0.3}, {"makeup": 1.0}, {"stubble": 1.0}, {"shine": 0.3}])
def test_each_law_changes_the_albedo_and_keeps_it_positive(face, law):
    painted = paint(np.random.default_rng(1), *face, NOTHING.model_copy(update=law))
    assert np.abs(painted - face[0]).max() > 1e-3
    assert painted.min() >= 0
    assert painted.dtype == np.float32


def test_grain_stays_within_its_law(face):
    deviation = [
        (paint(np.random.default_rng(seed), *face, NOTHING.model_copy(update={"grain": 0.03})) - face[0]).std()
        for seed in range(20)
    ]
    assert 0 < min(deviation) < max(deviation) < 0.033


def test_develop_without_laws_only_rounds_to_8_bits():
    rgb = np.linspace(-0.2, 1.2, 16 * 16 * 3, dtype=np.float32).reshape(16, 16, 3)
    developed = simulate_camera(np.random.default_rng(0), rgb, NOTHING)
    assert developed.dtype == np.uint8
    np.testing.assert_allclose(developed / 255, np.clip(rgb, 0, 1), atol=0.5 / 255 + 1e-6)


def test_develop_applies_gamma():
    rgb = np.full((8, 8, 3), 0.5, np.float32)
    brighter = simulate_camera(np.random.default_rng(0), rgb, NOTHING.model_copy(update={"gamma": (0.5, 0.5)}))
    assert brighter.min() == brighter.max() == round(255 * 0.5**0.5)
