"""Cut-outs: a user's pictures of things with a transparent background, as one more family of occluders."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator

from focus_ray.data.image_file import read_image_and_alpha
from focus_ray.data.occluders.drawing import Colour, FaceFrame, Landmarks, OccluderLayer, rotation_matrix
from focus_ray.data.picture_folder import list_pictures
from focus_ray.errors import DataError, ImageError, printable

CUTOUT = "cutout"
"""Name of the family."""

_MAX_SIDE = 1024  # px; larger cut-outs are scaled down when they are read
_EXTENT = (1.0, 2.4)  # longer side, in distances of the eyes
_TURN = 0.45  # rad, standard deviation
_SPAN = ((-0.7, 0.7), (-0.6, 1.5))  # place of the middle in the face's frame, x and y


class Cutout(NamedTuple):
    """A picture and its opacity, cropped to what is visible."""

    rgb: UInt8[np.ndarray, "H W 3"]
    alpha: UInt8[np.ndarray, "H W"]


class CutoutFamily:
    """Draws the cut-outs of a folder; a family of occluders."""

    def __init__(self, folder: Path) -> None:
        """Read the pictures of a folder.

        Args:
            folder: pictures with transparency.

        Raises:
            DataError: there is no such folder, or it has no pictures.
            ImageError: a picture is damaged, has no transparency, or is transparent everywhere.
        """
        if not folder.is_dir():
            raise DataError(f"{printable(folder)}: there is no such folder of cut-outs; check the path")
        paths = list_pictures(folder).pictures
        if not paths:
            raise DataError(f"{printable(folder)} has no pictures; give PNG or WebP with a transparent background")
        self.cutouts = [read_cutout(path) for path in paths]

    def __call__(self, rng: Generator, size: int, landmarks: Landmarks, skin: Colour) -> OccluderLayer:
        """Draw one of the cut-outs before the face, turned, scaled, sometimes mirrored."""
        frame = FaceFrame.from_landmarks(landmarks)
        cutout = self.cutouts[int(rng.integers(len(self.cutouts)))]
        height, width = cutout.alpha.shape
        zoom = rng.uniform(*_EXTENT) * frame.unit / max(height, width)
        turn = rotation_matrix(frame.angle + rng.normal(0, _TURN)).T * zoom
        turn[:, 0] *= rng.choice([-1.0, 1.0])
        middle = frame.to_pixels(np.array([[rng.uniform(*span) for span in _SPAN]]))[0]
        offset = middle - turn @ [(width - 1) / 2, (height - 1) / 2]
        return _place(cutout, np.column_stack([turn, offset]), zoom, size)

    def digest(self) -> str:
        """SHA-256 of the pixels of all cut-outs, in order."""
        seen = hashlib.sha256()
        for rgb, alpha in self.cutouts:
            seen.update(repr(alpha.shape).encode() + rgb.tobytes() + alpha.tobytes())
        return seen.hexdigest()


def read_cutout(path: Path) -> Cutout:
    """Read a picture with transparency, cropped to what is visible.

    Raises:
        ImageError: the picture is damaged, has no transparency, or is transparent everywhere.
    """
    rgb, alpha = read_image_and_alpha(path)
    if alpha is None:
        raise ImageError(f"{printable(path)} has no transparency; give a PNG or WebP with a transparent background")
    rows, columns = (np.flatnonzero((alpha > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise ImageError(f"{printable(path)} is transparent everywhere; remove it from the folder")
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    zoom = min(1.0, _MAX_SIDE / max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]))
    return Cutout(_shrink(rgb[area], zoom), _shrink(alpha[area], zoom))


def _shrink(picture: np.ndarray, zoom: float) -> np.ndarray:
    if zoom >= 1:
        return picture.copy()
    height, width = picture.shape[:2]
    return cv2.resize(
        picture, (max(1, round(width * zoom)), max(1, round(height * zoom))), interpolation=cv2.INTER_AREA
    )


def _place(cutout: Cutout, matrix: np.ndarray, zoom: float, size: int) -> OccluderLayer:
    """The cut-out on a canvas; shrunk by areas first, so that the warp does not skip pixels."""
    alpha = _shrink(cutout.alpha.astype(np.float32) / np.float32(255), zoom)
    weighted = _shrink(cutout.rgb.astype(np.float32) / np.float32(255) * (cutout.alpha / 255)[..., None], zoom)
    ratio = np.array(cutout.alpha.shape[::-1]) / np.array(alpha.shape[::-1])
    to_canvas = np.column_stack([matrix[:, :2] * ratio, matrix[:, 2] + matrix[:, :2] @ ((ratio - 1) / 2)])
    weighted, alpha = (cv2.warpAffine(np.float32(one), to_canvas, (size, size)) for one in (weighted, alpha))
    return OccluderLayer(weighted / np.maximum(alpha, 1e-3)[..., None], alpha)
