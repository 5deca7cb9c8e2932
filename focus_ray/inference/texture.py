"""The texture of a reconstructed face: the visible pixels of its photograph, completed by symmetry and by the fit.

Three layers are blended, each where those above it are not visible: the photograph; the photograph of the mirrored
place, with the fitted light of its own place; the fitted colours. The difference of a layer to the one below is
continued smoothly where the layer ends: tone changes slowly, and no seam is seen. Occluded pixels have no weight.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from focus_ray.data.align import compose, transform_points
from focus_ray.errors import ConfigError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera, rotate
from focus_ray.focus.render.rasterize import interpolate, rasterize
from focus_ray.focus.render.shading import shade
from focus_ray.geometry.mesh_writer import Texture
from focus_ray.inference.face_result import FaceArrays, FaceResult
from focus_ray.inference.matte import face_matte
from focus_ray.inference.pyramid_fill import fill
from focus_ray.inference.uv_layout import TexelMap, texel_map

TextureKind = Literal["photo", "albedo", "none"]
"""photo: with its light; albedo: the fitted albedo with the fine structures of the photograph; none: no texture."""
TEXTURE_KINDS: tuple[TextureKind, ...] = get_args(TextureKind)

TEXTURE_SIZE = 512  # px; of the skin about 2 texels to a mm
_SIZES = (128, 256, 512, 1024, 2048)

# Cosine of the angle between normal and view up to which a texel has no weight, and from which it has all.
_GRAZING, _FACING = 0.3, 0.65
_MASK_RAMP = (0.5, 0.85)  # the same of the soft mask
_MASK_MARGIN = 1 / 64  # of the crop's side, at the mask's edge: pixels of the occluder that the mask misses
_MASK_SIDE = 256  # px: longer side of the view that the mask is computed for
_FEATURES = ("eyes", "nose", "mouth")
_FEATURE_AREA = 0.02  # of the region: the largest island of outliers that is taken for such a feature
_EDGE_PX = 1.5  # px of the picture at its edge that have no weight
_DEPTH_SIDE = 320  # px: longer side of the depth map
_DEPTH_MM = 2.0  # a texel so much behind the nearest surface is not visible
_DEPTH_REACH = 2.0  # px of the depth map: reach of its minimum, and slack of its place
_JUMP_MM, _JUMP_REACH = 12.0, 4  # a step in depth, and px of the depth map beside it that may show what is behind
_FAR_MM = 1e9
_NO_MAP = np.empty(0, np.float32)  # OpenCV's second map, which a map of pairs has not
_RELIGHT = (0.7, 1.4)  # limits of the ratio of the light at a place to that at its mirror image
_LEAST_LIGHT = 0.25  # nothing is divided by less
_LIGHT_RANGE = (3.0, 97.0)  # percentiles of the light on what is seen; the fit does not know it for other normals
_DETAIL = (
    1 / 32
)  # of the texture's side: the albedo has coarser structures from the fit, finer ones from the photograph


@dataclass(frozen=True, eq=False)
class _View:
    """The part of the photograph around a face, at about one pixel per texel.

    Attributes:
        image: RGB, 0 to 255.
        matrix: from px of the picture to px of this image.
    """

    image: UInt8[np.ndarray, "h w 3"]
    matrix: Float[np.ndarray, "2 3"]


@dataclass(frozen=True, eq=False)
class _Geometry:
    """The fitted mesh in the photograph.

    Attributes:
        vertices: x, y [px of the picture] and depth [mm].
        cosine: between normal and direction to the camera.
        light: fitted RGB light at the vertices.
        mm_per_px: of the picture, at the distance of the face.
    """

    vertices: Float[np.ndarray, "V 3"]
    cosine: Float[np.ndarray, " V"]
    light: Float[np.ndarray, "V 3"]
    mm_per_px: float


def check_texture(kind: str) -> None:
    """Check a kind of texture.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in TEXTURE_KINDS:
        raise ConfigError(f"there is no texture {kind!r}; choose from {', '.join(TEXTURE_KINDS)}")


def texture_meshes(
    image: UInt8[np.ndarray, "H W 3"],
    result: FaceResult,
    model: MorphableModel,
    camera: Camera,
    kind: TextureKind = "photo",
    size: int = TEXTURE_SIZE,
) -> FaceArrays:
    """Texture the meshes of a face.

    Args:
        image: the picture that the face was reconstructed from, upright RGB.
        result: the face.
        model: the face model that fitted it.
        camera: the camera of the crop.
        kind: of the texture.
        size: side of the texture, px: 128, 256, 512, 1024 or 2048.

    Returns:
        The arrays of the face with textured meshes; unchanged if `kind` is none or the uv of the face model unfold no
        surface.

    Raises:
        ConfigError: there is no such kind or size.
    """
    check_texture(kind)
    texture = None if kind == "none" else face_texture(image, result, model, camera, kind, size)
    if texture is None:
        return result.arrays
    corrected = result.arrays.corrected_mesh
    return replace(
        result.arrays,
        mesh=replace(result.arrays.mesh, texture=texture),
        corrected_mesh=None if corrected is None else replace(corrected, texture=texture),
    )


def face_texture(
    image: UInt8[np.ndarray, "H W 3"],
    result: FaceResult,
    model: MorphableModel,
    camera: Camera,
    kind: Literal["photo", "albedo"] = "photo",
    size: int = TEXTURE_SIZE,
) -> Texture | None:
    """Compute the texture of a face from its photograph.

    Args:
        image: the picture that the face was reconstructed from, upright RGB.
        result: the face.
        model: the face model that fitted it.
        camera: the camera of the crop.
        kind: whether the light of the photograph stays in the texture, which is then unlit, or is removed.
        size: side of the texture, px: 128, 256, 512, 1024 or 2048.

    Returns:
        The texture; None if the uv of the face model unfold no surface.

    Raises:
        ConfigError: there is no such size, or the face has no projection.
    """
    if size not in _SIZES:
        raise ConfigError(f"a texture of {size} px is not supported; choose from {', '.join(map(str, _SIZES))}")
    texels = texel_map(model, size)
    if texels is None:
        return None
    layout, mesh = texels.layout, result.arrays.mesh
    geometry = _place_mesh(result)
    view = _photo_view(image, geometry, mesh.faces, texels)
    attributes = [
        transform_points(view.matrix, geometry.vertices[:, :2]),
        geometry.vertices[:, 2:],
        geometry.cosine[:, None],
        geometry.light,
    ]
    found = texels.interpolate(np.hstack([*attributes, mesh.colours])[layout.source]).astype(np.float32)
    place, depth, cosine = np.ascontiguousarray(found[:2].transpose(1, 2, 0)), found[2], found[3]
    light, albedo = (np.ascontiguousarray(one.transpose(1, 2, 0)) for one in (found[4:7], found[7:10]))
    weights = _smoothstep(cosine, _GRAZING, _FACING) * texels.covered
    weights *= _depth_weights(view, geometry, mesh.faces, place, depth, cosine)
    weights *= _remap(_mask_weights(image, view, geometry, result, model, camera), place, 0.0)
    photo = _remap(view.image, place).astype(np.float32) / 255.0
    colours = _blend(photo, weights, albedo * light, light, texels)
    covered = texels.covered.astype(np.float32)
    colours = fill(colours, covered)  # past the chart's border, for interpolation
    if kind == "albedo":
        colours = _remove_light(colours, fill(albedo, covered), light[weights > 0.5], texels)
    uint8 = (colours.clip(0, 1) * 255).round().astype(np.uint8)
    return Texture(uint8, layout.uv, layout.faces, unlit=kind == "photo")


def _place_mesh(result: FaceResult) -> _Geometry:
    face, mesh = result.face, result.arrays.mesh
    if face.projection is None:
        raise ConfigError("the face has no projection, which the texture requires; reconstruct it again")
    projection = np.array(face.projection)
    vertices, normals = mesh.vertices.astype(np.float64), mesh.normals
    homogeneous = vertices @ projection[:, :3].T + projection[:, 3]
    towards = -np.linalg.solve(projection[:, :3], projection[:, 3]) - vertices  # from the vertices to the camera
    cosine = (normals * towards).sum(axis=1) / np.linalg.norm(towards, axis=1)
    theta = face.theta
    rotated = rotate(torch.from_numpy(normals)[None], torch.tensor([theta.camera[:3]], dtype=torch.float64))
    light = shade(torch.ones_like(rotated), rotated, torch.tensor([theta.light], dtype=torch.float64))
    light = light[0].numpy()
    seen = light[cosine > _FACING] if (cosine > _FACING).any() else light
    light = light.clip(*np.percentile(np.maximum(seen, _LEAST_LIGHT), _LIGHT_RANGE, axis=0))
    depth = homogeneous[:, 2:]
    across, _, forwards = projection[:, :3]  # f r1 + cx r3, and r3 of the camera's rotation
    focal = np.linalg.norm(across - (across @ forwards) * forwards)
    mm_per_px = float(np.median(depth) / focal)
    return _Geometry(np.hstack([homogeneous[:, :2] / depth, depth]), cosine, light, mm_per_px)


def _photo_view(image: UInt8[np.ndarray, "H W 3"], geometry: _Geometry, faces: np.ndarray, texels: TexelMap) -> _View:
    """Cut the face out of the photograph, and shrink it by areas to about one pixel per texel if it is larger."""
    height, width = image.shape[:2]
    places = geometry.vertices[:, :2]
    low = np.floor(places.min(axis=0) - 4).clip(0, [width - 1, height - 1]).astype(int)
    high = np.ceil(places.max(axis=0) + 5).clip(low + 1, [width, height]).astype(int)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    window = image[top:bottom, left:right]
    facing = (geometry.cosine[faces] > _FACING).all(axis=1)
    in_photo, in_texture = _area(places[faces[facing]]), _area(texels.layout.uv[texels.layout.faces[facing]])
    density = np.sqrt(in_photo / max(in_texture, 1e-9)) / texels.size  # px per texel
    size = [right - left, bottom - top]
    columns, rows = [max(1, round(side / max(1.0, density))) for side in size]
    if (columns, rows) != tuple(size):
        window = cv2.resize(window, (columns, rows), interpolation=cv2.INTER_AREA)
    ratio = np.array([columns, rows]) / size
    matrix = np.hstack([np.diag(ratio), (ratio * (0.5 - low) - 0.5)[:, None]])
    return _View(np.ascontiguousarray(window), matrix)


def _area(corners: Float[np.ndarray, "F 3 2"]) -> float:
    first, second = (corners[:, corner] - corners[:, 0] for corner in (1, 2))
    return float(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2)


def _depth_weights(
    view: _View,
    geometry: _Geometry,
    faces: np.ndarray,
    place: Float[np.ndarray, "T T 2"],
    depth: Float[np.ndarray, "T T"],
    cosine: Float[np.ndarray, "T T"],
) -> Float[np.ndarray, "T T"]:
    """Return 1 for texels that no other part of the face hides in the photograph, falling to 0 behind the surface.

    Also 0 beside steps in depth, as at the contour of the nose: the fitted contour is not exactly that of the picture.
    """
    height, width = view.image.shape[:2]
    zoom = _DEPTH_SIDE / max(height, width)
    rows, columns = max(1, round(height * zoom)), max(1, round(width * zoom))
    ratio = np.array([columns / width, rows / height])
    scaled = (transform_points(view.matrix, geometry.vertices[:, :2]) + 0.5) * ratio - 0.5
    screen = torch.from_numpy(np.column_stack([scaled, geometry.vertices[:, 2]]))[None]
    triangles = torch.from_numpy(faces)
    ids = rasterize(screen, triangles, rows, columns, cull_back=True)
    surface = interpolate(screen, screen, triangles, ids)[0, 2].numpy()  # three channels, as the layout: one kernel
    surface = np.where(ids[0].numpy() >= 0, surface, _FAR_MM).astype(np.float32)
    side = 2 * round(_DEPTH_REACH) + 1
    nearest = cv2.erode(surface, np.ones((side, side), np.uint8), borderValue=_FAR_MM)
    there = ((place + 0.5) * ratio - 0.5).astype(np.float32)
    found = cv2.remap(nearest, there, _NO_MAP, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=_FAR_MM)
    pixel = geometry.mm_per_px / (zoom * view.matrix[0, 0])
    slope = np.sqrt(1.0 - cosine.clip(0.05, 1.0) ** 2) / cosine.clip(0.05, 1.0)
    behind = depth - found - 2 * _DEPTH_REACH * pixel * slope
    beside = np.ones((2 * _JUMP_REACH + 1, 2 * _JUMP_REACH + 1), np.uint8)
    smooth = (cv2.dilate(surface, beside, borderValue=0.0) - surface < _JUMP_MM).astype(np.float32)
    smooth = cv2.GaussianBlur(smooth, (0, 0), _JUMP_REACH / 2) * smooth
    return (1.0 - behind / _DEPTH_MM).clip(0.0, 1.0) * _remap(smooth, there, 0.0)


def _mask_weights(
    image: UInt8[np.ndarray, "H W 3"],
    view: _View,
    geometry: _Geometry,
    result: FaceResult,
    model: MorphableModel,
    camera: Camera,
) -> Float[np.ndarray, "h w"]:
    """Return 1 where the mask is sure that the view shows the face, 0 near its edge and at the edge of the picture."""
    height, width = view.image.shape[:2]
    zoom = min(1.0, _MASK_SIDE / max(height, width))
    columns, rows = max(1, round(width * zoom)), max(1, round(height * zoom))
    ratio = np.array([columns / width, rows / height])
    shrunk = compose(np.hstack([np.diag(ratio), (ratio / 2 - 0.5)[:, None]]), view.matrix)
    small = cv2.resize(view.image, (columns, rows), interpolation=cv2.INTER_AREA)
    transform = compose(result.arrays.transform, cv2.invertAffineTransform(shrunk))
    soft_mask = _keep_features(result.arrays, geometry, model)
    of_view = result._replace(arrays=replace(result.arrays, transform=transform, soft_mask=soft_mask))
    matte = face_matte(small, of_view, model, camera)
    mask = np.zeros((rows, columns), np.float32)
    mask[matte.window] = _smoothstep(matte.soft_mask, *_MASK_RAMP)
    margin = _MASK_MARGIN * len(soft_mask) / np.sqrt(abs(np.linalg.det(transform[:, :2])))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(margin) + 1, 2 * round(margin) + 1))
    mask = cv2.erode(mask, disk, borderValue=1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), max(margin / 2, 0.5)) * mask  # never more than before
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) * _inside(image, view)


def _keep_features(arrays: FaceArrays, geometry: _Geometry, model: MorphableModel) -> Float[np.ndarray, "S S"]:
    """Return the soft mask with small islands of outliers on eyes, nose and mouth taken for face.

    The mask excludes what the face model cannot express, such as an iris, teeth or nostrils of another shape. An island
    is small and does not reach the silhouette; occluders are larger or do.
    """
    region = arrays.region
    outliers = (region & ~arrays.mask).astype(np.uint8)
    count, labels = cv2.connectedComponents(outliers, connectivity=8)
    if count == 1:
        return arrays.soft_mask
    places = transform_points(arrays.transform, geometry.vertices[:, :2])
    screen = torch.from_numpy(np.column_stack([places, geometry.vertices[:, 2]]))[None]
    faces = model.faces.cpu()
    ids = rasterize(screen, faces, *region.shape, cull_back=True)[0]
    features = torch.stack([model.parts[name].cpu() for name in _FEATURES]).any(dim=0)[faces].any(dim=1)
    on_features = (features[ids.clamp_min(0)] & (ids >= 0)).numpy()
    beside = cv2.dilate((~region).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    area, shared, open_ = (np.bincount(labels[where], minlength=count) for where in (labels >= 0, on_features, beside))
    kept = (area <= _FEATURE_AREA * region.sum()) & (2 * shared >= area) & (open_ == 0)
    kept[0] = False
    near = cv2.dilate(kept[labels].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.where(near & (kept[labels] | (outliers == 0)) & region, np.float32(1.0), arrays.soft_mask)


def _inside(image: UInt8[np.ndarray, "H W 3"], view: _View) -> Float[np.ndarray, "h w"]:
    """Return 0 for the pixels of the view at the edge of the picture, else 1."""
    x, y = (
        (np.arange(n) - view.matrix[axis, 2]) / view.matrix[axis, axis]
        for axis, n in enumerate(view.image.shape[1::-1])
    )
    columns, rows = ((at > _EDGE_PX) & (at < n - 1 - _EDGE_PX) for at, n in ((x, image.shape[1]), (y, image.shape[0])))
    return (rows[:, None] & columns).astype(np.float32)


def _blend(
    photo: Float[np.ndarray, "T T 3"],
    weights: Float[np.ndarray, "T T"],
    fitted: Float[np.ndarray, "T T 3"],
    light: Float[np.ndarray, "T T 3"],
    texels: TexelMap,
) -> Float[np.ndarray, "T T 3"]:
    """Complete the visible texels of the photograph by their mirror images, and those by the fitted colours."""
    mirror, mirrored_light = _remap(photo, texels.mirror), _remap(light, texels.mirror)
    brightness, mirrored_brightness = (np.maximum(one.mean(axis=2), _LEAST_LIGHT) for one in (light, mirrored_light))
    relight = (brightness / mirrored_brightness).clip(*_RELIGHT)[..., None]
    mirrored_weights = _remap(weights, texels.mirror, 0.0)
    below = fitted + fill(mirror * relight - fitted, mirrored_weights)
    return below + fill(photo - below, weights)


def _remove_light(
    colours: Float[np.ndarray, "T T 3"],
    albedo: Float[np.ndarray, "T T 3"],
    light: Float[np.ndarray, "N 3"],
    texels: TexelMap,
) -> Float[np.ndarray, "T T 3"]:
    """Return the albedo: of the skin the fitted one with the fine structures of the photograph.

    Args:
        colours: with light.
        albedo: the fitted one.
        light: on the texels that are seen.
        texels: the layout.
    """
    mean = np.maximum(light.mean(axis=0), _LEAST_LIGHT) if len(light) else np.ones(3, np.float32)
    sigma = _DETAIL * texels.size
    evened = cv2.GaussianBlur(albedo, (0, 0), sigma) + (colours - cv2.GaussianBlur(colours, (0, 0), sigma)) / mean
    others = cv2.dilate((texels.covered & ~texels.skin).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.where((others & ~texels.skin)[..., None], colours / mean, evened)


def _remap(values: np.ndarray, place: Float[np.ndarray, "T T 2"], outside: float | None = None) -> np.ndarray:
    """Sample an image bilinearly; outside of it the nearest pixel, or a value."""
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    return cv2.remap(values, place, _NO_MAP, cv2.INTER_LINEAR, borderMode=border, borderValue=outside or 0.0)


def _smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    share = ((values - low) / (high - low)).clip(0.0, 1.0)
    return (share * share * (3.0 - 2.0 * share)).astype(np.float32)
