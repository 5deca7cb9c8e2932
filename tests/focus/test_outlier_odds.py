"""The log odds of outliers: cloth is no skin, a shadow is, and the segmenter alone does not decide."""

import pytest
import torch

from focus_ray.focus.appearance import CELLS, AppearancePrior
from focus_ray.focus.camera import Camera
from focus_ray.focus.outlier_odds import OutlierSettings, enlarge, face_log_odds, face_probability, sharpen
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta

SIZE = 48


@pytest.fixture(scope="module")
def rendering(ellipsoid_face) -> Rendering:
    return Renderer(ellipsoid_face, Camera(image_size=SIZE))(
        sample_theta(SamplingDistributions(), 2, make_generator(3))
    )


@pytest.fixture
def prior() -> AppearancePrior:
    return AppearancePrior(torch.zeros(27), torch.eye(27), torch.full((CELLS, CELLS), 0.1))


def probabilities(prior, face, images, rendering) -> torch.Tensor:
    settings = OutlierSettings()
    odds = face_log_odds(prior, face, images, rendering, 0.9 * rendering.mask, settings)
    return face_probability(odds, images, rendering.mask, settings)


def test_an_explained_face_is_kept_and_nothing_outside_of_it(ellipsoid_face, rendering, prior):
    kept = probabilities(prior, ellipsoid_face, rendering.image.clamp(0, 1), rendering)
    assert bool((kept[rendering.mask > 0] > 0.9).all())
    assert float((kept * (1 - rendering.mask)).abs().max()) == 0.0


def test_a_patch_in_another_colour_is_cut_out_although_the_segmenter_keeps_it(ellipsoid_face, rendering, prior):
    images = rendering.image.clamp(0, 1).clone()
    images[:, :, 20:28, 20:28] = torch.tensor([0.1, 0.3, 0.8]).reshape(1, 3, 1, 1)
    kept = probabilities(prior, ellipsoid_face, images, rendering)
    inside = rendering.mask[:, :, 22:26, 22:26] > 0
    assert bool((kept[:, :, 22:26, 22:26][inside] < 0.1).all())


def test_a_change_of_brightness_counts_less_than_one_of_chroma(ellipsoid_face, rendering, prior):
    darker = rendering.image.clamp(0, 1) * 0.8
    recoloured = rendering.image.clamp(0, 1) * torch.tensor([0.7, 1.0, 1.0]).reshape(1, 3, 1, 1)
    seen = rendering.mask > 0
    odds = [
        face_log_odds(prior, ellipsoid_face, images, rendering, 0.5 * rendering.mask, OutlierSettings())[seen].mean()
        for images in (darker, recoloured)
    ]
    assert odds[0] > odds[1]


def test_where_large_residuals_are_usual_they_count_less(ellipsoid_face, rendering, prior):
    images = (rendering.image + 0.15).clamp(0, 1)
    lenient = AppearancePrior(prior.light_mean, prior.light_whitening, 3 * prior.residuals)
    strict = face_log_odds(prior, ellipsoid_face, images, rendering, 0.5 * rendering.mask, OutlierSettings())
    loose = face_log_odds(lenient, ellipsoid_face, images, rendering, 0.5 * rendering.mask, OutlierSettings())
    seen = rendering.mask > 0
    assert bool((loose >= strict)[seen].all())
    assert float(loose[seen].mean()) > float(strict[seen].mean()) + 0.5


def test_an_enlarged_mask_follows_the_edges_of_the_larger_picture(ellipsoid_face, rendering, prior):
    images = rendering.image.clamp(0, 1).clone()
    images[:, :, 20:28, 20:28] = 0.0
    small = probabilities(prior, ellipsoid_face, images, rendering)
    zoom = torch.nn.Upsample(scale_factor=4, mode="nearest")
    region = zoom(rendering.mask)
    enlarged = enlarge(small, rendering.mask, region)
    assert float(enlarged[region > 0].max()) <= 1.0
    assert float((enlarged * (1 - region)).abs().max()) == 0.0
    black = zoom(images).amax(dim=1, keepdim=True) == 0.0
    black &= region > 0
    sharp = sharpen(enlarged, zoom(images), region, OutlierSettings()) > 0.5
    wrong = [float(((mask == black) & (region > 0)).float().sum() / region.sum()) for mask in (sharp, enlarged > 0.5)]
    assert wrong[0] <= wrong[1]
    assert wrong[0] < 0.01
