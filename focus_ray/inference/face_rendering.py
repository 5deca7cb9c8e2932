"""Renderings of a fitted face: at the resolution of its picture, and from other views."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from focus_ray.data.align import Crop, compose, resize_transform
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera, rotate
from focus_ray.focus.render.rasterize import interpolate
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.geometry.mesh_writer import Mesh, Texture
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.reconstructor import face_to_theta

_MAX_RENDERING_PX = 512  # px: at higher resolutions the mesh's facets become visible
_SUPERSAMPLING = 2  # px drawn per px and side
_SMOOTHING_PX = 0.8  # px of the rendering: sigma of the silhouette's edge where it is magnified
_EXTENDED_PX = 7  # px of the rendering: side of the squares over which colours are averaged past the silhouette
_LEAST_COVERAGE = np.float32(1e-3)  # less counts as none

_FILLED = 0.92  # of a view's side
_BACKGROUND = 225.0  # grey, 0 to 255


@dataclass(frozen=True, eq=False)
class FaceRendering:
    """A face rendered in its aligned crop, with as many pixels as its picture has there, up to 512 px."""

    crop: Crop  # of the picture, in px of this rendering
    colours: Float[np.ndarray, "R R 3"]  # 0 to 255, extended past the silhouette
    coverage: Float[np.ndarray, "R R"]  # 0 to 1, where the face is rendered; smooth if the picture has more px


def render_face(result: FaceResult, model: MorphableModel, camera: Camera) -> FaceRendering:
    """Render a face for its picture.

    Args:
        result: the face; its transform is that of the picture.
        model: the face model that fitted it.
        camera: the camera of the crop.
    """
    face, arrays = result
    own = Crop(arrays.transform, len(arrays.soft_mask))
    crop = _upscale_crop(own)
    fineness = _SUPERSAMPLING if crop.size > own.size else 1
    renderer = Renderer(model, camera.model_copy(update={"image_size": fineness * crop.size}))
    with torch.no_grad():
        rendering = renderer(face_to_theta(face).to(model.mean)).to("cpu")
    drawn = rendering.image[0].clamp(0, 1).mul(255).permute(1, 2, 0).float().numpy()
    covered = rendering.mask[0, 0].float().numpy()
    colours, coverage = (_shrink(np.ascontiguousarray(one), crop.size) for one in (drawn, covered))
    colours = _extend_colours(colours, coverage)
    if crop.scale < 1.0:
        coverage = cv2.GaussianBlur(coverage, (0, 0), _SMOOTHING_PX)
    return FaceRendering(crop, colours, coverage)


def render_view(
    mesh: Mesh, model: MorphableModel, camera: Camera, yaw: float, size: int, light: Float[Tensor, "1 27"]
) -> UInt8[np.ndarray, "size size 3"]:
    """Render a mesh upright in the middle of a square, on a grey background.

    Args:
        mesh: on the topology of the face model. Its texture is shown, or its colours if it has none.
        model: the face model.
        camera: its focal length and its distance; the mesh is moved so that it fills the square.
        yaw: radians; positive turns the face to the right of the image.
        size: side of the square, px.
        light: R9|G9|B9, fixed to the camera; an unlit texture is shown without it.

    Returns:
        RGB.
    """
    camera = camera.model_copy(update={"image_size": _SUPERSAMPLING * size})
    vertices = torch.from_numpy(mesh.vertices)[None].to(model.mean)
    rotation = vertices.new_tensor([[0.0, yaw, 0.0]])
    turned = rotate(vertices, rotation)[0]
    low, high = turned.min(dim=0).values, turned.max(dim=0).values
    depth = camera.focal * (high - low)[:2].max() / (_FILLED * camera.image_size)
    translation = -(low + high) / 2
    translation[2] += depth - camera.distance_mm
    albedo = torch.from_numpy(mesh.colours)[None].to(model.mean)
    if mesh.texture is not None:
        albedo = torch.ones_like(albedo)
    with torch.no_grad():
        rendering = Renderer(model, camera).render(vertices, albedo, light.to(model.mean), rotation, translation[None])
    colours = rendering.image[0].permute(1, 2, 0).float().cpu().numpy()
    if mesh.texture is not None:
        texels = _sample_texture(mesh.texture, model, rendering)
        colours = texels if mesh.texture.unlit else texels * colours
    covered = rendering.mask[0, 0].cpu().numpy()[..., None] > 0
    colours = 255 * colours.clip(0, 1)
    picture = np.where(covered, colours, _BACKGROUND).astype(np.float32)
    return _shrink(picture, size).round().astype(np.uint8)


def _sample_texture(texture: Texture, model: MorphableModel, rendering: Rendering) -> Float[np.ndarray, "R R 3"]:
    """Return the colours of a texture at the pixels of a rendering, in [0, 1]."""
    # Every corner of a triangle has its own uv. In double, with z as third channel: the kernel of the texture's layout.
    screen = rendering.vertices_screen[:, model.faces.flatten()].double()
    uv = torch.from_numpy(texture.uv[texture.faces.ravel()])[None].to(screen)
    corners = torch.arange(len(uv[0]), device=screen.device).view(-1, 3).to(model.faces)
    attributes = torch.cat((uv, screen[..., 2:]), dim=-1)
    u, v, _ = interpolate(screen, attributes, corners, rendering.triangle_ids)[0].float().cpu().numpy()
    height, width = texture.image.shape[:2]
    colours = cv2.remap(
        texture.image, width * u - 0.5, height * (1 - v) - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return colours.astype(np.float32) / np.float32(255)


def _shrink(picture: Float[np.ndarray, "R R *C"], size: int) -> Float[np.ndarray, "S S *C"]:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) if len(picture) > size else picture


def _extend_colours(
    colours: Float[np.ndarray, "R R 3"], coverage: Float[np.ndarray, "R R"]
) -> Float[np.ndarray, "R R 3"]:
    """Undo the mixing of colours with black along the silhouette, and continue them past it for its smooth edge."""
    reach = (_EXTENDED_PX, _EXTENDED_PX)
    mean = cv2.blur(colours, reach) / np.maximum(cv2.blur(coverage, reach), _LEAST_COVERAGE)[..., None]
    weight = coverage[..., None]
    return np.where(weight > 0, colours / np.maximum(weight, _LEAST_COVERAGE), mean)


def _upscale_crop(crop: Crop) -> Crop:
    """Return the same crop with as many pixels as the image has there, within limits."""
    size = int(np.clip(round(crop.size / crop.scale), crop.size, max(crop.size, _MAX_RENDERING_PX)))
    return Crop(compose(resize_transform(crop.size, size), crop.matrix), size)
