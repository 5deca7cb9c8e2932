"""Figures without labels: what they measure, and that masks cannot game them by being small."""

import pytest
import torch

from focus_ray.data.sample import Batch
from focus_ray.model import Model
from focus_ray.training.unlabelled import EXCLUDED_PIXEL_COST, LANDMARK_WEIGHT, PERCEPTUAL_WEIGHT, score_unlabelled


class Faces:
    """The same picture again and again, with landmarks where the model has them, or beside."""

    def __init__(self, image: torch.Tensor, landmarks: torch.Tensor) -> None:
        self.image, self.landmarks = image, landmarks

    def batch(self, indices) -> Batch:
        count = len(list(indices))
        return Batch(self.image.expand(count, -1, -1, -1), self.landmarks.expand(count, -1, -1))


@pytest.fixture
def own(untrained: Model) -> Faces:
    """A picture that the model explains perfectly: its own rendering of the mean face."""
    with torch.no_grad():
        rendering = untrained.focus.renderer(untrained.focus.encoder(torch.zeros(1, 3, 32, 32)))
    return Faces(rendering.image.detach(), rendering.landmarks.detach())


def with_mask(focus, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(focus), "mask", lambda self, images, rendering: value * rendering.mask)


def test_a_perfect_explanation_costs_nothing_and_leaving_out_has_its_price(
    untrained: Model, own: Faces, monkeypatch: pytest.MonkeyPatch
):
    focus = untrained.focus
    for value in (0.0, 0.25, 1.0):
        with_mask(focus, value, monkeypatch)
        figures = score_unlabelled(focus, own, 3, 2)
        assert figures["explained"] == pytest.approx((1 - value) * EXCLUDED_PIXEL_COST, abs=1e-5)
        assert figures["mask_coverage"] == pytest.approx(value, abs=1e-5)
        assert figures["landmarks"] == pytest.approx(0, abs=1e-6)
        assert figures["unlabelled"] == pytest.approx(
            figures["explained"]
            + LANDMARK_WEIGHT * figures["landmarks"]
            + PERCEPTUAL_WEIGHT * (figures["perceptual"] or 0.0)
        )


def test_what_is_not_explained_costs_its_distance(untrained: Model, own: Faces, monkeypatch: pytest.MonkeyPatch):
    with_mask(untrained.focus, 1.0, monkeypatch)
    moved = Faces(own.image, own.landmarks + torch.tensor([3.2, 0.0]))
    moved.image = (own.image + 0.1).clamp(max=10)
    figures = score_unlabelled(untrained.focus, moved, 2)
    assert figures["landmarks"] == pytest.approx(0.1, abs=1e-3)
    assert figures["explained"] == pytest.approx(0.1 * 3**0.5, abs=0.02)


def test_steady_masks_are_mirrored_with_the_picture(untrained: Model, monkeypatch: pytest.MonkeyPatch):
    image = torch.rand(1, 3, 32, 32)
    faces = Faces(image, torch.zeros(1, 68, 2))
    with_mask(untrained.focus, 1.0, monkeypatch)
    assert score_unlabelled(untrained.focus, faces, 2)["unsteady"] == pytest.approx(0, abs=1e-6)
    half = torch.zeros(1, 1, 32, 32)
    half[..., :16] = 1
    monkeypatch.setattr(type(untrained.focus), "mask", lambda self, images, rendering: half * rendering.mask)
    assert score_unlabelled(untrained.focus, faces, 2)["unsteady"] == pytest.approx(1, abs=1e-6)


def test_it_does_not_depend_on_the_batch(untrained: Model):
    random = torch.Generator().manual_seed(1)
    images = torch.rand(6, 3, 32, 32, generator=random)

    class Different(Faces):
        def batch(self, indices) -> Batch:
            chosen = list(indices)
            return Batch(images[chosen], torch.zeros(len(chosen), 68, 2))

    faces = Different(images, images)
    one, other = score_unlabelled(untrained.focus, faces, 6, 2), score_unlabelled(untrained.focus, faces, 6, 6)
    for name, value in one.items():
        assert value == pytest.approx(other[name], rel=1e-4)


def test_masks_that_notice_what_was_planted_and_masks_that_notice_nothing(
    untrained: Model, own: Faces, monkeypatch: pytest.MonkeyPatch
):
    """A mask that leaves out just what has changed is right; all ones and all zeros notice nothing new."""
    # No two pixels alike: a piece of the same colour as what it hides could not be noticed.
    faces = Faces(own.image + 0.01 * torch.rand(own.image.shape), own.landmarks)

    def unchanged(self, images, rendering):
        return rendering.mask * ((images - faces.image).abs().amax(dim=1, keepdim=True) < 1e-6)

    monkeypatch.setattr(type(untrained.focus), "mask", unchanged)
    assert score_unlabelled(untrained.focus, faces, 4)["planted"] == pytest.approx(1)
    for value in (0.0, 1.0):
        with_mask(untrained.focus, value, monkeypatch)
        assert score_unlabelled(untrained.focus, faces, 4)["planted"] == 0
