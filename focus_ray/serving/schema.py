"""Request and response types; the OpenAPI document is generated from them."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

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
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Options(ApiModel):
    """What a request asks for, beside its picture; as form fields or in the query."""

    outputs: tuple[Literal["mask", "region", "rendering", "glb", "obj", "ply", "overlay"], ...] = Field(
        default=(), description="comma-separated: mask, region, rendering, glb, obj, ply (of each face), overlay"
    )
    delivery: Literal["inline", "link"] = Field(
        default="inline", description="outputs in the answer as base64, or as links that hold for some minutes"
    )
    refine: bool | None = Field(default=None, description="refine the fit by gradient steps; the endpoint's default")
    prior: Literal["auto", "off", "on"] = Field(
        default="auto", description="the misfit prior: where it was measured for such answers, never, or else refused"
    )
    max_faces: Annotated[int, Field(ge=1, le=16)] = Field(default=4, description="the surest ones")
    box: tuple[float, float, float, float] | None = Field(
        default=None, description="x,y,width,height [px] of the one face; nothing is detected"
    )
    landmarks: Annotated[list[tuple[float, float]], Field(min_length=68, max_length=68)] | None = Field(
        default=None, description="x0,y0,...,x67,y67 [px], iBUG 68, of the one face; nothing is detected"
    )
    aligned: bool = Field(
        default=False, description="the picture is an aligned square crop as the model takes it; nothing is detected"
    )


class Output(ApiModel):
    """A file that belongs to an answer: its content, or where it can be had for some minutes."""

    media_type: str
    base64: str | None = None
    href: str | None = Field(default=None, description="a path of this endpoint")


class FaceResponse(Face):
    """FACE, and the files that were asked for.

    mask: 8-bit PNG in the picture's size, 255 times the probability that a pixel shows the face; above 127 is the
    mask. region: 255 where the face is rendered, in the picture's size. rendering: the rendered face as RGBA, over a
    picture of the same shape with at most 1600 px on its longer side. Meshes: posed, in mm (GLB: m); where a misfit
    prior was applied, the corrected ones.
    """

    outputs: dict[FaceOutput, Output] = Field(default={})


class Size(ApiModel):
    """Of a picture after its EXIF orientation [px]."""

    width: int
    height: int


class Reconstruction(ApiModel):
    """The answer to one picture. No face is an empty list.

    overlay: the faces laid over the picture where they are seen, with at most 1600 px on its longer side.
    """

    request_id: str
    model_version: str
    image: Size
    faces: list[FaceResponse]
    outputs: dict[ImageOutput, Output] = Field(default={})
    milliseconds: dict[str, float] = Field(default={}, description="decode, detect, model, draw")


class ProblemDetails(ApiModel):
    """application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class BatchItem(ApiModel):
    """One picture of a batch: its answer, or what was wrong with it."""

    index: int
    name: str
    reconstruction: Reconstruction | None = None
    problem: ProblemDetails | None = None


class BatchResponse(ApiModel):
    """The answers to several pictures, in their order; one that is refused does not touch the others."""

    request_id: str
    model_version: str
    results: list[BatchItem]


class ModelResponse(ApiModel):
    """What answers here."""

    model_version: str
    registered: str | None = Field(description="NAME/VERSION in the registry, where it came from there")
    image_size: int = Field(description="side of the crops that the model looks at [px]")
    vertices: int
    triangles: int
    refine_steps: int
    refine_by_default: bool
    prior: Literal["none", "one_pass", "refined"] = Field(description="the answers that a misfit prior corrects")
    outputs: list[str]
    limits: dict[str, float]
