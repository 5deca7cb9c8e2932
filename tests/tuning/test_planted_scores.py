"""Figures on pasted pixels: what a perfect mask gets, and one that excludes everything, or nothing."""

from pathlib import Path

import pytest
import torch

from focus_ray.data.photo_split import PhotoSubset
from focus_ray.data.photos import PhotoFolder
from focus_ray.data.sample import Batch
from focus_ray.focus.refine import RefineSettings
from focus_ray.model import Model
from focus_ray.tuning import planted_scores
from focus_ray.tuning.planted_scores import PlantedPictures, list_open, score_planted
from tests.data.composites.photographs import write_photographs

ONCE = RefineSettings(steps=1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> PhotoSubset:
    return PhotoSubset(PhotoFolder(write_photographs(tmp_path_factory.mktemp("set") / "set"), image_size=32), [0, 2, 3])


class Grey:
    """Pictures of one grey, those of `planted` with a white square where something is pasted."""

    def __init__(self, planted: bool) -> None:
        self.planted = planted

    def batch(self, indices) -> Batch:
        images = torch.full((len(indices), 3, 32, 32), 0.5)
        if not self.planted:
            return Batch(images, torch.zeros(len(indices), 68, 2))
        where = torch.zeros(len(indices), 1, 32, 32)
        where[..., 12:18, 12:18] = 1
        return Batch(torch.where(where > 0, 1.0, images), torch.zeros(len(indices), 68, 2), planted=where)


class Squares:
    """Two pictures with a square, three open ones."""

    planted, count = Grey(planted=True), 2
    open_faces, open_numbers = Grey(planted=False), (0, 1, 2)


def score_with(mask, untrained: Model, monkeypatch: pytest.MonkeyPatch, *variants: str) -> dict:
    monkeypatch.setattr(type(untrained.focus), "mask", lambda self, images, rendering: mask(images, rendering.mask))
    return score_planted(untrained.focus, Squares(), ONCE, variants or ("focus",))


def test_a_perfect_mask_and_the_two_that_say_nothing(untrained: Model, monkeypatch: pytest.MonkeyPatch):
    perfect = score_with(lambda images, region: region * (images[:, :1] < 0.9), untrained, monkeypatch)["focus"]
    assert (perfect["score"], perfect["outlier_iou"], perfect["false_alarms"]) == (1, 1, 0)
    assert perfect["landmark_px"] > 0
    nothing = score_with(lambda _, region: region, untrained, monkeypatch)["focus"]
    assert (nothing["score"], nothing["outlier_iou"], nothing["false_alarms"]) == (0, 0, 0)
    everything = score_with(lambda _, region: 0 * region, untrained, monkeypatch)["focus"]
    assert everything["false_alarms"] == 1
    assert 0 < everything["outlier_iou"] < 0.5
    assert everything["score"] == everything["outlier_iou"] - 1


def test_refined_fits_are_scored_if_asked_for(untrained: Model, monkeypatch: pytest.MonkeyPatch):
    found = score_with(lambda _, region: region, untrained, monkeypatch, "focus", "refined")
    assert list(found) == ["focus", "refined"]
    assert found["refined"]["landmark_px"] != found["focus"]["landmark_px"]


def test_a_figure_without_pixels_is_none(untrained: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Grey, "batch", lambda self, indices: Batch(torch.zeros(1, 3, 32, 32), torch.zeros(1, 68, 2)))
    found = score_with(lambda _, region: region, untrained, monkeypatch)["focus"]
    assert (found["outlier_iou"], found["score"], found["false_alarms"]) == (None, None, 0)


def test_pictures_depend_on_number_and_seed_and_all_have_an_occluder(photos: PhotoSubset):
    first, again, other = (PlantedPictures(photos, 4, seed).planted.batch(range(4)) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert first.planted is not None
    assert (first.planted.flatten(1).sum(dim=1) > 0).all()


def test_false_alarms_are_those_of_open_faces_if_it_is_known_whose_are(
    photos: PhotoSubset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    attributes = {"anna_3.png": {"open": True}, "bert.png": {"open": False}}
    monkeypatch.setattr(planted_scores, "read_attributes", lambda: attributes)
    assert list_open(photos) == [0, 1, 2], "these are not the portraits that the attributes are of"
    monkeypatch.setattr(photos.photos, "portraits", True)
    assert list_open(photos) == [1]
    attributes.clear()
    assert list_open(photos) == [0, 1, 2]
