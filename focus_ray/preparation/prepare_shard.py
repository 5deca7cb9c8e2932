"""A shard of a preparation: reads its pictures, finds missing landmarks, aligns, encodes and stores them."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.align import crop_from_landmarks
from focus_ray.data.detect_landmarks import WITH_LANDMARKS, DetectSettings, judge_faces
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.detection import Detection, Detector, bounding_box, overlap_ratio
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_check import validate_landmarks
from focus_ray.data.mask import warp_mask
from focus_ray.data.photos import crop_surroundings, surroundings_crop
from focus_ray.data.prepared.shard_file import PictureFormat, ShardWriter, encode_record
from focus_ray.data.prepared.store_files import STATE, IndexRow, ShardDigest, shard_key
from focus_ray.data.trainable.trainable_set import TrainableFace, TrainableSet
from focus_ray.errors import ConfigError, DataError, ImageError, LandmarkError, printable
from focus_ray.settings import Settings
from focus_ray.storage.object_store import ObjectStore

_LEAST_OVERLAP = 0.25  # of the box of the face that is meant with the box of the landmarks, share of the smaller one


class Dropped(Settings):
    """A picture that was left out, with the reason and a line on it."""

    name: str
    reason: str
    message: str = ""


class ShardState(Settings):
    """A finished shard.

    Attributes:
        digest: of the settings and the pictures of the shard.
        shard: its size and hash.
        rows: its part of the index.
        dropped: pictures that are not in it.
        landmarks: records by the origin of their landmarks.
        pictures: hashes of the pictures' files.
    """

    digest: str
    shard: ShardDigest
    rows: tuple[IndexRow, ...]
    dropped: tuple[Dropped, ...]
    landmarks: dict[str, int]
    pictures: tuple[str, ...]


class _Drop(Exception):
    """A picture that is left out."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(eq=False)
class PrepareJob:
    """The shards of a preparation; a piece is a shard, which its task writes to the store.

    Attributes:
        data: the set.
        store: where the shards go.
        shards: pictures of each shard.
        digests: digest of each shard.
        size: side of the crops, px.
        picture: how pictures are stored.
        detector: finds landmarks that the set lacks; None if it has all.
        settings: which detected faces are used.
    """

    data: TrainableSet
    store: ObjectStore
    shards: Sequence[Sequence[TrainableFace]]
    digests: Sequence[str]
    size: int
    picture: PictureFormat
    detector: DetectorSpec | None
    settings: DetectSettings = field(default_factory=DetectSettings)
    _built: Detector | None = None

    def prepare(self, device: str) -> None:
        """Build the detector in this process."""
        cv2.setNumThreads(1)  # one core for each task
        if self.detector is not None:
            self._built = self.detector.build()

    def piece(self, number: int) -> ShardState:
        """Make a shard and store it, then its state.

        Raises:
            StorageError: a store does not answer.
        """
        faces = self.shards[number]
        writer, rows, dropped, hashes = ShardWriter(), [], [], []
        origins: Counter[str] = Counter()
        first = sum(len(shard) for shard in self.shards[:number])
        contents = self.data.source.contents([face.file for face in faces])
        for place, (face, (_, content)) in enumerate(zip(faces, contents, strict=True)):
            try:
                files, origin, digest = self._record(face, content)
            except _Drop as drop:
                dropped.append(Dropped(name=printable(face.name), reason=drop.reason, message=str(drop)))
                continue
            extent = writer.add(f"{first + place:08d}", files)
            rows.append(IndexRow(face.name, face.person, face.split, number, len(rows), *extent))
            origins[origin] += 1
            hashes.append(digest)
        content = writer.content()
        self.store.write(shard_key(number), content)
        shard = ShardDigest(
            shard=number, records=len(rows), bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        state = ShardState(
            digest=self.digests[number],
            shard=shard,
            rows=tuple(rows),
            dropped=tuple(dropped),
            landmarks=dict(sorted(origins.items())),
            pictures=tuple(hashes),
        )
        self.store.write(state_key(number), json.dumps(state.model_dump()).encode())  # ASCII: names need not be UTF-8
        return state

    def _record(self, face: TrainableFace, read: Callable[[], bytes]) -> tuple[dict[str, bytes], str, str]:
        """Files of a record, origin of its landmarks, and hash of the picture."""
        try:
            content = read()
            image = read_image(content, name=printable(face.name))
        except ImageError as error:
            raise _Drop("unreadable", str(error)) from None
        try:
            given = self.data.landmarks(face)
            origin = "detector" if given is None else "set"
            points = self._find(face, image) if given is None else given
            points = validate_landmarks(points, *image.shape[:2])
            crop = crop_from_landmarks(points, self.size)
            shown = crop_surroundings(image, points, crop)
        except LandmarkError as error:
            raise _Drop("landmarks_rejected", str(error)) from None
        try:
            mask = self.data.mask(face)
        except ImageError as error:
            raise _Drop("mask_rejected", str(error)) from None
        digest = hashlib.sha256(content).hexdigest()
        info = {"name": face.name, "person": face.person, "split": face.split, "landmarks_of": origin, "sha256": digest}
        warped: Bool[np.ndarray, "K K"] | None = None if mask is None else warp_mask(surroundings_crop(crop), mask)
        return encode_record(info, shown, warped, self.picture), origin, digest

    def _find(self, face: TrainableFace, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "68 2"]:
        """Detect the landmarks of the face that is meant."""
        assert self._built is not None
        name = printable(face.name)
        try:
            found = sorted(self._built.detect(image), key=lambda one: -one.side)
        except (cv2.error, RuntimeError, ValueError, MemoryError) as error:
            raise _Drop("detector_failed", f"{name}: the detector failed ({printable(error)[:200]})") from None
        judged = judge_faces(face.name, image, self._meant(face, found), self.settings)
        if judged.reason not in WITH_LANDMARKS:
            raise _Drop(judged.reason, judged.message)
        assert judged.faces[0].landmarks is not None
        return judged.faces[0].landmarks

    def _meant(self, face: TrainableFace, found: Sequence[Detection]) -> Sequence[Detection]:
        try:
            box = self.data.box(face)
        except (DataError, ConfigError) as error:  # ConfigError: a key that no URI can name
            raise _Drop("box_rejected", str(error)) from None
        if box is None or not found:
            return found
        boxes = [one.box if one.landmarks is None else bounding_box(one.landmarks) for one in found]
        overlaps = [overlap_ratio(one, box) * min(1.0, _area(one) / _area(box)) for one in boxes]
        best = int(np.argmax(overlaps))
        if overlap_ratio(boxes[best], box) < _LEAST_OVERLAP:
            raise _Drop("other_face", f"{printable(face.name)}: no detected face lies where the set has its face")
        return [found[best]]


def state_key(number: int) -> str:
    """Return the key of a shard's state."""
    return f"{STATE}/{number:05d}.json"


def _area(box: Sequence[float]) -> float:
    return max(box[2] * box[3], 1e-6)
