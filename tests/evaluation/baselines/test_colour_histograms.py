"""Segmentation of a picture by itself."""

import pytest
import torch

from focus_ray.evaluation.baselines.colour_histograms import ColourHistogramSegmenter
from focus_ray.focus.refine import refine


@pytest.fixture(scope="module")
def scene(model):
    """The mean face as it is rendered, with some noise, and a blue bar over it; where the bar is."""
    torch.manual_seed(0)
    offset, _ = model.focus.scales.vectors()
    rendering = model.focus.renderer(offset.expand(2, -1))
    images = torch.where(rendering.mask > 0, rendering.image, 0.4).clamp(0, 1) + 0.02 * torch.randn_like(
        rendering.image
    )
    bar = torch.zeros_like(rendering.mask)
    bar[:, :, 14:19] = 1
    images = torch.where(bar > 0, torch.tensor([0.1, 0.2, 0.9])[:, None, None], images)
    return images.clamp(0, 1), rendering, bar


def test_a_bar_over_the_face_is_found(scene):
    images, rendering, bar = scene
    mask = ColourHistogramSegmenter()(images, rendering)
    inside = rendering.mask > 0
    truth = (1 - bar)[inside] > 0
    right = ((mask[inside] > 0.5) == truth).float().mean()
    assert float(right) > 0.97
    assert float(truth.float().mean()) < 0.9  # what an all-ones mask would get
    assert float(mask[~inside].abs().max()) == 0


def test_each_picture_is_a_problem_of_its_own(scene):
    images, rendering, _ = scene
    both = ColourHistogramSegmenter()(images, rendering)
    noisy = images.clone()
    noisy[1] = torch.rand_like(noisy[1])
    assert torch.equal(ColourHistogramSegmenter()(noisy, rendering)[0], both[0])


def test_it_leads_a_refinement(scene, model):
    images = scene[0]
    theta = model.focus.scales.vectors()[0].expand(2, -1) + 0.01
    settings = model.refine.model_copy(update={"steps": 3})
    fit = refine(model.focus.renderer, model.focus.scales, images, theta, ColourHistogramSegmenter(), None, settings)
    assert bool(fit.theta.isfinite().all())
    assert float(fit.mask.max()) <= 1
