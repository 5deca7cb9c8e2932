"""Training pictures with planted occluders: photographs and synthetic faces, and which pixels were pasted.

The place of a planted occluder is known although nobody labelled a picture. What the photographed persons wear
themselves has no label.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.random import Generator
from pydantic import Field, field_validator

from focus_ray.data.align import as_float
from focus_ray.data.augment import AugmentSettings, draw_augmentation
from focus_ray.data.composites.paste import OccluderFamily, OpenPhoto, paste_occluder
from focus_ray.data.composites.training.edges import VariedEdges
from focus_ray.data.composites.training.families import TRAINING_FAMILIES, SkinPieces
from focus_ray.data.composites.training.variation import vary_photo
from focus_ray.data.distribution_types import Fraction
from focus_ray.data.mask import warp_mask
from focus_ray.data.occluders import DrawOccluder
from focus_ray.data.photo_split import PhotoSubset
from focus_ray.data.sample import UNOCCLUDED, Batch, FaceDataset, concatenate
from focus_ray.data.sampler import shuffle_order
from focus_ray.errors import ConfigError
from focus_ray.settings import Settings

SKIN_PIECES = "skin_piece"
"""Family of pieces of the photographs' skin, mostly of other persons."""

_PHOTO_STREAM, _SOURCE_STREAM, _ORDER_STREAM = 11, 12, 13  # words of the seeds
_ATTEMPTS = 8
_DONORS = 400  # photographs whose skin is pasted into others; they stay in memory
_BLUR = (0.6, 1.8)  # blur of an occluder, as a multiple of the photograph's, so that its sharpness is no cue


class PlantedConfig(Settings):
    """Distributions of the planted pictures; the same config, seed and index give the same picture."""

    share: Fraction = 0.75  # of the photographs that get an occluder
    left_out: tuple[str, ...] = ()  # families that training never sees, to measure how masks generalise
    # How often a family is drawn, against 1 of those not named.
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    covered: tuple[Fraction, Fraction] = (0.03, 0.65)  # of the face region
    # Share of synthetic faces (data.synthetic) among the pictures; their occluders are known as well.
    synthetic_share: Annotated[float, Field(ge=0, lt=1)] = 0.2

    @field_validator("covered")
    @classmethod
    def _check_covered(cls, covered: tuple[float, float]) -> tuple[float, float]:
        if covered[0] >= covered[1]:
            raise ValueError(f"{covered} is empty; give the smallest share, then the largest")
        return covered


class PlantedPhotos:
    """Photographs with pasted occluders by number; every pass over the photographs has other occluders."""

    def __init__(self, photos: PhotoSubset, config: PlantedConfig, augment: AugmentSettings, seed: int) -> None:
        """Prepare the families.

        Args:
            photos: photographs of open faces.
            config: distributions to draw from.
            augment: ranges of the augmentation.
            seed: seed of all pictures.

        Raises:
            ConfigError: a family is unknown, or none is left.
        """
        for key, names in {"left_out": config.left_out, "weights": config.weights}.items():
            unknown = sorted(set(names) - {*TRAINING_FAMILIES, SKIN_PIECES})
            if unknown:
                known = ", ".join((*TRAINING_FAMILIES, SKIN_PIECES))
                raise ConfigError(f"data.planted.{key} names unknown families {unknown}; choose from {known}")
        self.photos = photos
        self.config = config
        self.augment = augment
        self.seed = seed
        donors = np.unique(np.linspace(0, len(photos) - 1, min(len(photos), _DONORS)).round().astype(int)).tolist()
        faces = [photos.face(number) for number in donors]
        families: Mapping[str, DrawOccluder] = {
            **TRAINING_FAMILIES,
            SKIN_PIECES: SkinPieces([(face.image, face.landmarks) for face in faces]),
        }
        self.families = {name: VariedEdges(draw) for name, draw in families.items() if name not in config.left_out}
        if not self.families:
            raise ConfigError("data.planted.left_out names all families; leave one in")
        weights = np.array([config.weights.get(name, 1.0) for name in self.families])
        self._chances = weights / weights.sum()

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the pictures with these numbers, in this order."""
        pictures = [self._picture(index) for index in indices]
        images, landmarks, planted, families, names = zip(*pictures, strict=True)
        return Batch(
            images=torch.from_numpy(np.stack(images)),
            landmarks=torch.from_numpy(np.stack(landmarks)).float(),
            planted=torch.from_numpy(np.stack(planted)).float()[:, None],
            families=list(families),
            names=list(names),
        )

    def _picture(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, str, str]:
        """Image [3,S,S], landmarks, planted pixels [S,S], family and name."""
        rng = np.random.default_rng((self.seed, _PHOTO_STREAM, index))
        epoch, place = divmod(index, len(self.photos))
        number = int(shuffle_order(self.seed + _ORDER_STREAM, epoch, len(self.photos))[place])
        face = self.photos.face(number)
        augmentation = draw_augmentation(rng, face.crop.size, self.augment)
        photo = OpenPhoto(vary_photo(rng, face.image, face.landmarks), face.landmarks)
        family, rgb, occluder = self._plant(rng, photo)
        crop = augmentation.crop(face.crop)
        planted = warp_mask(crop, occluder)
        points = augmentation.landmarks(face.crop, face.landmarks)
        return as_float(crop.warp(rgb)), points, planted, family, self.photos.photos.names[self.photos.numbers[number]]

    def _plant(self, rng: Generator, photo: OpenPhoto) -> tuple[str, np.ndarray, np.ndarray]:
        """Family, picture and occluder; no occluder if none of the drawings covers an allowed share of the face."""
        open_face = UNOCCLUDED, photo.rgb, np.zeros(photo.rgb.shape[:2], bool)
        if rng.uniform() >= self.config.share:
            return open_face
        family = list(self.families)[int(rng.choice(len(self.families), p=self._chances))]
        drawn = OccluderFamily(family, self.families[family])
        blur = float(np.exp(rng.uniform(*np.log(_BLUR))))
        pasted = paste_occluder(rng, photo, drawn, self.config.covered, _ATTEMPTS, blur)
        return open_face if pasted is None else (family, pasted.rgb, pasted.occluder)


class PlantedMixture:
    """Planted photographs and synthetic faces, in the shares of the config; number i is always of the same kind."""

    def __init__(self, photos: FaceDataset, synthetic: FaceDataset, share: float, seed: int) -> None:
        """Mix two data sets.

        Args:
            photos: planted photographs.
            synthetic: synthetic faces, with masks and regions.
            share: of synthetic faces.
            seed: seed of the choice.
        """
        self.photos = photos
        self.synthetic = synthetic
        self.share = share
        self.seed = seed

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the pictures with these numbers, in this order."""
        chosen = [np.random.default_rng((self.seed, _SOURCE_STREAM, index)).uniform() < self.share for index in indices]
        parts, places = [], []
        for synthetic in (False, True):
            rows = [row for row, kind in enumerate(chosen) if kind == synthetic]
            if rows:
                numbers = [indices[row] for row in rows]
                parts.append(plant_labels(self.synthetic.batch(numbers)) if synthetic else self.photos.batch(numbers))
                places += rows
        return concatenate(parts).select(np.argsort(places).tolist())


def plant_labels(batch: Batch) -> Batch:
    """Convert synthetic faces to planted ones: an occluder is where the face is hidden.

    Args:
        batch: with masks, regions, families and names.
    """
    assert batch.masks is not None  # synthetic faces have both
    assert batch.region is not None
    planted = batch.region * (1 - batch.masks)
    return Batch(batch.images, batch.landmarks, planted=planted, families=batch.families, names=batch.names)
