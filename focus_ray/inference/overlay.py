"""Drawings of a reconstruction at the size of its image: the rendered faces over it, and images scaled and cropped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from focus_ray.data.align import Crop, compose
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.inference.face_rendering import render_face
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.image_window import Window, crop_window, window_crop
from focus_ray.inference.matte import compute_matte

MAX_OVERLAY_PX = 1600  # px of the longer side

_TO_OPENCV = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}


@dataclass(frozen=True)
class FaceLayer:
    """A face rendered at the image's resolution, in the window of the image that its crop covers."""

    window: Window  # of the picture
    colours: Float[np.ndarray, "h w 3"]  # 0 to 255
    coverage: Float[np.ndarray, "h w"]  # 0 to 1, where the face is rendered
    visibility: Float[np.ndarray, "h w"]  # 0 to 1, the part of it that the mask keeps


@dataclass(frozen=True)
class Overlay:
    """An image with its faces drawn on it, at the size of the image."""

    image: UInt8[np.ndarray, "H W 3"]  # the rendered face where it is visible
    visibility: Float[np.ndarray, "H W"]  # 0 to 1
    region: Float[np.ndarray, "H W"]  # 0 to 1, where a face is rendered


def render_layer(
    image: UInt8[np.ndarray, "H W 3"], result: FaceResult, model: MorphableModel, camera: Camera
) -> FaceLayer:
    """Render a face at the resolution of its image.

    Args:
        image: RGB.
        result: the face; its transform is that of this image.
        model: the face model that fitted it.
        camera: the camera of the crop.
    """
    rendering = render_face(result, model, camera)
    matte = compute_matte(image, result.arrays, rendering)
    inverse = window_crop(rendering.crop, matte.window).inverse
    colours = cv2.warpAffine(
        rendering.colours,
        inverse,
        matte.coverage.shape[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return FaceLayer(matte.window, colours, matte.coverage, matte.visibility)


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
    return composite_layers(image, [render_layer(image, face, model, camera) for face in faces])


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
    crops = [Crop(arrays.transform, len(arrays.mask)) for _, arrays in faces]
    windows = [crop_window(crop, *image.shape[:2]) for crop in crops]
    rows = slice(min(one.start for one, _ in windows), max(one.stop for one, _ in windows))
    columns = slice(min(one.start for _, one in windows), max(one.stop for _, one in windows))
    adapted = []
    for (face, arrays), crop in zip(faces, crops, strict=True):
        x, y, width, height = face.box
        moved = face.model_copy(update={"box": (x - columns.start, y - rows.start, width, height)})
        transform = window_crop(crop, (rows, columns)).matrix
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
