"""A contact sheet of many images: box, overlay and mask of each, and the head of its largest face from two views."""

from collections.abc import Sequence
from math import radians

import cv2
import numpy as np
from jaxtyping import UInt8

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import split_theta
from focus_ray.inference.face_rendering import render_view
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.overlay import crop_to_faces, draw_overlay, encode_png, shrink_to_fit
from focus_ray.inference.reconstructor import face_to_theta

_TILE, _CAPTION, _COLUMNS = 192, 18, 2  # px, px, images in a row of the sheet
_VIEWS = (radians(-35.0), radians(35.0))  # yaw of the heads
_TILES = 3 + len(_VIEWS)  # of an image
_MAX_SHEET_IMAGES = 200
_SUPERSAMPLING = 2  # px drawn per px of a tile and side

_BOX_COLOUR, _MISSING_COLOUR, _TEXT_COLOUR = (80, 220, 100), (235, 90, 80), (40, 40, 40)
_OCCLUDED_COLOUR = np.array([230.0, 60.0, 60.0])
_DIMMED = 0.35
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


class ContactSheet:
    """Contact sheet: every image around its faces, in five tiles with a caption.

    The tiles: the image with the boxes of its faces, the overlay, the mask (red: occluded, dark: no face), and two
    views of the mesh of its largest face, the one with the thick box, with its texture if it has one. Keeps small tiles
    only; of more than 200 images the first 200.
    """

    def __init__(self, model: MorphableModel, camera: Camera):
        self.model = model
        self.camera = camera
        self._entries: list[np.ndarray] = []

    def add(self, caption: str, image: UInt8[np.ndarray, "H W 3"] | None, faces: Sequence[FaceResult]) -> None:
        """Add an image to the sheet.

        Args:
            caption: text below the image; what does not fit is cut at its beginning.
            image: RGB; None for an image that could not be read.
            faces: faces of the image.
        """
        if len(self._entries) >= _MAX_SHEET_IMAGES:
            return
        entry = _blank_entry()
        for place, tile in enumerate([] if image is None else self._tiles(image, faces)):
            entry[:_TILE, place * _TILE : (place + 1) * _TILE] = tile
        text = _fit_caption(caption.encode("ascii", "replace").decode(), entry.shape[1] - 6)
        colour = _TEXT_COLOUR if faces else _MISSING_COLOUR
        cv2.putText(entry, text, (3, _TILE + 13), _FONT, _FONT_SCALE, colour, 1, cv2.LINE_AA)
        self._entries.append(entry)

    def _tiles(self, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[FaceResult]) -> list[np.ndarray]:
        image, faces = crop_to_faces(image, faces)
        large, adapted = shrink_to_fit(image, faces, _SUPERSAMPLING * _TILE)
        result = draw_overlay(large, adapted, self.model, self.camera)
        region, visibility = result.region[..., None], result.visibility[..., None]
        mask = _DIMMED * (1 - region) * large + (region - visibility) * _OCCLUDED_COLOUR + visibility * large
        boxed = _draw_boxes(_tile(large), image, faces)
        tiles = [boxed, _tile(result.image), _tile(mask.clip(0, 255).astype(np.uint8))]
        return tiles if not faces else tiles + self._heads(max(faces, key=_box_area))

    def _heads(self, result: FaceResult) -> list[np.ndarray]:
        light = split_theta(face_to_theta(result.face)).light
        mesh = result.arrays.mesh
        return [render_view(mesh, self.model, self.camera, yaw, _TILE, light) for yaw in _VIEWS]

    def to_png(self) -> bytes:
        """Encode the sheet as PNG, two images in a row."""
        columns = min(_COLUMNS, max(1, len(self._entries)))
        padded = [*self._entries, *[_blank_entry()] * (-len(self._entries) % columns)] or [_blank_entry()]
        rows = [np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)]
        return encode_png(np.vstack(rows))


def _blank_entry() -> UInt8[np.ndarray, "H W 3"]:
    return np.full((_TILE + _CAPTION, _TILES * _TILE, 3), 255, np.uint8)


def _tile(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "S S 3"]:
    """Scale an image to a tile and place it in the middle."""
    height, width = image.shape[:2]
    zoom = _TILE / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    top, left = (_TILE - size[1]) // 2, (_TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = scaled
    return tile


def _draw_boxes(
    tile: UInt8[np.ndarray, "S S 3"], image: UInt8[np.ndarray, "h w 3"], faces: Sequence[FaceResult]
) -> UInt8[np.ndarray, "S S 3"]:
    """Draw the boxes of the faces of an image into its tile; of several, that of the largest is thick."""
    height, width = image.shape[:2]
    zoom = _TILE / max(height, width)
    offset = (_TILE - zoom * np.array([width, height])) / 2
    largest = max(faces, key=_box_area, default=None)
    for one in faces:
        x, y, box_width, box_height = one.face.box
        corners = np.array([[x, y], [x + box_width, y + box_height]]) * zoom + offset
        (left, top), (right, bottom) = corners.round().astype(int).tolist()
        cv2.rectangle(tile, (left, top), (right, bottom), _BOX_COLOUR, 2 if one is largest and len(faces) > 1 else 1)
    return tile


def _box_area(result: FaceResult) -> float:
    _, _, width, height = result.face.box
    return width * height


def _fit_caption(text: str, width: int) -> str:
    """Shorten a caption at its beginning until it is no wider than so many px."""
    shortened = text
    while cv2.getTextSize(shortened, _FONT, _FONT_SCALE, 1)[0][0] > width:
        text = text[1:]
        shortened = f"...{text}"
    return shortened
