"""The result of reconstructing one face (FACE): one type for JSON files, the Python API and the HTTP API."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from pydantic import BaseModel, ConfigDict, Field, model_serializer

from focus_ray.data.detectors.detection import DetectorInfo
from focus_ray.geometry.mesh import Mesh
from focus_ray.inference.quality import QualityFlag, QualityMeasures

Vector3 = tuple[float, float, float]
VertexIndices = tuple[int, int, int]
Vector4 = tuple[float, float, float, float]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
VISIBLE_PARTS = ("eyes", "brows", "nose", "mouth", "cheeks", "jaw")


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pose(_FrozenModel):
    """The head's pose in the camera of the upright picture as it was given, not of the turned crop."""

    rotation: Vector3 = Field(description="Euler angles [rad]: R = diag(1,-1,-1) Rx Ry Rz")
    translation: Vector3 = Field(description="[mm], added to the camera's distance of 1000 mm, about the crop's centre")


class Theta(_FrozenModel):
    """The 257 parameters fitted to the aligned crop; coefficients in sigmas."""

    identity: Annotated[list[float], Field(min_length=80, max_length=80)]
    expression: Annotated[list[float], Field(min_length=64, max_length=64)]
    albedo: Annotated[list[float], Field(min_length=80, max_length=80)]
    light: Annotated[list[float], Field(min_length=27, max_length=27, description="R9|G9|B9, spherical harmonics")]
    camera: Annotated[list[float], Field(min_length=6, max_length=6, description="rotation [rad], translation [mm]")]


class Visibility(_FrozenModel):
    """The share of each part's rendered pixels that the mask keeps; 0 for a part of which no pixel is rendered."""

    eyes: UnitInterval
    brows: UnitInterval
    nose: UnitInterval
    mouth: UnitInterval
    cheeks: UnitInterval
    jaw: UnitInterval


class Arkit(_FrozenModel):
    """The expression as weights of ARKit's 52 blendshapes; only of face models that have these shapes."""

    weights: dict[str, UnitInterval] = Field(
        description="by Apple's names (eyeBlinkLeft, ...); left is the subject's. 0 for shapes that the model lacks"
    )
    residual_mm: Annotated[float, Field(ge=0)] = Field(
        description="root mean square, over the surface that faces the front, of what the shapes do not explain"
    )


@dataclass(frozen=True, eq=False)
class FaceArrays:
    """Pixels and mesh for drawing and exporting a face; kept in memory only, not part of FACE."""

    transform: Float[np.ndarray, "2 3"]  # px of the picture to px of the crop
    target: UInt8[np.ndarray, "S S 3"]  # the crop
    rendering: UInt8[np.ndarray, "S S 3"]
    region: Bool[np.ndarray, "S S"]  # where the face is rendered
    mask: Bool[np.ndarray, "S S"]  # where it is visible
    soft_mask: Float[np.ndarray, "S S"]  # M in [0, 1], before binarisation
    mesh: Mesh
    corrected_mesh: Mesh | None = None  # without the systematic error; None without a misfit prior
    measures: QualityMeasures | None = None  # what the quality flags are decided by


class Face(_FrozenModel):
    """One face of a picture. Pixels are those of the picture after its EXIF orientation, centres at integers."""

    box: tuple[float, float, float, float] = Field(description="x, y, width, height [px]")
    landmarks: Annotated[list[tuple[float, float]], Field(min_length=68, max_length=68, description="iBUG 68 [px]")]
    pose: Pose
    theta: Theta
    occlusion_fraction: UnitInterval = Field(description="1 - mask / rendered region")
    visibility: Visibility
    quality: list[QualityFlag]
    model_version: str
    detector: DetectorInfo | None = Field(
        default=None, description="what detected the face, with the sha256 of its weight files; null if it was given"
    )
    corrected: bool = Field(default=False, description="whether the misfit prior was applied")
    projection: tuple[Vector4, Vector4, Vector4] | None = Field(
        default=None,
        description="(u w, v w, w) = P (x, y, z, 1) maps the mesh [mm] to px (u, v) of the picture",
    )
    focal_length: float | None = Field(default=None, description="of the camera of `projection` [px of the picture]")
    landmark_vertices: Annotated[list[VertexIndices], Field(min_length=68, max_length=68)] | None = Field(
        default=None, description="for each landmark, the indices (from 0) of the three mesh vertices around it"
    )
    landmark_weights: Annotated[list[Vector3], Field(min_length=68, max_length=68)] | None = Field(
        default=None, description="weights of those vertices; the projection of the weighted sum is the landmark"
    )
    arkit: Arkit | None = Field(
        default=None, description="weights of ARKit's blendshapes; absent if the face model has no such shapes"
    )

    @model_serializer(mode="wrap")
    def _leave_out_arkit(self, serialize: Callable[["Face"], dict[str, Any]]):
        """Leave `arkit` out if the face has none; without a return type the JSON schema remains that of the fields."""
        fields = serialize(self)
        if self.arkit is None:
            fields.pop("arkit", None)
        return fields


class FaceResult(NamedTuple):
    """A reconstructed face: its FACE record, and the pixels and meshes to draw and export it."""

    face: Face
    arrays: FaceArrays
