"""Request and response types; the OpenAPI document is generated from them."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from focus_ray.data.detectors.detection import DetectorInfo
from focus_ray.inference.face_result import Face

FaceOutput = Literal["mask", "region", "rendering", "glb", "obj", "ply"]
ImageOutput = Literal["overlay"]
FACE_OUTPUTS: tuple[str, ...] = get_args(FaceOutput)
OUTPUTS: tuple[str, ...] = (*FACE_OUTPUTS, *get_args(ImageOutput))

MEDIA_TYPES = {
    "mask": "image/png",
    "region": "image/png",
    "rendering": "image/png",
    "overlay": "image/png",
    "glb": "model/gltf-binary",
    "obj": "model/obj",
    "ply": "application/octet-stream",
}


class ApiModel(BaseModel):
    """Base of the request and response types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Options(ApiModel):
    """Options of a request, as form fields or in the query."""

    outputs: tuple[Literal["mask", "region", "rendering", "glb", "obj", "ply", "overlay"], ...] = Field(
        default=(), description="comma-separated: mask, region, rendering, glb, obj, ply (of each face), overlay"
    )
    delivery: Literal["inline", "link"] = Field(
        default="inline",
        description="inline: outputs in the response as base64; link: as links that are valid for some minutes",
    )
    texture: Literal["photo", "albedo", "none"] = Field(
        default="photo",
        description="of the glb output: from the photo with its light or without; none: the fitted albedo as colours",
    )
    refine: bool | None = Field(
        default=None, description="refine the fit by gradient steps; default: the endpoint's `refine_by_default`"
    )
    prior: Literal["auto", "off", "on"] = Field(
        default="auto",
        description="auto: apply the misfit prior if it was measured for such results; off: never; on: else refuse",
    )
    max_faces: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4, description="maximum number of faces; those with the highest scores"
    )
    box: tuple[float, float, float, float] | None = Field(
        default=None, description="x,y,width,height [px] of the only face; replaces detection"
    )
    landmarks: Annotated[list[tuple[float, float]], Field(min_length=68, max_length=68)] | None = Field(
        default=None, description="x0,y0,...,x67,y67 [px], iBUG 68, of the only face; replaces detection"
    )
    aligned: bool = Field(
        default=False, description="the picture is an aligned square crop, as the model's input; replaces detection"
    )


class Output(ApiModel):
    """An output file: its content in base64, or a link that is valid for some minutes."""

    media_type: str
    base64: str | None = None
    href: str | None = Field(default=None, description="path of this endpoint")


class FaceResponse(Face):
    """A face and its requested outputs.

    mask: 8-bit PNG in the size of the picture, 255 times the probability that a pixel shows the face; the mask is
    above 127. region: 255 where the face is rendered, in the size of the picture. rendering: the rendered face as
    RGBA, in the picture's aspect ratio, at most 1600 px on the longer side. Meshes: posed, in mm (GLB: m); corrected
    if a misfit prior was applied. The GLB has a texture, OBJ and PLY have colours at the vertices.
    """

    outputs: dict[FaceOutput, Output] = Field(default={})


class Size(ApiModel):
    """Size of a picture after its EXIF orientation [px]."""

    width: int
    height: int


class Reconstruction(ApiModel):
    """The response for one picture; `faces` is empty if no face is found.

    overlay: the picture with the visible parts of the faces rendered over it, at most 1600 px on the longer side.
    """

    request_id: str
    model_version: str
    image: Size
    faces: list[FaceResponse]
    outputs: dict[ImageOutput, Output] = Field(default={})
    milliseconds: dict[str, float] = Field(default={}, description="time of each stage: decode, detect, model, draw")


class ProblemDetails(ApiModel):
    """application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class BatchItem(ApiModel):
    """One picture of a batch: its reconstruction, or the problem why it was refused."""

    index: int
    name: str
    reconstruction: Reconstruction | None = None
    problem: ProblemDetails | None = None


class BatchResponse(ApiModel):
    """The responses for several pictures, in order; a refused picture does not affect the others."""

    request_id: str
    model_version: str
    results: list[BatchItem]


class ModelResponse(ApiModel):
    """The model of the endpoint and its limits."""

    model_version: str
    registered: str | None = Field(description="NAME/VERSION of a model from the registry")
    image_size: int = Field(description="side of the model's input crops [px]")
    vertices: int
    triangles: int
    refine_steps: int
    refine_by_default: bool
    prior: Literal["none", "one_pass", "refined"] = Field(description="results that the misfit prior corrects")
    detector: DetectorInfo = Field(description="what detects faces, with the sha256 of its weight files")
    outputs: list[str]
    limits: dict[str, float]
