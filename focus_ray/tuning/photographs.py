"""Photographs of a sweep: those that trials are trained on, and others, the judging photographs, for all figures.

One part of the judging photographs is for the search, the other for the final comparison of best and default.
"""

import hashlib
import json
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from focus_ray.config import absolute_location
from focus_ray.data.photo_split import PhotoSplit, PhotoSubset
from focus_ray.data.photos import PhotoFolder
from focus_ray.errors import ConfigError, DataError, printable
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.settings import Settings

DIGESTS = "photographs.json"
"""File of a sweep's folder with the digests of its photographs."""

_SPLIT_SEED = 0
_MAX_NAMED = 3  # photographs that a message names

Part = Literal["search", "comparison"]


class PhotographSettings(Settings):
    """Folders of photographs, or s3://bucket/prefix; local ones become absolute, as trials run in other folders."""

    train: str
    judge: str
    train_landmarks: str | None = None  # 68-landmark CSV; None: landmarks.csv in the folder
    judge_landmarks: str | None = None
    # Share of the judging photographs that only the final comparison uses; 0: it uses all, as the search does, with
    # other occluders, and is biased towards the best.
    comparison_share: float = Field(default=0.5, ge=0, lt=1)

    @field_validator("train", "judge", "train_landmarks", "judge_landmarks")
    @classmethod
    def _make_absolute(cls, location: str | None) -> str | None:
        return location and absolute_location(location)


class PhotographDigests(Settings):
    """SHA-256 (hex) of both sets of photographs: names, landmarks, and the pixels around the faces."""

    train: str
    judge: str


def open_judging(settings: PhotographSettings, image_size: int) -> PhotoFolder:
    """Open the judging photographs.

    Args:
        settings: the folders.
        image_size: side of the crops, px.

    Raises:
        DataError: the photographs cannot be used.
    """
    return PhotoFolder(settings.judge, settings.judge_landmarks, image_size=image_size)


def select_part(photos: PhotoFolder, share: float, part: Part) -> PhotoSubset:
    """Return the judging photographs of the search, or those of the final comparison.

    Args:
        photos: all judging photographs.
        share: share of the final comparison; if no photograph fits into it, both parts are all photographs.
        part: which of the two.
    """
    split = PhotoSplit(photos, share, _SPLIT_SEED)
    return split.scored if part == "comparison" else split.train


def compute_digests(settings: PhotographSettings, image_size: int) -> PhotographDigests:
    """Read all photographs and return their digests.

    Args:
        settings: the folders.
        image_size: side of the crops, px.

    Raises:
        DataError: photographs cannot be used, or a judging photograph is also trained on.
    """
    train = PhotoFolder(settings.train, settings.train_landmarks, image_size=image_size)
    judge = open_judging(settings, image_size)
    trained = set(_face_hashes(train))
    repeated = [name for name, seen in zip(judge.names, _face_hashes(judge), strict=True) if seen in trained]
    if repeated:
        named = ", ".join(printable(name) for name in repeated[:_MAX_NAMED])
        raise DataError(
            f"{len(repeated)} of {len(judge)} judging photographs are also trained on ({named}); "
            "give photographs of other persons"
        )
    return PhotographDigests(train=train.digest, judge=judge.digest)


def _face_hashes(photos: PhotoFolder) -> list[str]:
    """SHA-256 of the surroundings of each face."""
    return [hashlib.sha256(photos.face(number).image.tobytes()).hexdigest() for number in range(len(photos))]


def record_digests(folder: RunFolder, digests: PhotographDigests) -> None:
    """Write the digests into the folder of a new sweep, or compare them with those of an existing one.

    Args:
        folder: folder of the sweep, locked.
        digests: digests of the photographs as they are now.

    Raises:
        ConfigError: the sweep was begun with other photographs, or its record is damaged.
        StorageError: the disk cannot be written.
    """
    path = folder.path / DIGESTS
    if not path.is_file():
        folder.write_json(DIGESTS, digests.model_dump())
        return
    try:
        known = PhotographDigests.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError):
        raise ConfigError(f"{path} is damaged; start a new sweep in another folder") from None
    changed = [name for name in ("train", "judge") if getattr(known, name) != getattr(digests, name)]
    if changed:
        raise ConfigError(
            f"{folder.path} was begun with other photographs or landmarks ({', '.join(changed)}); restore them, or "
            "start a new sweep in another folder"
        )
