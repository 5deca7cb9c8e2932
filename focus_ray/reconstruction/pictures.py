"""What a reconstruction looks like: overlay and mask in the picture, and a contact sheet of many pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.align import Crop, compose, resized
from focus_ray.focus.face.camera import Camera
from focus_ray.focus.face.morphable_model import MorphableModel
from focus_ray.focus.face_result import Face, FaceArrays
from focus_ray.focus.render.renderer import Renderer
from focus_ray.reconstruction.reconstructor import theta_of

LARGEST_OVERLAY = 1600  # px of the longer side
_LARGEST_RENDERING = 512  # px: finer than that the mesh shows its facets

_BOX, _MISSING = (80, 220, 100), (235, 90, 80)
_OCCLUDED = np.array([230.0, 60.0, 60.0])
_DIMMED = 0.35

_TILE, _CAPTION, _COLUMNS = 176, 18, 4  # px, px, pictures in a row of the sheet
_SHEET_PICTURES = 200


@dataclass(frozen=True)
class Drawn:
    """A picture and its faces, in the size of the picture."""

    overlay: UInt8[np.ndarray, "H W 3"]  # the rendered face where it is seen
    seen: Float[np.ndarray, "H W"]  # 0 to 1
    region: Float[np.ndarray, "H W"]  # 0 to 1, where a face is rendered


def arrays_of(face: Face) -> FaceArrays:
    """The pixels and mesh of a face that was just reconstructed."""
    if face.arrays is None:
        raise ValueError("this face was read from a file and has no pixels; reconstruct it again to draw it")
    return face.arrays


def seen_in_picture(face: Face, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The binarised mask of a face in the size of its picture."""
    arrays = arrays_of(face)
    crop = Crop(arrays.transform, arrays.mask.shape[0])
    return crop.to_image_mask(arrays.mask.astype(np.float64), height, width) >= 0.5


def drawn(image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Face], model: MorphableModel, camera: Camera) -> Drawn:
    """The faces laid over their picture: rendered at the picture's own detail, shown where the mask sees them."""
    height, width = image.shape[:2]
    overlay = image.astype(np.float64)
    seen, region = np.zeros((height, width)), np.zeros((height, width))
    for face in faces:
        arrays = arrays_of(face)
        crop = Crop(arrays.transform, arrays.mask.shape[0])
        detailed = _detailed(crop)
        rendered, covered = _rendered(face, model, camera, detailed.size)
        alpha = detailed.to_image_mask(covered, height, width)
        kept = alpha * crop.to_image_mask(arrays.mask.astype(np.float64), height, width)
        colours = cv2.warpAffine(
            rendered, detailed.inverse, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        overlay += kept[..., None] * (colours - overlay)
        seen, region = np.maximum(seen, kept), np.maximum(region, alpha)
    return Drawn(overlay.round().clip(0, 255).astype(np.uint8), seen, region)


def _detailed(crop: Crop) -> Crop:
    """The same crop with as many pixels as the picture has there, within limits."""
    size = int(np.clip(round(crop.size / crop.scale), crop.size, max(crop.size, _LARGEST_RENDERING)))
    return Crop(compose(resized(crop.size, size), crop.matrix), size)


def _rendered(
    face: Face, model: MorphableModel, camera: Camera, size: int
) -> tuple[Float[np.ndarray, "S S 3"], Float[np.ndarray, "S S"]]:
    """Colours (0 to 255, carried on past the silhouette so that interpolation meets no black) and coverage."""
    renderer = Renderer(model, camera.model_copy(update={"image_size": size}))
    with torch.no_grad():
        rendering = renderer(theta_of(face))
    colours = rendering.image[0].clamp(0, 1).mul(255).permute(1, 2, 0).double().numpy()
    covered = rendering.mask[0, 0].double().numpy()
    spread = cv2.dilate(np.ascontiguousarray(colours), np.ones((3, 3)))
    return np.where(covered[..., None] > 0, colours, spread), covered


def shrunk(
    image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Face], longest: int
) -> tuple[UInt8[np.ndarray, "h w 3"], list[Face]]:
    """The picture within that size, and its faces with their transforms (not their px) adapted to it."""
    height, width = image.shape[:2]
    zoom = longest / max(height, width)
    if zoom >= 1.0:
        return image, list(faces)
    small = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    ratio = np.array([width / small[0], height / small[1]])
    back = np.hstack([np.diag(ratio), ((ratio - 1.0) / 2.0)[:, None]])
    adapted = []
    for face in faces:
        arrays = arrays_of(face)
        adapted.append(face.with_arrays(_with_transform(arrays, compose(arrays.transform, back))))
    return cv2.resize(image, small, interpolation=cv2.INTER_AREA), adapted


def _with_transform(arrays: FaceArrays, transform: Float[np.ndarray, "2 3"]) -> FaceArrays:
    return FaceArrays(transform, arrays.target, arrays.rendering, arrays.region, arrays.mask, arrays.mesh)


def png(image: UInt8[np.ndarray, "H W *C"]) -> bytes:
    """A picture or mask as the content of a PNG file."""
    content = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return cv2.imencode(".png", content)[1].tobytes()


class ContactSheet:
    """Pictures side by side: with their boxes, with the faces laid over, and what of the faces is seen (red: occluded).

    Keeps small tiles only; of more than 200 pictures the first 200.
    """

    def __init__(self, model: MorphableModel, camera: Camera):
        self.model = model
        self.camera = camera
        self._entries: list[np.ndarray] = []

    def add(self, caption: str, image: UInt8[np.ndarray, "H W 3"] | None, faces: Sequence[Face]) -> None:
        """One more picture; None for one that could not be read."""
        if len(self._entries) >= _SHEET_PICTURES:
            return
        tiles = [np.zeros((_TILE, _TILE, 3), np.uint8)] * 3 if image is None else self._tiles(image, faces)
        entry = np.full((_TILE + _CAPTION, 3 * _TILE, 3), 255, np.uint8)
        entry[:_TILE] = np.hstack(tiles)
        colour = (40, 40, 40) if faces else _MISSING
        text = caption.encode("ascii", "replace").decode()
        cv2.putText(entry, text, (3, _TILE + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
        self._entries.append(entry)

    def _tiles(self, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Face]) -> list[np.ndarray]:
        small, adapted = shrunk(image, faces, _TILE)
        zoom = small.shape[1] / image.shape[1]
        result = drawn(small, adapted, self.model, self.camera)
        boxed = small.copy()
        for face in faces:
            x, y, width, height = (round(value * zoom) for value in face.box)
            cv2.rectangle(boxed, (x, y), (x + width, y + height), _BOX, 1)
        dimmed = small * _DIMMED
        mask = dimmed + result.region[..., None] * (_OCCLUDED - dimmed)
        mask += result.seen[..., None] * (small - mask)
        return [_tile(boxed), _tile(result.overlay), _tile(mask.clip(0, 255).astype(np.uint8))]

    def png(self) -> bytes:
        """The sheet, four pictures in a row."""
        columns = min(_COLUMNS, max(1, len(self._entries)))
        blank = np.full((_TILE + _CAPTION, 3 * _TILE, 3), 255, np.uint8)
        padded = [*self._entries, *[blank] * (-len(self._entries) % columns)] or [blank]
        rows = [np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)]
        return png(np.vstack(rows))


def _tile(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "S S 3"]:
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    top, left = (_TILE - image.shape[0]) // 2, (_TILE - image.shape[1]) // 2
    tile[top : top + image.shape[0], left : left + image.shape[1]] = image
    return tile
