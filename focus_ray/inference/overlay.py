"""Drawings of a reconstruction: overlay and mask at the size of the image, and a contact sheet of many images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.align import Crop, compose, resize_transform
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.render.renderer import Renderer
from focus_ray.inference.face_result import Face, FaceArrays, FaceResult
from focus_ray.inference.reconstructor import face_to_theta

MAX_OVERLAY_PX = 1600  # px of the longer side
_MAX_RENDERING_PX = 512  # px: at higher resolutions the mesh's facets become visible

_BOX_COLOUR, _MISSING_COLOUR = (80, 220, 100), (235, 90, 80)
_OCCLUDED_COLOUR = np.array([230.0, 60.0, 60.0])
_DIMMED = 0.35

_TILE, _CAPTION, _COLUMNS = 176, 18, 4  # px, px, pictures in a row of the sheet
_MAX_SHEET_IMAGES = 200

_TO_OPENCV = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}


@dataclass(frozen=True)
class FaceLayer:
    """A face rendered at the image's resolution, in the window of the image that its crop covers."""

    window: tuple[slice, slice]  # rows and columns of the picture
    colours: Float[np.ndarray, "h w 3"]  # 0 to 255
    coverage: Float[np.ndarray, "h w"]  # 0 to 1, where the face is rendered
    visibility: Float[np.ndarray, "h w"]  # 0 to 1, the part of it that the mask keeps


@dataclass(frozen=True)
class Overlay:
    """An image with its faces drawn on it, at the size of the image."""

    image: UInt8[np.ndarray, "H W 3"]  # the rendered face where it is visible
    visibility: Float[np.ndarray, "H W"]  # 0 to 1
    region: Float[np.ndarray, "H W"]  # 0 to 1, where a face is rendered


def image_mask(arrays: FaceArrays, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Return the binarised mask of a face at the size of its image (px)."""
    window = crop_window(arrays, height, width)
    seen = np.zeros((height, width), bool)
    seen[window] = warp_to_window(arrays.mask.astype(np.float64), arrays.transform, window) >= 0.5
    return seen


def crop_window(arrays: FaceArrays, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of an image that the crop of a face covers; one pixel if it covers none.

    Args:
        arrays: pixels of the face.
        height: of the image, px.
        width: of the image, px.
    """
    size = arrays.mask.shape[0]
    corners = np.array([[-1.0, -1.0], [size, -1.0], [size, size], [-1.0, size]])
    reached = Crop(arrays.transform, size).to_image(corners)
    low = np.floor(reached.min(axis=0)).clip(0, [width - 1, height - 1]).astype(int)
    high = np.ceil(reached.max(axis=0) + 1).clip(low + 1, [width, height]).astype(int)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    return slice(top, bottom), slice(left, right)


def warp_to_window(
    values: Float[np.ndarray, "S S"], transform: Float[np.ndarray, "2 3"], window: tuple[slice, slice]
) -> Float[np.ndarray, "h w"]:
    """Warp values of a crop to the pixels of a window: bilinear, zero outside of the crop.

    Args:
        values: values of the crop.
        transform: px of the image to px of the crop.
        window: rows and columns of the image.

    Returns:
        The values at the pixels of the window.
    """
    rows, columns = window
    crop = Crop(_window_to_crop(transform, window), values.shape[0])
    return crop.to_image_mask(values, rows.stop - rows.start, columns.stop - columns.start)


def render_layer(result: FaceResult, height: int, width: int, model: MorphableModel, camera: Camera) -> FaceLayer:
    """Render a face at the resolution of its image.

    Args:
        result: the face.
        height: of the image, px.
        width: of the image, px.
        model: the face model that fitted it.
        camera: the camera of the crop.
    """
    face, arrays = result
    window = crop_window(arrays, height, width)
    detailed = _upscale_crop(Crop(arrays.transform, arrays.mask.shape[0]))
    rendered, covered = _render_face(face, model, camera, detailed.size)
    coverage = warp_to_window(covered, detailed.matrix, window)
    inverse = Crop(_window_to_crop(detailed.matrix, window), detailed.size).inverse
    colours = cv2.warpAffine(
        rendered, inverse, coverage.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    seen = coverage * warp_to_window(arrays.mask.astype(np.float32), arrays.transform, window)
    return FaceLayer(window, colours, coverage, seen)


def draw_overlay(
    image: UInt8[np.ndarray, "H W 3"], faces: Sequence[FaceResult], model: MorphableModel, camera: Camera
) -> Overlay:
    """Draw faces over their image, rendered at its resolution and shown where the mask keeps them.

    Args:
        image: RGB.
        faces: faces of the image.
        model: the face model that fitted them.
        camera: the camera of the crops.

    Returns:
        The overlay at the size of the image.
    """
    height, width = image.shape[:2]
    return composite_layers(image, [render_layer(face, height, width, model, camera) for face in faces])


def composite_layers(image: UInt8[np.ndarray, "H W 3"], layers: Sequence[FaceLayer]) -> Overlay:
    """Composite layers of `render_layer`, one after the other, over their image.

    Args:
        image: RGB.
        layers: layers of the image, the last on top.

    Returns:
        The overlay at the size of the image.
    """
    overlay = image.copy()
    seen, region = np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.float32)
    for one in layers:
        below = overlay[one.window].astype(np.float32)
        blended = below + one.visibility[..., None] * (one.colours - below)
        overlay[one.window] = blended.round().clip(0, 255).astype(np.uint8)
        seen[one.window] = np.maximum(seen[one.window], one.visibility)
        region[one.window] = np.maximum(region[one.window], one.coverage)
    return Overlay(overlay, seen, region)


def _window_to_crop(transform: Float[np.ndarray, "2 3"], window: tuple[slice, slice]) -> Float[np.ndarray, "2 3"]:
    """Return the transform from px of the window, instead of the image, to px of the crop."""
    rows, columns = window
    return compose(transform, np.array([[1.0, 0.0, columns.start], [0.0, 1.0, rows.start]]))


def _upscale_crop(crop: Crop) -> Crop:
    """Return the same crop with as many pixels as the image has there, within limits."""
    size = int(np.clip(round(crop.size / crop.scale), crop.size, max(crop.size, _MAX_RENDERING_PX)))
    return Crop(compose(resize_transform(crop.size, size), crop.matrix), size)


def _render_face(
    face: Face, model: MorphableModel, camera: Camera, size: int
) -> tuple[Float[np.ndarray, "S S 3"], Float[np.ndarray, "S S"]]:
    """Return colours (0 to 255, extended past the silhouette so that interpolation meets no black) and coverage."""
    renderer = Renderer(model, camera.model_copy(update={"image_size": size}))
    with torch.no_grad():
        rendering = renderer(face_to_theta(face).to(model.mean)).to("cpu")
    colours = rendering.image[0].clamp(0, 1).mul(255).permute(1, 2, 0).float().numpy()
    covered = rendering.mask[0, 0].float().numpy()
    spread = cv2.dilate(np.ascontiguousarray(colours), np.ones((3, 3)))
    return np.where(covered[..., None] > 0, colours, spread), covered


def shrink_to_fit(
    image: UInt8[np.ndarray, "H W 3"], faces: Sequence[FaceResult], max_side: int
) -> tuple[UInt8[np.ndarray, "h w 3"], list[FaceResult]]:
    """Shrink an image to a maximum size, and adapt the transforms of its faces.

    Args:
        image: RGB.
        faces: faces of the image.
        max_side: longest side of the result, px.

    Returns:
        The image, unchanged if it is small enough, and the faces; only their transforms are adapted, not their px.
    """
    height, width, adapted = rescale_faces(faces, image.shape[0], image.shape[1], max_side)
    if (height, width) == image.shape[:2]:
        return image, adapted
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), adapted


def rescale_faces(
    faces: Sequence[FaceResult], height: int, width: int, max_side: int
) -> tuple[int, int, list[FaceResult]]:
    """Compute the size of an image shrunk to a maximum size, and adapt the transforms of its faces.

    Args:
        faces: faces of the image.
        height: of the image, px.
        width: of the image, px.
        max_side: longest side of the result, px.

    Returns:
        The new height and width, px, and the faces with adapted transforms.
    """
    zoom = max_side / max(height, width)
    if zoom >= 1.0:
        return height, width, list(faces)
    rows, columns = max(1, round(height * zoom)), max(1, round(width * zoom))
    ratio = np.array([width / columns, height / rows])
    back = np.hstack([np.diag(ratio), ((ratio - 1.0) / 2.0)[:, None]])
    adapted = [FaceResult(face, replace(arrays, transform=compose(arrays.transform, back))) for face, arrays in faces]
    return rows, columns, adapted


def crop_to_faces(
    image: UInt8[np.ndarray, "H W 3"], faces: Sequence[FaceResult]
) -> tuple[UInt8[np.ndarray, "h w 3"], list[FaceResult]]:
    """Crop an image to the crops of its faces, and adapt their boxes and transforms.

    Args:
        image: RGB.
        faces: faces of the image.

    Returns:
        The cropped image, unchanged if it has no face, and the faces; of their px only the boxes are adapted.
    """
    if not faces:
        return image, []
    windows = [crop_window(arrays, *image.shape[:2]) for _, arrays in faces]
    rows = slice(min(one.start for one, _ in windows), max(one.stop for one, _ in windows))
    columns = slice(min(one.start for _, one in windows), max(one.stop for _, one in windows))
    adapted = []
    for face, arrays in faces:
        x, y, width, height = face.box
        moved = face.model_copy(update={"box": (x - columns.start, y - rows.start, width, height)})
        transform = _window_to_crop(arrays.transform, (rows, columns))
        adapted.append(FaceResult(moved, replace(arrays, transform=transform)))
    return np.ascontiguousarray(image[rows, columns]), adapted


def encode_png(image: UInt8[np.ndarray, "H W *C"]) -> bytes:
    """Encode an image or mask as the content of a PNG file, by OpenCV's fastest compression.

    Args:
        image: RGB, RGBA or one channel, 0 to 255.

    Returns:
        The content of the file.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    content = cv2.cvtColor(image, _TO_OPENCV[channels]) if channels > 1 else image
    return cv2.imencode(".png", content)[1].tobytes()


class ContactSheet:
    """Contact sheet: every image around its faces, with their boxes, overlaid, and with the mask (red: occluded).

    Keeps small tiles only; of more than 200 images the first 200.
    """

    def __init__(self, model: MorphableModel, camera: Camera):
        self.model = model
        self.camera = camera
        self._entries: list[np.ndarray] = []

    def add(self, caption: str, image: UInt8[np.ndarray, "H W 3"] | None, faces: Sequence[FaceResult]) -> None:
        """Add an image to the sheet.

        Args:
            caption: text below the image.
            image: RGB; None for an image that could not be read.
            faces: faces of the image.
        """
        if len(self._entries) >= _MAX_SHEET_IMAGES:
            return
        tiles = [np.zeros((_TILE, _TILE, 3), np.uint8)] * 3 if image is None else self._tiles(image, faces)
        entry = np.full((_TILE + _CAPTION, 3 * _TILE, 3), 255, np.uint8)
        entry[:_TILE] = np.hstack(tiles)
        colour = (40, 40, 40) if faces else _MISSING_COLOUR
        text = caption.encode("ascii", "replace").decode()
        cv2.putText(entry, text, (3, _TILE + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
        self._entries.append(entry)

    def _tiles(self, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[FaceResult]) -> list[np.ndarray]:
        image, faces = crop_to_faces(image, faces)
        small, adapted = shrink_to_fit(image, faces, _TILE)
        zoom = small.shape[1] / image.shape[1]
        result = draw_overlay(small, adapted, self.model, self.camera)
        boxed = small.copy()
        for face, _ in faces:
            x, y, width, height = (round(value * zoom) for value in face.box)
            cv2.rectangle(boxed, (x, y), (x + width, y + height), _BOX_COLOUR, 1)
        dimmed = small * _DIMMED
        mask = dimmed + result.region[..., None] * (_OCCLUDED_COLOUR - dimmed)
        mask += result.visibility[..., None] * (small - mask)
        return [_tile(boxed), _tile(result.image), _tile(mask.clip(0, 255).astype(np.uint8))]

    def to_png(self) -> bytes:
        """Encode the sheet as PNG, four images in a row."""
        columns = min(_COLUMNS, max(1, len(self._entries)))
        blank = np.full((_TILE + _CAPTION, 3 * _TILE, 3), 255, np.uint8)
        padded = [*self._entries, *[blank] * (-len(self._entries) % columns)] or [blank]
        rows = [np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)]
        return encode_png(np.vstack(rows))


def _tile(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "S S 3"]:
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    top, left = (_TILE - image.shape[0]) // 2, (_TILE - image.shape[1]) // 2
    tile[top : top + image.shape[0], left : left + image.shape[1]] = image
    return tile
