"""Shards of prepared faces: tar files in WebDataset's layout, with the same bytes for the same faces.

A record is KEY.json (name, person, split, landmarks, crop, hash of the picture's file), KEY.png or KEY.jpg (the face
and its surroundings) and, if the set has masks, KEY.mask.png. A record is a contiguous part of the file, so it can be
read alone.
"""

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from focus_ray.data.align import Crop
from focus_ray.data.image_file import ImageLimits, read_image
from focus_ray.data.landmark_check import to_finite_array
from focus_ray.data.mask import binarise_mask
from focus_ray.data.photos import PhotoFace
from focus_ray.errors import DataError, ImageError
from focus_ray.settings import Settings

JSON, MASK = "json", "mask.png"
_SUFFIXES = {"png": "png", "jpeg": "jpg"}
_LIMITS = ImageLimits(megabytes=50.0, megapixels=16.0, side=4096)
_WHITE = 255
_END = 1024  # bytes of zeros that end a tar file


class PictureFormat(Settings):
    """How the pictures of the records are stored: PNG without loss, or JPEG without chroma subsampling."""

    name: str = "png"
    quality: int = 95  # of JPEG

    def encode(self, image: UInt8[np.ndarray, "K K 3"]) -> bytes:
        """Encode an RGB picture.

        Raises:
            DataError: the picture cannot be encoded.
        """
        options = []
        if self.name == "jpeg":
            options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        return _encode(f".{_SUFFIXES[self.name]}", np.ascontiguousarray(image[..., ::-1]), options)

    @property
    def suffix(self) -> str:
        """Suffix of the pictures' files."""
        return _SUFFIXES[self.name]


class Extent(NamedTuple):
    """The bytes of a record in its shard."""

    offset: int
    size: int


class Record(NamedTuple):
    """A record: the face with its surroundings, the mask of the visible face if the set has one, and its JSON."""

    face: PhotoFace
    mask: Bool[np.ndarray, "K K"] | None
    info: Mapping[str, Any]


def encode_record(
    info: Mapping[str, Any], face: PhotoFace, mask: Bool[np.ndarray, "K K"] | None, picture: PictureFormat
) -> dict[str, bytes]:
    """Encode the files of a record.

    Args:
        info: name, person, split and other text of the record.
        face: the face with its surroundings.
        mask: where the face is visible, in their px.
        picture: how the picture is stored.

    Returns:
        Contents by suffix.
    """
    numbers = {
        "landmarks": face.landmarks.tolist(),
        "crop": face.crop.matrix.tolist(),
        "size": face.crop.size,
    }
    files = {JSON: json.dumps({**info, **numbers}).encode(), picture.suffix: picture.encode(face.image)}
    if mask is not None:
        files[MASK] = _encode(".png", mask.astype(np.uint8) * np.uint8(_WHITE), [])
    return files


class ShardWriter:
    """Builds a shard in memory, record by record."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()

    def add(self, key: str, files: Mapping[str, bytes]) -> Extent:
        """Append a record; returns where it is."""
        start = self._stream.tell()
        for suffix, content in files.items():
            entry = tarfile.TarInfo(f"{key}.{suffix}")  # no time, owner or mode of this machine
            entry.size = len(content)
            self._stream.write(entry.tobuf(tarfile.USTAR_FORMAT))
            self._stream.write(content)
            self._stream.write(b"\0" * (-len(content) % tarfile.BLOCKSIZE))
        return Extent(start, self._stream.tell() - start)

    def content(self) -> bytes:
        """Return the complete file."""
        return self._stream.getvalue() + b"\0" * _END


def decode_record(content: bytes, location: str) -> Record:
    """Decode the bytes of a record's extent.

    Args:
        content: part of a shard.
        location: place of the record, for messages.

    Raises:
        DataError: the record is damaged.
    """
    try:
        files = _read_files(content)
        info = json.loads(files[JSON])
        image = read_image(files["png" if "png" in files else "jpg"], _LIMITS, location)
        landmarks, matrix = to_finite_array(info["landmarks"]), to_finite_array(info["crop"])
        sides = image.shape[:2]
        if landmarks is None or matrix is None or landmarks.shape != (68, 2) or matrix.shape != (2, 3):
            raise ValueError("landmarks or crop are not numbers of the right shape")
        if not 1 <= info["size"] <= _LIMITS.side or sides[0] != sides[1]:
            raise ValueError("the size of the crop or of the picture is wrong")
        mask = None
        if MASK in files:
            mask = binarise_mask(read_image(files[MASK], _LIMITS, location)[..., 0], location)
    except (tarfile.TarError, ImageError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{location}: the record is damaged ({error}); prepare the set again") from None
    return Record(PhotoFace(image, landmarks, Crop(matrix, int(info["size"]))), mask, info)


def _read_files(content: bytes) -> dict[str, bytes]:
    """Contents by suffix; nothing is larger than the extent."""
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for entry in archive:
            stream = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
            if stream is None or entry.size > len(content):
                raise ValueError("it holds other things than files")
            files[entry.name.partition(".")[2]] = stream.read()
    return files


def _encode(suffix: str, pixels: np.ndarray, options: list[int]) -> bytes:
    done, encoded = cv2.imencode(suffix, pixels, options)
    if not done:
        raise DataError("a picture cannot be encoded; check the size")
    return encoded.tobytes()
