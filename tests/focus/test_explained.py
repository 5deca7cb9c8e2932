"""The bound of explained pixels follows the median of the image and what is usual in the part of the face."""

import pytest
import torch

from focus_ray.focus.appearance import pixel_cells
from focus_ray.focus.explained import PARTS, explained_mask, group_medians
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.state import Targets, TrainState
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, render_random

BATCH = 4


@pytest.fixture
def fits(state: TrainState) -> tuple[Targets, Rendering]:
    """Renders that are off by little everywhere."""
    renderer = state.focus.renderer
    _, theta = render_random(renderer, SamplingDistributions(), BATCH, make_generator(7))
    rendering = renderer(theta)
    noise = 0.02 * torch.rand(rendering.image.shape, generator=make_generator(1))
    return Targets(rendering.image + 0.02 + noise, rendering.landmarks), rendering


def worsen(batch: Targets, pixels: torch.Tensor) -> Targets:
    return batch._replace(images=batch.images + 0.5 * pixels)


def test_one_badly_fitted_image_is_not_explained_where_the_others_are_fitted_well(state, fits):
    batch, rendering = fits
    spot = torch.zeros_like(rendering.mask)
    spot[0, :, 12:20, 12:20] = 1
    spot *= rendering.mask
    explained = explained_mask(worsen(batch, spot), rendering, state.focus.renderer.model, 3.0)
    inner = torch.zeros_like(spot)
    inner[0, :, 13:19, 13:19] = rendering.mask[0, :, 13:19, 13:19]
    assert inner.sum() > 0
    assert (explained * inner).sum() == 0
    assert explained[1:].sum() > 0.95 * rendering.mask[1:].sum()


def test_a_part_that_no_image_fits_well_is_explained_in_all(state, fits):
    batch, rendering = fits
    parts = pixel_cells(state.focus.renderer.model, rendering.triangle_ids, PARTS)[:, None]
    largest = int(parts[rendering.mask > 0].mode().values)
    part = (parts == largest) * rendering.mask
    explained = explained_mask(worsen(batch, part), rendering, state.focus.renderer.model, 3.0)
    assert (explained * part).sum() > 0.9 * part.sum()


def test_pasted_pixels_count_in_no_median(state, fits):
    batch, rendering = fits
    pasted = torch.zeros_like(rendering.mask)
    pasted[..., : pasted.shape[-1] // 2] = 1
    hidden = worsen(batch, pasted)._replace(planted=pasted)
    face_model = state.focus.renderer.model
    explained = explained_mask(hidden, rendering, face_model, 3.0)
    beside = (1 - pasted) * rendering.mask
    assert (explained * pasted).sum() < 0.05 * (rendering.mask * pasted).sum()
    assert (explained * beside).sum() > 0.95 * beside.sum()


def test_nothing_is_explained_in_an_image_that_is_covered(state, fits):
    batch, rendering = fits
    covered = batch._replace(planted=torch.ones_like(rendering.mask))
    assert explained_mask(covered, rendering, state.focus.renderer.model, 3.0).sum() == 0


def test_group_medians_are_those_of_each_group():
    generator = make_generator(3)
    values, groups = torch.rand(200, generator=generator), torch.randint(0, 9, (200,), generator=generator)
    groups[groups == 4] = 5  # a group without values
    expected = [float(values[groups == group].median()) if group != 4 else 1.0 for group in range(9)]
    assert group_medians(values, groups, 9).tolist() == pytest.approx(expected)
    assert group_medians(values[:0], groups[:0], 3).tolist() == [1.0, 1.0, 1.0]
