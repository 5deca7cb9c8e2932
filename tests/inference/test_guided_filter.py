"""The filter fits linear functions of the colour, moves edges to those of the picture, and knows weights."""

import cv2
import numpy as np

from focus_ray.inference import guided_filter
from focus_ray.inference.guided_filter import fit_local_model


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def step(height: int, width: int, edge: int) -> np.ndarray:
    """A picture of two colours with little noise, and its edge at a column."""
    picture = np.full((height, width, 3), (200, 150, 120), np.float64)
    picture[:, edge:] = (60, 80, 140)
    return (picture + np.random.default_rng(1).normal(0, 3, picture.shape)).round().clip(0, 255).astype(np.uint8)


def test_a_linear_function_of_the_colour_is_found():
    picture = noise(40, 60)
    values = (picture / 255 @ [0.5, -0.3, 0.2] + 0.25).astype(np.float32)
    model = fit_local_model(picture, values, np.ones((40, 60), np.float32), 4, 1e-9)
    np.testing.assert_allclose(model.coefficients.reshape(-1, 4), np.tile([0.5, -0.3, 0.2, 0.25], (2400, 1)), atol=1e-3)
    np.testing.assert_allclose(model.predict(picture), values, atol=1e-3)


def test_it_is_the_filter_of_the_paper():
    """Against a direct computation of one pixel, by least squares in each of its neighbourhoods."""
    rng = np.random.default_rng(2)
    picture, epsilon, radius = noise(9, 9), 1e-2, 2
    values = rng.uniform(0, 1, (9, 9)).astype(np.float32)
    found = fit_local_model(picture, values, np.ones((9, 9), np.float32), radius, epsilon).predict(picture)
    functions = []
    for row in range(2, 7):
        for column in range(2, 7):
            place = slice(row - 2, row + 3), slice(column - 2, column + 3)
            colours, targets = picture[place].reshape(-1, 3) / 255, values[place].ravel().astype(float)
            covariance = np.cov(colours.T, bias=True) + epsilon * np.eye(3)
            slopes = np.linalg.solve(covariance, colours.T @ targets / 25 - colours.mean(0) * targets.mean())
            functions.append([*slopes, targets.mean() - slopes @ colours.mean(0)])
    mean = np.mean(functions, axis=0)
    np.testing.assert_allclose(found[4, 4], picture[4, 4] / 255 @ mean[:3] + mean[3], rtol=1e-4)


def test_a_blurred_edge_beside_that_of_the_picture_moves_there():
    picture = step(60, 80, 40)
    beside = np.zeros((60, 80), np.float32)
    beside[:, 37:] = 1
    rough = cv2.GaussianBlur(beside, (0, 0), 4)
    assert (rough[10:-10] > 0.5).argmax(axis=1).tolist() == [37] * 40
    found = fit_local_model(picture, rough, np.ones((60, 80), np.float32), 10, 1e-3).predict(picture)
    assert (found[10:-10] > 0.5).argmax(axis=1).tolist() == [40] * 40


def test_pixels_without_weight_do_not_count():
    picture, values = step(40, 40, 20), np.full((40, 40), 0.7, np.float32)
    weights = np.ones((40, 40), np.float32)
    weights[:, 30:] = 0
    values[:, 30:] = 5.0
    found = fit_local_model(picture, values, weights, 3, 1e-4).predict(picture)
    np.testing.assert_allclose(found[:, :30], 0.7, atol=1e-3)
    nothing = fit_local_model(picture, values, 0 * weights, 3, 1e-4)
    assert not nothing.coefficients.any()


def test_functions_are_used_on_a_larger_picture_in_strips(monkeypatch):
    large = cv2.resize(noise(10, 12), (120, 100), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(large, (60, 50), interpolation=cv2.INTER_AREA)
    values = (small / 255 @ [0.2, 0.5, -0.1]).astype(np.float32)
    model = fit_local_model(small, values, np.ones((50, 60), np.float32), 3, 1e-6)
    whole = model.predict(large)
    np.testing.assert_allclose(whole, large / 255 @ [0.2, 0.5, -0.1], atol=0.02)
    monkeypatch.setattr(guided_filter, "_STRIP_PX", 7 * 120)
    np.testing.assert_allclose(model.predict(large), whole, atol=1e-2)  # OpenCV rounds positions to 1/32 px
