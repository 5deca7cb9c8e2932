"""The terms of L_R: which there are, in which units, and that every option reaches its loss."""

import pytest
import torch
from torch import nn

from focus_ray import model
from focus_ray.focus import losses
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.camera import Camera
from focus_ray.focus.losses import ReconstructionWeights
from focus_ray.focus.pooled_ratio import PooledRatio
from focus_ray.focus.reconstruction_terms import reconstruction_terms
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.state import Targets

MODEL = model.ModelSettings(
    camera=Camera(image_size=32),
    encoder=model.EncoderSettings(kind="small", width=4),
    segmenter=model.SegmenterSettings(width=4, levels=2),
    perceptual=model.PerceptualSettings(kind="warmup_encoder"),
)


class Observer(nn.Module):
    """A perceptual network that says what it was asked; its embedding is the mean colour."""

    def __init__(self):
        super().__init__()
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def embedding(self, images: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        self.asked.append((images, landmarks))
        return images.mean(dim=(2, 3))


@pytest.fixture
def focus(ellipsoid_face) -> Focus:
    focus = model.build(MODEL, ellipsoid_face, perceptual=False)
    focus.perceptual = Observer()
    return focus


def pair(size: int = 8) -> tuple[Targets, Rendering]:
    """A black target, and a rendering 0.3 away from it in colour that fills the upper half; every landmark 1 px off."""
    region = torch.zeros(1, 1, size, size)
    region[..., : size // 2, :] = 1
    rendering = Rendering(
        image=region * torch.tensor([0.1, 0.2, 0.2])[:, None, None],
        mask=region,
        depth=torch.zeros(1, 1, size, size),
        landmarks=torch.ones(1, 68, 2),
        triangle_ids=torch.zeros(1, size, size, dtype=torch.long),
        vertices=torch.zeros(1, 3, 3),
        vertices_screen=torch.zeros(1, 3, 3),
    )
    return Targets(torch.zeros(1, 3, size, size), torch.zeros(1, 68, 2)), rendering


def terms_of(focus: Focus, size: int = 8, **weights) -> dict[str, torch.Tensor]:
    """The means of that pair's terms under a mask of half the rendered region, all of theta two sigmas long."""
    batch, rendering = pair(size)
    mask = rendering.mask.clone()
    mask[..., : size // 4, :] = 0
    theta = torch.full((1, 257), 2.0)
    terms = reconstruction_terms(focus, batch, theta, rendering, mask, ReconstructionWeights(**weights))
    return {symbol: term.ratio() for symbol, term in terms.items()}


@pytest.mark.parametrize(
    ("weights", "perceptual", "symbols"),
    [
        ({}, True, {"pixel", "lm", "reg", "per"}),
        ({}, False, {"pixel", "lm", "reg"}),
        ({"lambda_per": 0}, True, {"pixel", "lm", "reg"}),
        ({"lambda_area": 0.06}, True, {"pixel", "lm", "reg", "per", "area"}),
        ({"lambda_pixel": 0, "lambda_lm": 0, "lambda_reg": 0}, True, {"pixel", "lm", "reg", "per"}),
    ],
)
def test_terms_are_there_by_their_weights_and_the_perceptual_network(focus, weights, perceptual, symbols):
    if not perceptual:
        focus.perceptual = None
    assert set(terms_of(focus, **weights)) == symbols


@pytest.mark.parametrize(("norm", "error"), [("squared", 0.09), ("l21", 0.3)])
@pytest.mark.parametrize(("normalise", "share"), [("mask", 1.0), ("region", 0.5), ("image", 0.25)])
def test_the_pixel_loss_is_taken_and_divided_as_the_weights_say(focus, norm, error, normalise, share):
    terms = terms_of(focus, pixel_norm=norm, pixel_normalise=normalise)
    assert float(terms["pixel"]) == pytest.approx(error * share)


@pytest.mark.parametrize(("size", "squared_px_at_224"), [(224, 1.0), (32, 49.0), (8, 784.0)])
def test_landmarks_are_measured_in_pixels_of_224_whatever_the_size(focus, size, squared_px_at_224):
    assert float(terms_of(focus, size, landmark_emphasis="uniform")["lm"]) == pytest.approx(squared_px_at_224)


@pytest.mark.parametrize(
    ("emphasis", "squared", "mean_weight"),
    [
        ("paper", False, (12 * 20 + 56) / 68),
        ("release", False, (11 * 20 + 57) / 68),
        ("release", True, (11 * 400 + 57) / 68),
    ],
)
def test_landmarks_weigh_what_the_emphasis_says(focus, emphasis, squared, mean_weight):
    terms = terms_of(focus, 224, landmark_emphasis=emphasis, landmark_squared_weights=squared)
    assert float(terms["lm"]) == pytest.approx(mean_weight)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, 4.0 * 257),
        ({"regularizer_coefficients": 144}, 4.0 * 144),
        ({"regularizer_form": "release"}, 4.0),
    ],
)
def test_the_regulariser_has_its_form_and_its_coefficients(focus, options, value):
    assert float(terms_of(focus, **options)["reg"]) == pytest.approx(value)


def test_the_area_term_is_the_share_that_the_mask_leaves_out(focus):
    assert float(terms_of(focus, lambda_area=0.06)["area"]) == pytest.approx(0.5)


def test_each_picture_is_embedded_by_its_own_landmarks_and_only_the_rendering_learns(focus):
    batch, rendering = pair()
    batch.images.add_(torch.tensor([0.5, 0.2, 0.1])[:, None, None]).requires_grad_()
    rendering.image.requires_grad_()
    weights = ReconstructionWeights()
    terms = reconstruction_terms(focus, batch, torch.zeros(1, 257), rendering, rendering.mask, weights)
    (target, detected), (drawn, predicted) = focus.perceptual.asked
    assert target is batch.images
    assert detected is batch.landmarks
    assert drawn is rendering.image
    assert predicted is rendering.landmarks
    expected = losses.perceptual(torch.tensor([[0.5, 0.2, 0.1]]), torch.tensor([[0.05, 0.1, 0.1]]))
    torch.testing.assert_close(terms["per"].ratio(), expected)
    terms["per"].ratio().backward()
    assert batch.images.grad is None
    assert rendering.image.grad.abs().sum() > 0


@pytest.mark.parametrize("normalise", ["mask", "region", "image"])
def test_terms_of_parts_add_up_to_those_of_the_batch(focus, normalise):
    images, drawn, landmarks = torch.rand(5, 3, 8, 8), torch.rand(5, 3, 8, 8), 8 * torch.rand(5, 68, 2)
    region = (torch.rand(5, 1, 8, 8) > 0.4).float()
    batch, theta = Targets(images, landmarks), torch.randn(5, 257)
    rendering = Rendering(
        image=drawn,
        mask=region,
        depth=torch.zeros(5, 1, 8, 8),
        landmarks=landmarks + torch.rand(5, 68, 2),
        triangle_ids=torch.zeros(5, 8, 8, dtype=torch.long),
        vertices=torch.zeros(5, 3, 3),
        vertices_screen=torch.zeros(5, 3, 3),
    )
    mask, weights = region * torch.rand(5, 1, 8, 8), ReconstructionWeights(lambda_area=0.06, pixel_normalise=normalise)

    def terms(rows: slice) -> dict[str, PooledRatio]:
        part = rendering.rows(rows)
        return reconstruction_terms(focus, batch.rows(rows), theta[rows], part, mask[rows], weights)

    whole, some, others = (terms(rows) for rows in (slice(0, 5), slice(0, 2), slice(2, 5)))
    assert set(whole) == {"pixel", "lm", "reg", "per", "area"}
    for symbol, term in whole.items():
        for total, one, other in zip(term, some[symbol], others[symbol], strict=True):
            torch.testing.assert_close(one + other, total)
