"""Pictures and masks of a batch as image files."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from focus_ray.data.sample import Batch
from focus_ray.errors import DataError

_WHITE = 255
# Nearly lossless: quality 98 of 100, no chroma subsampling.
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    98,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


def first_picture(batch: Batch) -> UInt8[np.ndarray, "H W 3"]:
    """Return the first picture of a batch, RGB, 0 to 255."""
    return (batch.images[0] * _WHITE).round().byte().permute(1, 2, 0).numpy()


def visible_mask(batch: Batch) -> Bool[np.ndarray, "H W"]:
    """Return where the face of the first picture is visible."""
    assert batch.masks is not None
    return batch.masks[0, 0].numpy() > 0


def region_mask(batch: Batch) -> Bool[np.ndarray, "H W"]:
    """Return where the face of the first picture is, visible or hidden."""
    assert batch.region is not None
    return batch.region[0, 0].numpy() > 0


def write_picture(path: Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write a picture in the format of its suffix, .png or .jpg; missing folders are made.

    Args:
        path: file to write.
        picture: RGB, 0 to 255.

    Raises:
        DataError: the picture cannot be encoded.
        OSError: the file cannot be written.
    """
    _write(path, np.ascontiguousarray(picture[..., ::-1]))


def write_mask(path: Path, mask: Bool[np.ndarray, "H W"]) -> None:
    """Write a mask as PNG, white where it is set; missing folders are made.

    Args:
        path: file to write.
        mask: mask to write.

    Raises:
        DataError: the mask cannot be encoded.
        OSError: the file cannot be written.
    """
    _write(path, mask.astype(np.uint8) * _WHITE)


def _write(path: Path, pixels: np.ndarray) -> None:
    done, encoded = cv2.imencode(path.suffix, pixels, _JPEG if path.suffix == ".jpg" else [])
    if not done:
        raise DataError(f"{path}: the picture cannot be encoded; check the size")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())  # unlike cv2.imwrite, this raises OSError
