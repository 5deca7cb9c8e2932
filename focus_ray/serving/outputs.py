"""Output files of a response: masks, regions, renderings, meshes and the overlay, as bytes."""

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.geometry import mesh_writer
from focus_ray.inference.face_result import Face, FaceArrays, FaceResult
from focus_ray.inference.matte import FaceMatte, face_matte
from focus_ray.inference.morph_targets import add_morph_targets
from focus_ray.inference.overlay import (
    MAX_OVERLAY_PX,
    FaceLayer,
    composite_layers,
    encode_png,
    render_layer,
    shrink_to_fit,
)
from focus_ray.inference.texture import TextureKind, texture_meshes
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
    texture: TextureKind = "photo",
) -> OutputFiles:
    """Encode the requested outputs of the faces of a picture.

    Args:
        image: the picture, RGB, upright.
        faces: reconstructed from it.
        outputs: to encode.
        model: face model that the faces were fitted with.
        camera: of the crops.
        texture: of the GLB.

    Returns:
        Masks and regions in the size of the picture, renderings and overlay with at most 1600 px on the longer side;
        the corrected mesh of a face if a misfit prior was applied.
    """
    made = OutputFiles([{} for _ in faces], {})
    if "rendering" in outputs or "overlay" in outputs:
        small, adapted = shrink_to_fit(image, faces, MAX_OVERLAY_PX)
        layers = [render_layer(small, face, model, camera) for face in adapted]
        if "overlay" in outputs:
            made.picture["overlay"] = encode_png(composite_layers(small, layers).image)
        if "rendering" in outputs:
            for contents, layer in zip(made.faces, layers, strict=True):
                contents["rendering"] = _rendering(layer, *small.shape[:2])
    for contents, face in zip(made.faces, faces, strict=True):
        if "mask" in outputs or "region" in outputs:
            contents |= _masks(face_matte(image, face, model, camera), outputs, *image.shape[:2])
        for output in outputs:
            if output == "glb":
                morphed = add_morph_targets(face, model)
                contents[output] = _encode_mesh(texture_meshes(image, morphed, model, camera, texture), output)
            elif output in ("obj", "ply"):
                contents[output] = _encode_mesh(face.arrays, output)
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


def _encode_mesh(arrays: FaceArrays, kind: str) -> bytes:
    return mesh_writer.encode_mesh(arrays.mesh if arrays.corrected_mesh is None else arrays.corrected_mesh, kind)


def _masks(
    matte: FaceMatte, outputs: Collection[FaceOutput | ImageOutput], height: int, width: int
) -> dict[FaceOutput, bytes]:
    """Encode mask (255 M) and region (255 where the face is rendered) in the size of the picture, if requested."""
    made: dict[FaceOutput, bytes] = {}
    if "mask" in outputs:
        made["mask"] = encode_png(matte.soft_mask_image(height, width))
    if "region" in outputs:
        made["region"] = encode_png(matte.region_image(height, width))
    return made


def _rendering(one: FaceLayer, height: int, width: int) -> bytes:
    """Encode the rendered face as RGBA, with its coverage as opacity."""
    picture = np.zeros((height, width, 4), np.uint8)
    opacity = (255 * one.coverage).round().clip(0, 255)[..., None]
    picture[one.window] = np.dstack([np.where(opacity > 0, one.colours.round().clip(0, 255), 0), opacity])
    return encode_png(picture)
