"""Pictures and masks of a batch as image files."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from focus_ray.data.sample import Batch
from focus_ray.errors import DataError

_WHITE = 255
# Hardly to be told from the picture itself: 98 of 100, colours as fine as brightness.
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    98,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


def first_picture(batch: Batch) -> UInt8[np.ndarray, "H W 3"]:
    """The first picture of a batch, RGB."""
    return (batch.images[0] * _WHITE).round().byte().permute(1, 2, 0).numpy()


def visible_mask(batch: Batch) -> Bool[np.ndarray, "H W"]:
    """Where its face is seen."""
    assert batch.masks is not None
    return batch.masks[0, 0].numpy() > 0


def region_mask(batch: Batch) -> Bool[np.ndarray, "H W"]:
    """Where its face is, seen or hidden."""
    assert batch.region is not None
    return batch.region[0, 0].numpy() > 0


def write_picture(path: Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write RGB as the suffix says, .png or .jpg; folders are made. Raises DataError, OSError."""
    _write(path, np.ascontiguousarray(picture[..., ::-1]))


def write_mask(path: Path, mask: Bool[np.ndarray, "H W"]) -> None:
    """Write a mask as PNG, white where it is set; folders are made. Raises DataError, OSError."""
    _write(path, mask.astype(np.uint8) * _WHITE)


def _write(path: Path, pixels: np.ndarray) -> None:
    done, encoded = cv2.imencode(path.suffix, pixels, _JPEG if path.suffix == ".jpg" else [])
    if not done:
        raise DataError(f"{path}: the picture cannot be encoded; check the size")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())  # unlike cv2.imwrite, this says why a disk refuses
