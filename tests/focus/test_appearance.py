"""The appearance prior: what it learns from fits, and what it refuses to read."""

import pytest
import torch

from focus_ray.focus.appearance import (
    CELLS,
    AppearancePrior,
    learn_light,
    learn_residuals,
    light_distance,
    pixel_cells,
)
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta

FRONTAL = torch.tensor([0.28, 0.02, -0.33, 0.0, 0.01, -0.07, 0.17, 0.0, 0.11])
"""Mean harmonics of a face seen from the front."""


@pytest.fixture(scope="module")
def thetas() -> torch.Tensor:
    return sample_theta(SamplingDistributions(), 200, make_generator(0))


@pytest.fixture
def prior(thetas: torch.Tensor) -> AppearancePrior:
    mean, whitening = learn_light(thetas, torch.ones(3), FRONTAL, 1.0)
    return AppearancePrior(mean, whitening, torch.full((CELLS, CELLS), 0.1))


def test_the_distance_of_the_light_is_in_standard_deviations(thetas: torch.Tensor, prior: AppearancePrior):
    light = split_theta(thetas).light
    distances = light_distance(light, prior.light_mean.expand_as(light), prior.light_whitening)
    covariance = torch.cov(light.double().T) + 0.02**2 * torch.eye(27)
    away = light.double() - light.double().mean(dim=0)
    expected = (away @ torch.linalg.inv(covariance) * away).sum(dim=1)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-3, atol=1e-2)


def test_a_smaller_tone_share_holds_the_light_of_the_skin_tighter(thetas: torch.Tensor, prior: AppearancePrior):
    mean, tight = learn_light(thetas, torch.tensor([1.1, 1.0, 0.9]), FRONTAL, 0.15)
    torch.testing.assert_close(mean[:9], 1.1 * prior.light_mean[:9])
    torch.testing.assert_close(mean[18:], 0.9 * prior.light_mean[18:])
    zero = torch.zeros(1, 27)
    for band in (0, 2):  # ambient and frontal light brighten the skin alike
        brighter = torch.zeros(1, 27)
        brighter[:, [band, 9 + band, 18 + band]] = 0.3 * FRONTAL[band].sign()
        assert light_distance(brighter, zero, tight) > 4 * light_distance(brighter, zero, prior.light_whitening)


def test_only_the_light_of_the_skin_varies_less(thetas: torch.Tensor):
    def covariance(share: float) -> torch.Tensor:
        _, whitening = learn_light(thetas, torch.ones(3), FRONTAL, share)
        return torch.linalg.inv(whitening.double() @ whitening.double().T) - 0.02**2 * torch.eye(27)

    of_skin = torch.block_diag(*[FRONTAL.double()[None]] * 3)
    before, after = covariance(1.0), covariance(0.3)
    torch.testing.assert_close(of_skin @ after @ of_skin.T, 0.09 * of_skin @ before @ of_skin.T, rtol=1e-2, atol=1e-6)
    unchanged = torch.zeros(27, 1, dtype=torch.float64)
    unchanged[4:6] = torch.tensor([[FRONTAL[5]], [-FRONTAL[4]]])  # bends the light, the mean skin stays as bright
    shared = before @ of_skin.T
    free = unchanged - of_skin.T @ torch.linalg.solve(of_skin @ shared, shared.T @ unchanged)
    torch.testing.assert_close(free.T @ after @ free, free.T @ before @ free, rtol=1e-2, atol=1e-6)


def test_residuals_are_learned_by_part_of_the_face(ellipsoid_face):
    renderer = Renderer(ellipsoid_face, Camera(image_size=48))
    rendering = renderer(sample_theta(SamplingDistributions(), 60, make_generator(1)))
    cells = pixel_cells(ellipsoid_face, rendering.triangle_ids)
    upper = (cells // CELLS >= CELLS // 2)[:, None]
    images = rendering.image + torch.where(upper, 0.2, 0.05)
    residuals = learn_residuals(ellipsoid_face, images, rendering)
    assert residuals.shape == (CELLS, CELLS)
    torch.testing.assert_close(residuals, residuals.flip(1), rtol=1e-4, atol=1e-6)
    half = CELLS // 2
    middle = slice(half - 3, half + 3)
    seen = cells[rendering.triangle_ids >= 0].bincount(minlength=CELLS**2).reshape(CELLS, CELLS)
    known = seen[:, middle].min(dim=1).values >= 100
    high, low = (known.nonzero().flatten() for known in (known & (torch.arange(CELLS) > half + 2), known[: half - 2]))
    assert min(len(high), len(low)) > 0
    assert residuals[high[0], half] > 2 * residuals[low[0], half]


def test_its_tensors_come_back(prior: AppearancePrior):
    again = AppearancePrior.from_tensors(prior.tensors())
    for name, tensor in prior.tensors().items():
        torch.testing.assert_close(again.tensors()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"light_mean": torch.zeros(26)}, "shape"),
        ({"light_whitening": torch.full((27, 27), torch.nan)}, "finite"),
        ({"residuals": torch.zeros(CELLS, CELLS)}, "positive"),
        ({"other": torch.zeros(1)}, "other"),
    ],
    ids=["shape", "not finite", "not positive", "unknown"],
)
def test_malformed_tensors_are_refused(prior: AppearancePrior, change: dict[str, torch.Tensor], why: str):
    with pytest.raises(ValueError, match=why):
        AppearancePrior.from_tensors(prior.tensors() | change)
