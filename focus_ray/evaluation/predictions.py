"""Prediction folder: a method's outputs as files, in a layout that other programs can write too.

PREDICTIONS/
  masks/NAME.png        8 bit: 255 = face is visible; soft masks in between
  renderings/NAME.png   the rendered face in the picture's own pixels; alpha = where it is rendered
  regions/NAME.png      255 = the face is rendered; for renderings without alpha
  meshes/NAME.ply|obj   the neutral face, and NAME.npy|txt, its 7 landmarks (the layout of the NoW challenge)
  faces/NAME.json       rotation [rad], translation [mm], occlusion_fraction; written by our methods

NAME is the picture's, with its folders and without its suffix. Masks and renderings are as large as the picture.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.image_file import read_image, read_image_and_alpha
from focus_ray.data.mask import THRESHOLD, binarise_mask, validate_mask
from focus_ray.errors import ConfigError, DataError, ImageError, printable
from focus_ray.storage import atomic

MASKS, RENDERINGS, REGIONS, MESHES, FACES = "masks", "renderings", "regions", "meshes", "faces"
METHOD = "method.json"
_WHITE = 255


@dataclass(frozen=True)
class PredictionFolder:
    """Folder of predictions in this layout."""

    folder: Path

    def holds(self, name: str, kind: str) -> bool:
        """Return whether the folder has a file of this kind (masks, renderings, ...) for a picture."""
        return self.path(name, kind).is_file()

    def mask(self, name: str, size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
        """Read the mask of a picture.

        Args:
            name: name of the picture.
            size: (height, width) of the picture, px.

        Returns:
            Mask in [0, 1], 1 = face.

        Raises:
            ImageError: it is missing, damaged, of another size, or written as 0 and 1 instead of 0 and 255.
        """
        return self._read_grey(MASKS, name, size) / np.float32(_WHITE)

    def rendering(self, name: str, size: tuple[int, int]) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
        """Read the rendered face of a picture and its region.

        Args:
            name: name of the picture.
            size: (height, width) of the picture, px.

        Returns:
            (RGB, where the face is rendered: regions/ if present, else the alpha channel).

        Raises:
            ImageError: a file is missing, damaged or of another size, or there is no region.
        """
        path = self.path(name, RENDERINGS)
        colours, alpha = read_image_and_alpha(path)
        _check_size(path, colours, size)
        if self.holds(name, REGIONS):
            return colours, self._read_grey(REGIONS, name, size) > THRESHOLD
        if alpha is None:
            raise ImageError(
                f"{printable(path)} has no alpha channel for the rendered region; add one, or {REGIONS}/NAME.png"
            )
        return colours, binarise_mask(alpha, printable(path))

    def region(self, name: str, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
        """Read where the face is rendered in a picture.

        Args:
            name: name of the picture.
            size: (height, width) of the picture, px.

        Returns:
            True where the face is rendered.

        Raises:
            ImageError: a file is missing, damaged or of another size, or there is no region.
        """
        if self.holds(name, REGIONS):
            return self._read_grey(REGIONS, name, size) > THRESHOLD
        return self.rendering(name, size)[1]

    def face(self, name: str) -> dict[str, Any]:
        """Read the pose and occlusion of a face.

        Returns:
            `rotation` [rad], `translation` [mm] and `occlusion_fraction`.

        Raises:
            DataError: the file is missing or damaged.
        """
        path = self.path(name, FACES)
        try:
            content = json.loads(path.read_bytes())
            return {key: content[key] for key in ("rotation", "translation", "occlusion_fraction")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{printable(path)} cannot be read ({error}); predict again") from None

    def record_method(self, method_info: dict[str, Any]) -> None:
        """Write method.json, or check that it is about the same method.

        Raises:
            ConfigError: the folder holds predictions of another method.
        """
        path = self.folder / METHOD
        if not path.exists():
            atomic.write_file(path, json.dumps(method_info, indent=2) + "\n")
            return
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            found = None
        if found != method_info:
            raise ConfigError(f"{self.folder} holds predictions of another method or detector; choose another folder")

    def write(self, name: str, output: "MethodOutput") -> None:
        """Write the output for a picture, faces/NAME.json last.

        Raises:
            StorageError: the disk refuses.
        """
        atomic.write_file(self.path(name, MASKS), _png(output.mask))
        atomic.write_file(self.path(name, RENDERINGS), _png(output.rendering[..., [2, 1, 0, 3]]))
        atomic.write_file(self.path(name, FACES), json.dumps(output.face) + "\n")

    def is_complete(self, name: str) -> bool:
        """Return whether `write` finished for a picture."""
        return self.path(name, FACES).is_file()

    def path(self, name: str, kind: str) -> Path:
        """Return the path of a picture's file of this kind (masks, renderings, ...)."""
        return self.folder / kind / f"{name}{'.json' if kind == FACES else '.png'}"

    def _read_grey(self, kind: str, name: str, size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
        path = self.path(name, kind)
        picture = read_image(path)
        _check_size(path, picture, size)
        return validate_mask(picture[..., 0], printable(path))


def _check_size(path: Path, picture: np.ndarray, size: tuple[int, int]) -> None:
    if picture.shape[:2] != size:
        (height, width), (other_height, other_width) = size, picture.shape[:2]
        raise ImageError(
            f"{printable(path)} is {other_width} x {other_height} px, the picture {width} x {height}; "
            "write predictions at the size of the picture"
        )


@dataclass(frozen=True)
class MethodOutput:
    """Output of a method for one picture."""

    mask: UInt8[np.ndarray, "H W"]
    rendering: UInt8[np.ndarray, "H W 4"]
    face: dict[str, Any]
    vertices: Float[np.ndarray, "V 3"]  # neutral face, mm
    landmarks: Float[np.ndarray, "7 3"]


def _png(array: np.ndarray) -> bytes:
    """Encode grey or BGR(A) as a PNG file."""
    encoded, content = cv2.imencode(".png", array)
    if not encoded:
        raise DataError("an image could not be encoded as PNG")
    return content.tobytes()
