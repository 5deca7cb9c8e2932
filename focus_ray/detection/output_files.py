"""Output of a detection: detect.json, landmarks.parquet, and landmarks.csv, which is written last and read by training.

detect.json lists the SHA-256 of the landmark files that the detection wrote, so that it replaces no other one: points
that were corrected by hand are kept.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from focus_ray.data.detect_landmarks import WITH_LANDMARKS, DetectSettings, PictureFaces, Reason
from focus_ray.data.detectors.detection import DetectorInfo
from focus_ray.data.face_table import write_faces
from focus_ray.data.image_file import path_text
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.photos import LANDMARK_FILE
from focus_ray.detection.shards import ShardStore
from focus_ray.errors import ConfigError, DataError, NoSuchObject
from focus_ray.settings import Settings
from focus_ray.storage.object_store import ObjectStore

SUMMARY, FACE_FILE = "detect.json", "landmarks.parquet"


class Problem(Settings):
    """A picture without landmarks, and why it has none."""

    name: str
    reason: Reason
    kind: str = ""  # of an unreadable picture
    message: str


class DetectSummary(Settings):
    """Content of detect.json."""

    schema_version: Literal[1] = 1
    location: str | None  # of the pictures; None: the folder of this file
    detector: DetectorInfo
    settings: DetectSettings
    pictures: int
    faces: int  # rows of landmarks.parquet
    landmarks: int  # lines of landmarks.csv
    counts: Mapping[Reason, int]  # pictures
    unreadable: Mapping[str, int] = Field(default_factory=dict)  # unreadable pictures by kind
    left_out: Mapping[str, int] = Field(default_factory=dict)  # entries of the folder that are no pictures, by reason
    landmark_files: tuple[str, ...] = ()  # sha256 of landmarks.csv, and of the one that it replaces
    problems: tuple[Problem, ...] = ()


def check_output(store: ObjectStore, location: str | None) -> None:
    """Check that the store is writable and that no file of others would be replaced.

    Args:
        store: place of the output.
        location: place of the pictures; None: the store.

    Raises:
        ConfigError: the store has a landmark file that the detection did not write, or the landmarks of another folder.
        StorageError: the store cannot be used.
    """
    summary = _read_summary(store)
    present = _hash_landmarks(store)
    if present is not None and (summary is None or present not in summary.landmark_files):
        raise ConfigError(
            f"{store}/{LANDMARK_FILE} was not written by the detection, or was changed since; move it, or choose "
            "another folder for the output"
        )
    if summary is not None and summary.location != location:
        raise ConfigError(
            f"{store} holds the landmarks of {summary.location or 'its own pictures'}; choose another folder for the "
            "output"
        )
    store.check()


def write_output(
    shards: ShardStore,
    location: str | None,
    detector: DetectorInfo,
    settings: DetectSettings,
    left_out: Mapping[str, int],
) -> DetectSummary:
    """Write the files of a detection whose pictures are all finished.

    Without any landmarks there is no landmarks.csv; an earlier one is removed.

    Args:
        shards: results of the pictures.
        location: place of the pictures; None: the store of the shards.
        detector: what found the faces.
        settings: which faces became training data.
        left_out: number of entries that are no pictures, by reason.

    Returns:
        The content of detect.json.

    Raises:
        StorageError: the store cannot be written.
    """
    store = shards.store
    collected = _Collected()
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
        faces, lines = Path(scratch) / FACE_FILE, Path(scratch) / LANDMARK_FILE
        metadata = {"detector": detector.model_dump(mode="json"), "settings": settings.model_dump(mode="json")}
        write_faces(faces, map(collected.add, shards.pictures()), metadata)
        write_landmarks(lines, collected.landmarks)
        written = hashlib.sha256(lines.read_bytes()).hexdigest()
        replaced = _hash_landmarks(store)
        summary = DetectSummary(
            location=location,
            detector=detector,
            settings=settings,
            pictures=len(shards.versions),
            faces=collected.faces,
            landmarks=len(collected.landmarks),
            counts=dict(collected.counts),
            unreadable=dict(collected.unreadable),
            left_out=dict(left_out),
            landmark_files=tuple(dict.fromkeys([written, *([replaced] if replaced else [])])),
            problems=tuple(collected.problems),
        )
        store.write(SUMMARY, (json.dumps(summary.model_dump(mode="json"), indent=1) + "\n").encode())
        store.upload(faces, FACE_FILE)
        if collected.landmarks:
            store.upload(lines, LANDMARK_FILE)
        else:
            store.delete([LANDMARK_FILE])
    return summary


class _Collected:
    """Sums over the pictures, in their order."""

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter(dict.fromkeys(get_args(Reason), 0))
        self.unreadable: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self.landmarks: dict[str, Any] = {}
        self.faces = 0

    def add(self, picture: PictureFaces) -> PictureFaces:
        """Add a picture and return it."""
        self.counts[picture.reason] += 1
        self.faces += len(picture.faces)
        if picture.reason in WITH_LANDMARKS:
            self.landmarks[picture.name] = picture.faces[0].landmarks
            return picture
        if picture.kind:
            self.unreadable[picture.kind] += 1
        problem = Problem(
            name=path_text(picture.name), reason=picture.reason, kind=picture.kind, message=picture.message
        )
        self.problems.append(problem)
        return picture


def _read_summary(store: ObjectStore) -> DetectSummary | None:
    """Read detect.json; None if there is none. Raises ConfigError if it is not that of a detection."""
    try:
        content = store.read(SUMMARY)
    except NoSuchObject:
        return None
    try:
        return DetectSummary.model_validate_json(content)
    except ValueError:
        raise ConfigError(
            f"{store}/{SUMMARY} is not that of a detection; choose another folder for the output"
        ) from None


def _hash_landmarks(store: ObjectStore) -> str | None:
    """Return the sha256 of landmarks.csv; None if there is none."""
    try:
        return hashlib.sha256(store.read(LANDMARK_FILE)).hexdigest()
    except NoSuchObject:
        return None


def check_landmarks_found(summary: DetectSummary, store: ObjectStore) -> None:
    """Check that there is a landmark file to train on.

    Raises:
        DataError: no picture has landmarks.
    """
    if summary.landmarks:
        return
    counts = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in summary.counts.items() if count)
    raise DataError(
        f"none of {summary.pictures} pictures has landmarks ({counts}); see {store}/{SUMMARY}, and check the pictures"
    )
