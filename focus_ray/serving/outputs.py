"""Files of a response: masks, renderings, meshes and the overlay of a picture's faces, as bytes."""

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.geometry import mesh_writer
from focus_ray.inference.face_result import Face, FaceArrays, FaceResult
from focus_ray.inference.overlay import (
    MAX_OVERLAY_PX,
    FaceLayer,
    composite_layers,
    crop_window,
    encode_png,
    render_layer,
    rescale_faces,
    warp_to_window,
)
from focus_ray.serving.schema import MEDIA_TYPES, FaceOutput, FaceResponse, ImageOutput, Output

Deliver = Callable[[bytes, str], Output]
"""A file's content and media type to what the answer says of it."""

Kind = TypeVar("Kind", bound=str)


@dataclass(frozen=True)
class OutputFiles:
    """The contents of the files that were asked for, of each face and of the picture."""

    faces: list[dict[FaceOutput, bytes]]
    picture: dict[ImageOutput, bytes]


def encode_outputs(
    image: UInt8[np.ndarray, "H W 3"],
    faces: Sequence[FaceResult],
    outputs: Collection[FaceOutput | ImageOutput],
    model: MorphableModel,
    camera: Camera,
) -> OutputFiles:
    """The `outputs` of faces that were just reconstructed from a picture.

    Masks and regions are as large as the picture, renderings and the overlay have at most 1600 px on the longer side.
    Of a face with a misfit prior the corrected mesh counts.
    """
    height, width, adapted = rescale_faces(faces, image.shape[0], image.shape[1], MAX_OVERLAY_PX)
    drawing = "rendering" in outputs or "overlay" in outputs
    layers = [render_layer(face, height, width, model, camera) for face in adapted] if drawing else []
    made = OutputFiles([{} for _ in faces], {})
    for output in outputs:
        if output == "overlay":
            made.picture[output] = _overlay(image, layers, height, width)
        elif output == "rendering":
            for contents, one in zip(made.faces, layers, strict=True):
                contents[output] = _rendering(one, height, width)
        else:
            for contents, (_, arrays) in zip(made.faces, faces, strict=True):
                contents[output] = _encode_face(arrays, output, image.shape[0], image.shape[1])
    return made


def face_response(face: Face, contents: Mapping[FaceOutput, bytes], deliver: Deliver) -> FaceResponse:
    """A face and its files, each delivered inline or by a link."""
    return FaceResponse.model_construct(**dict(face), outputs=deliver_files(contents, deliver))


def deliver_files(contents: Mapping[Kind, bytes], deliver: Deliver) -> dict[Kind, Output]:
    """What the answer says of files."""
    return {output: deliver(content, MEDIA_TYPES[output]) for output, content in contents.items()}


def inline_output(content: bytes, media_type: str) -> Output:
    """The file in the answer itself."""
    return Output(media_type=media_type, base64=base64.b64encode(content).decode("ascii"))


def _encode_face(arrays: FaceArrays, output: str, height: int, width: int) -> bytes:
    if output in mesh_writer.ENCODERS:
        return mesh_writer.encode_mesh(arrays.mesh if arrays.corrected_mesh is None else arrays.corrected_mesh, output)
    return encode_png(_mask(arrays, height, width) if output == "mask" else _region(arrays, height, width))


def _region(arrays: FaceArrays, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """255 where the face is rendered."""
    window = crop_window(arrays, height, width)
    picture = np.zeros((height, width), np.uint8)
    picture[window][warp_to_window(arrays.region.astype(np.float32), arrays.transform, window) >= 0.5] = 255
    return picture


def _mask(arrays: FaceArrays, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """255 M where the face is rendered, 0 elsewhere.

    M is interpolated over the rendered pixels alone: the zeros beside them would dim it along the silhouette.
    """
    window = crop_window(arrays, height, width)
    covered = warp_to_window(arrays.region.astype(np.float32), arrays.transform, window)
    soft = warp_to_window(255 * arrays.soft_mask.astype(np.float32) * arrays.region, arrays.transform, window)
    inside = covered >= 0.5
    edge = inside & (covered < 1)
    soft[edge] /= covered[edge]
    soft *= inside
    soft -= 0.5  # halves go down: the mask is where M is more than a half, and that is above 127
    picture = np.zeros((height, width), np.uint8)
    picture[window] = np.ceil(soft, out=soft)
    return picture


def _rendering(one: FaceLayer, height: int, width: int) -> bytes:
    """The face alone, RGBA: its coverage is the opacity."""
    picture = np.zeros((height, width, 4), np.uint8)
    opacity = (255 * one.coverage).round().clip(0, 255)[..., None]
    picture[one.window] = np.dstack([np.where(opacity > 0, one.colours.round().clip(0, 255), 0), opacity])
    return encode_png(picture)


def _overlay(image: UInt8[np.ndarray, "H W 3"], layers: Sequence[FaceLayer], height: int, width: int) -> bytes:
    if (height, width) != image.shape[:2]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return encode_png(composite_layers(image, layers).image)
