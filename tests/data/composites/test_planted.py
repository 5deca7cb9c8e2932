"""Planted pictures: a function of seed and number, with labels at the pasted pixels only."""

import numpy as np
import pytest
import torch

from focus_ray.data.augment import AugmentSettings
from focus_ray.data.composites import planted
from focus_ray.data.composites.planted import PlantedConfig, PlantedMixture, PlantedPhotos, plant_labels
from focus_ray.data.composites.training.families import TRAINING_FAMILIES
from focus_ray.data.photo_split import PhotoSubset
from focus_ray.data.photos import PhotoFolder
from focus_ray.data.sample import UNOCCLUDED, Batch
from focus_ray.errors import ConfigError
from tests.data.composites.photographs import write_photographs

STILL = AugmentSettings(flip=0, shift=0, scale=0, rotation=0)
OFTEN = PlantedConfig(share=1.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> PhotoSubset:
    folder = PhotoFolder(write_photographs(tmp_path_factory.mktemp("planted") / "set"), image_size=64)
    return PhotoSubset(folder, [0, 1, 3])


def test_a_picture_depends_on_seed_and_number_alone(photos):
    first = PlantedPhotos(photos, OFTEN, AugmentSettings(), seed=1)
    alone, together = first.batch([5]), first.batch([2, 5])
    for name in ("images", "planted", "landmarks"):
        assert torch.equal(getattr(alone, name)[0], getattr(together, name)[1])
    other = PlantedPhotos(photos, OFTEN, AugmentSettings(), seed=2).batch([5])
    assert not torch.equal(other.images, alone.images)


def test_each_pass_shows_every_photograph_with_other_occluders(photos):
    pictures = PlantedPhotos(photos, OFTEN, STILL, seed=1).batch(range(6))
    assert sorted(pictures.names[:3]) == sorted(pictures.names[3:]) == ["anna_1.png", "anna_2.png", "bert.png"]
    assert len({tuple(one.flatten().tolist()) for one in pictures.planted}) == 6


def test_the_share_decides_how_many_are_open_and_open_ones_have_no_label(photos):
    batch = PlantedPhotos(photos, PlantedConfig(share=0.5), STILL, seed=3).batch(range(24))
    is_open = np.array([family == UNOCCLUDED for family in batch.families])
    assert 5 <= is_open.sum() <= 19
    covered = batch.planted.flatten(1).mean(dim=1).numpy()
    assert (covered[is_open] == 0).all()
    assert (covered[~is_open] > 0).all()


def test_families_can_be_left_out(photos):
    kept = {"bar", "patch"}
    config = OFTEN.model_copy(update={"left_out": tuple({*TRAINING_FAMILIES, "skin_piece"} - kept)})
    assert set(PlantedPhotos(photos, config, STILL, seed=1).batch(range(12)).families) <= kept | {UNOCCLUDED}
    with pytest.raises(ConfigError, match="unknown families"):
        PlantedPhotos(photos, PlantedConfig(left_out=("hat",)), STILL, seed=1)
    with pytest.raises(ValueError, match="smallest share"):
        PlantedConfig(covered=(0.5, 0.5))
    with pytest.raises(ConfigError, match="leave one in"):
        PlantedPhotos(photos, PlantedConfig(left_out=(*TRAINING_FAMILIES, "skin_piece")), STILL, seed=1)


def test_families_are_drawn_by_their_weights(photos):
    left_out = tuple({*TRAINING_FAMILIES, "skin_piece"} - {"bar", "patch"})
    config = OFTEN.model_copy(update={"left_out": left_out, "weights": {"bar": 9.0}})
    families = PlantedPhotos(photos, config, STILL, seed=1).batch(range(40)).families
    assert 30 <= families.count("bar") < 40
    with pytest.raises(ConfigError, match=r"weights names unknown families \['hat'\]"):
        PlantedPhotos(photos, PlantedConfig(weights={"hat": 2.0}), STILL, seed=1)
    with pytest.raises(ValueError, match="greater than 0"):
        PlantedConfig(weights={"bar": 0.0})


def test_labels_and_landmarks_move_with_an_augmented_picture(photos, monkeypatch):
    """The same pictures with and without their occluders differ where the labels are."""
    monkeypatch.setattr(planted, "vary_photo", lambda rng, rgb, landmarks: rgb)
    turned = AugmentSettings(flip=1.0, shift=12, scale=0.1, rotation=15)
    pictures = PlantedPhotos(photos, OFTEN.model_copy(update={"left_out": tuple(SEE_THROUGH)}), turned, seed=7)
    with_occluder = pictures.batch(range(8))
    monkeypatch.setattr(
        PlantedPhotos, "_plant", lambda self, rng, photo: ("none", photo.rgb, np.zeros(photo.rgb.shape[:2], bool))
    )
    plain = pictures.batch(range(8))
    assert torch.equal(with_occluder.landmarks, plain.landmarks)
    changed = ((with_occluder.images - plain.images).abs().amax(dim=1, keepdim=True) > 0.15).float()
    labelled = with_occluder.planted
    overlap = (changed * labelled).sum() / (changed.maximum(labelled)).sum()
    mirrored = (changed * labelled.flip(-1)).sum() / (changed.maximum(labelled.flip(-1))).sum()
    assert float(overlap) > 0.6
    assert float(mirrored) < 0.5 * float(overlap)


SEE_THROUGH = ("veil", "net", "strand", "skin_blob", "skin_piece", "hand", "hands")  # or of the colour of skin


class Grey:
    """Synthetic faces whose level is their number; the left half of each is hidden."""

    def batch(self, indices) -> Batch:
        ones = torch.ones(len(indices), 1, 64, 64)
        hidden = ones.clone()
        hidden[..., :32] = 0
        levels = torch.tensor(indices, dtype=torch.float32).view(-1, 1, 1, 1) / 100
        return Batch(
            images=levels.expand(-1, 3, 64, 64),
            landmarks=torch.zeros(len(indices), 68, 2),
            masks=hidden,
            region=ones,
            families=["bar"] * len(indices),
            names=[str(index) for index in indices],
        )


def test_a_mixture_keeps_the_order_and_the_kind_of_each_number(photos):
    mixture = PlantedMixture(PlantedPhotos(photos, OFTEN, STILL, seed=1), Grey(), 0.5, seed=4)
    batch = mixture.batch(range(12))
    synthetic = [name.isdigit() for name in batch.names]
    assert 0 < sum(synthetic) < 12
    again = mixture.batch([7, 3])
    assert again.names == [batch.names[7], batch.names[3]]
    for number, is_synthetic in enumerate(synthetic):
        if is_synthetic:
            assert batch.names[number] == str(number)
            assert float(batch.images[number].mean()) == pytest.approx(number / 100)


def test_the_hidden_part_of_a_synthetic_face_is_planted():
    assert plant_labels(Grey().batch([1])).planted[0, 0].mean(dim=0).tolist() == [1.0] * 32 + [0.0] * 32
