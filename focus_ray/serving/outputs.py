"""Output files of a response: masks, regions, renderings, meshes and the overlay, as bytes."""

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
"""Converts content and media type of a file to its entry in the response."""

Kind = TypeVar("Kind", bound=str)


@dataclass(frozen=True)
class OutputFiles:
    """Contents of the requested files, by output."""

    faces: list[dict[FaceOutput, bytes]]  # of each face
    picture: dict[ImageOutput, bytes]  # of the whole picture


def encode_outputs(
    image: UInt8[np.ndarray, "H W 3"],
    faces: Sequence[FaceResult],
    outputs: Collection[FaceOutput | ImageOutput],
    model: MorphableModel,
    camera: Camera,
) -> OutputFiles:
    """Encode the requested outputs of the faces of a picture.

    Args:
        image: the picture, RGB, upright.
        faces: reconstructed from it.
        outputs: to encode.
        model: face model that the faces were fitted with.
        camera: of the crops.

    Returns:
        Masks and regions in the size of the picture, renderings and overlay with at most 1600 px on the longer side;
        the corrected mesh of a face if a misfit prior was applied.
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
    """Build the response of a face.

    Args:
        face: the face.
        contents: its files.
        deliver: makes the entry of each file, inline or a link.
    """
    return FaceResponse.model_construct(**dict(face), outputs=deliver_files(contents, deliver))


def deliver_files(contents: Mapping[Kind, bytes], deliver: Deliver) -> dict[Kind, Output]:
    """Return the entries of files in the response.

    Args:
        contents: the files.
        deliver: makes the entry of each file, inline or a link.
    """
    return {output: deliver(content, MEDIA_TYPES[output]) for output, content in contents.items()}


def inline_output(content: bytes, media_type: str) -> Output:
    """Return the entry of a file with its content in base64."""
    return Output(media_type=media_type, base64=base64.b64encode(content).decode("ascii"))


def _encode_face(arrays: FaceArrays, output: str, height: int, width: int) -> bytes:
    if output in mesh_writer.ENCODERS:
        return mesh_writer.encode_mesh(arrays.mesh if arrays.corrected_mesh is None else arrays.corrected_mesh, output)
    return encode_png(_mask(arrays, height, width) if output == "mask" else _region(arrays, height, width))


def _region(arrays: FaceArrays, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """Return 255 where the face is rendered, in the size of the picture."""
    window = crop_window(arrays, height, width)
    picture = np.zeros((height, width), np.uint8)
    picture[window][warp_to_window(arrays.region.astype(np.float32), arrays.transform, window) >= 0.5] = 255
    return picture


def _mask(arrays: FaceArrays, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """Return 255 M where the face is rendered, 0 elsewhere.

    M is interpolated over rendered pixels only, because the zeros next to them would lower it along the silhouette.
    """
    window = crop_window(arrays, height, width)
    covered = warp_to_window(arrays.region.astype(np.float32), arrays.transform, window)
    soft = warp_to_window(255 * arrays.soft_mask.astype(np.float32) * arrays.region, arrays.transform, window)
    inside = covered >= 0.5
    edge = inside & (covered < 1)
    soft[edge] /= covered[edge]
    soft *= inside
    soft -= 0.5  # round halves down: the mask is M > 0.5, which becomes > 127
    picture = np.zeros((height, width), np.uint8)
    picture[window] = np.ceil(soft, out=soft)
    return picture


def _rendering(one: FaceLayer, height: int, width: int) -> bytes:
    """Encode the rendered face as RGBA, with its coverage as opacity."""
    picture = np.zeros((height, width, 4), np.uint8)
    opacity = (255 * one.coverage).round().clip(0, 255)[..., None]
    picture[one.window] = np.dstack([np.where(opacity > 0, one.colours.round().clip(0, 255), 0), opacity])
    return encode_png(picture)


def _overlay(image: UInt8[np.ndarray, "H W 3"], layers: Sequence[FaceLayer], height: int, width: int) -> bytes:
    if (height, width) != image.shape[:2]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return encode_png(composite_layers(image, layers).image)
