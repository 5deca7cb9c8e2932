"""The skin detector of one Gaussian."""

from dataclasses import replace

import pytest
import torch

from focus_ray.errors import DataError
from focus_ray.evaluation.baselines.skin_colour import SkinColourSegmenter

SKIN, BLUE = torch.tensor([0.8, 0.6, 0.5]), torch.tensor([0.2, 0.3, 0.8])


def half_and_half(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures whose left half is skin, and where it is."""
    torch.manual_seed(seed)
    visible = torch.zeros(4, 1, 32, 32)
    visible[..., :16] = 1
    colours = torch.where(visible > 0, SKIN[:, None, None], BLUE[:, None, None])
    return (colours + 0.05 * torch.randn(4, 3, 32, 32)).clamp(0, 1), visible


@pytest.fixture(scope="module")
def rendering(model):
    theta = torch.zeros(4, 257)
    whole = model.focus.renderer(theta)
    everywhere = torch.ones(4, 1, 32, 32)
    return replace(whole, image=torch.zeros(4, 3, 32, 32), mask=everywhere)


def test_planted_colours_are_told_apart(rendering):
    law = SkinColourSegmenter.fit(*half_and_half(), torch.ones(4, 1, 32, 32))
    images, visible = half_and_half(seed=1)
    mask = law(images, rendering)
    assert torch.equal((mask > 0.5).float(), visible)
    assert float(mask.min()) >= 0
    assert float(mask.max()) <= 1


def test_the_order_of_pictures_does_not_matter(rendering):
    images, visible = half_and_half()
    region = torch.ones(4, 1, 32, 32)
    one = SkinColourSegmenter.fit(images, visible, region)(images, rendering)
    other = SkinColourSegmenter.fit(images.flip(0), visible.flip(0), region)(images, rendering)
    assert torch.allclose(one, other, atol=1e-5)


def test_nothing_is_skin_where_no_face_is_rendered(rendering):
    law = SkinColourSegmenter.fit(*half_and_half(), torch.ones(4, 1, 32, 32))
    half = rendering.mask.clone()
    half[..., :8, :] = 0
    assert float(law(half_and_half()[0], replace(rendering, mask=half))[..., :8, :].max()) == 0


def test_pictures_without_a_word_about_other_colours_are_refused():
    images, _ = half_and_half()
    with pytest.raises(DataError, match="0 pixels are too few"):
        SkinColourSegmenter.fit(images, torch.ones(4, 1, 32, 32), torch.ones(4, 1, 32, 32))
