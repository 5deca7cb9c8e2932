"""Textures of faces drawn with known colours: they hold those colours, no occluder, no background, and no seam."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch

from focus_ray.data.align import resize_transform
from focus_ray.errors import ConfigError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera, projection_matrix
from focus_ray.focus.render.renderer import Renderer
from focus_ray.geometry.mesh_writer import Mesh, Texture
from focus_ray.inference.face_result import Face, FaceArrays, FaceResult, Pose, Theta, Visibility
from focus_ray.inference.texture import check_texture, face_texture, texture_meshes
from focus_ray.inference.uv_layout import TexelMap, texel_map

CROP, SIZE = 64, 256
CAMERA = Camera(image_size=CROP)
AMBIENT = 3.5449077  # coefficient of the constant harmonic for a light of 1
BLUE, GREEN = (20, 30, 250), (0, 255, 0)


@dataclass
class Portrait:
    """A picture of the mean face, and what a reconstruction of it says."""

    image: np.ndarray
    result: FaceResult
    colours: np.ndarray  # [V, 3], of the face in the picture


def pattern(model: MorphableModel) -> np.ndarray:
    """Colours that change slowly over the face, the same on both sides; red above green above blue."""
    x, y, _ = model.mean.numpy().T
    wave = 0.1 * np.sin(np.abs(x) / 11) + 0.1 * np.cos(y / 13)
    return np.column_stack([0.72 + wave, 0.55 + wave, 0.45 + wave]).astype(np.float32)


def draw(model: MorphableModel, colours: np.ndarray, yaw: float = 0.0, side: int = 384, light: float = 1.0) -> Portrait:
    """Draw the mean face before a green background; the fit has its geometry and a grey albedo."""
    rotation, translation = torch.tensor([[0.0, yaw, 0.0]]), torch.zeros(1, 3)
    sh = torch.zeros(1, 27)
    sh[0, [0, 9, 18]] = AMBIENT * light
    drawn = Renderer(model, Camera(image_size=side)).render(
        model.mean[None], torch.from_numpy(colours)[None], sh, rotation, translation
    )
    face = drawn.image[0].permute(1, 2, 0).numpy()
    covered = drawn.mask[0, 0].numpy()[..., None] > 0
    image = (255 * np.where(covered, face, np.array(GREEN) / 255)).round().clip(0, 255).astype(np.uint8)
    region = Renderer(model, CAMERA).render(model.mean[None], model.mean_albedo[None], sh, rotation, translation).mask
    region = region[0, 0].numpy() > 0
    mesh = Mesh(model.mean.numpy(), np.full_like(model.mean.numpy(), 0.5), model.faces.numpy())
    crop = np.zeros((CROP, CROP, 3), np.uint8)
    arrays = FaceArrays(
        resize_transform(side, CROP), crop, crop, region, region, region.astype(np.float32), mesh, corrected_mesh=mesh
    )
    matrix = projection_matrix(Camera(image_size=side), rotation, translation)[0].tolist()
    record = Face(
        box=(0.0, 0.0, float(side), float(side)),
        landmarks=[(0.0, 0.0)] * 68,
        pose=Pose(rotation=(0.0, yaw, 0.0), translation=(0.0, 0.0, 0.0)),
        theta=Theta(
            identity=[0.0] * 80,
            expression=[0.0] * 64,
            albedo=[0.0] * 80,
            light=sh[0].tolist(),
            camera=[0.0, yaw, 0.0, 0.0, 0.0, 0.0],
        ),
        occlusion_fraction=0.0,
        visibility=Visibility(eyes=1, brows=1, nose=1, mouth=1, cheeks=1, jaw=1),
        quality=[],
        model_version="test",
        projection=tuple(map(tuple, matrix)),
    )
    return Portrait(image, FaceResult(record, arrays), colours)


def cover(portrait: Portrait, rows: slice, columns: slice) -> Portrait:
    """Paint an occluder, given in px of the crop, which the mask knows."""
    zoom = len(portrait.image) // CROP
    image = portrait.image.copy()
    image[rows.start * zoom : rows.stop * zoom, columns.start * zoom : columns.stop * zoom] = BLUE
    arrays = portrait.result.arrays
    mask = arrays.mask.copy()
    mask[rows, columns] = False
    hidden = replace(arrays, mask=mask, soft_mask=mask.astype(np.float32))
    return Portrait(image, portrait.result._replace(arrays=hidden), portrait.colours)


def texture_of(portrait: Portrait, model: MorphableModel, **options) -> Texture:
    found = face_texture(portrait.image, portrait.result, model, CAMERA, **({"size": SIZE} | options))
    assert found is not None
    return found


def texels_of(model: MorphableModel) -> TexelMap:
    found = texel_map(model, SIZE)
    assert found is not None
    return found


def expected(portrait: Portrait, model: MorphableModel) -> np.ndarray:
    texels = texels_of(model)
    return 255 * texels.interpolate(portrait.colours[texels.layout.source]).transpose(1, 2, 0)


def front(model: MorphableModel) -> np.ndarray:
    """The texels of the skin that look forward."""
    texels = texels_of(model)
    mesh = Mesh(model.mean.numpy(), model.mean.numpy(), model.faces.numpy())
    facing = texels.interpolate(mesh.normals[texels.layout.source])[2] > 0.75
    return cv2.erode((texels.skin & facing).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def test_what_is_seen_has_the_colours_of_the_picture(small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face))
    texture = texture_of(portrait, small_face)
    assert texture.image.shape == (SIZE, SIZE, 3)
    assert texture.unlit
    error = np.abs(texture.image - expected(portrait, small_face))[front(small_face)]
    assert front(small_face).mean() > 0.1
    assert error.max() < 3


@pytest.mark.parametrize("yaw", [0.0, 0.6])
def test_no_background_gets_into_it(yaw: float, small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face), yaw)
    texture = texture_of(portrait, small_face)
    red, green, _ = np.moveaxis(texture.image.astype(int), -1, 0)
    assert (green - red)[texels_of(small_face).covered].max() <= 4


def test_an_occluder_does_not_get_into_it_and_the_other_side_takes_its_place(small_face: MorphableModel):
    portrait = cover(draw(small_face, pattern(small_face)), slice(36, 50), slice(12, 24))
    texture = texture_of(portrait, small_face)
    red, _, blue = np.moveaxis(texture.image.astype(int), -1, 0)
    assert (blue - red)[texels_of(small_face).covered].max() <= 4
    error = np.abs(texture.image - expected(portrait, small_face))[front(small_face)]
    assert error.mean() < 2.5
    assert np.percentile(error, 99) < 12


def test_what_no_side_shows_has_the_fitted_colours_in_the_tone_of_the_picture(small_face: MorphableModel):
    plain = np.broadcast_to(np.float32([0.7, 0.6, 0.5]), small_face.mean.shape).copy()
    portrait = cover(draw(small_face, plain), slice(36, CROP), slice(0, CROP))
    texture = texture_of(portrait, small_face)
    error = np.abs(texture.image - 255 * np.array([0.7, 0.6, 0.5]))[texels_of(small_face).covered]
    assert error.max() < 12


def test_a_turned_face_has_its_hidden_side_from_the_other(small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face), 0.7)
    texture = texture_of(portrait, small_face)
    error = np.abs(texture.image - expected(portrait, small_face))[front(small_face)]
    assert error.mean() < 3
    assert np.percentile(error, 98) < 20


def test_a_small_island_on_an_eye_is_no_occluder(small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face))
    eye = small_face.mean.numpy()[small_face.parts["eyes"].numpy()]
    matrix = np.array(portrait.result.face.projection)
    u, v, w = matrix @ np.append(eye[eye[:, 0] > 0].mean(axis=0), 1.0)
    column, row = int(u / w / 6), int(v / w / 6)
    spots = {}
    for name, (rows, columns) in {"eye": (row, column), "cheek": (row + 9, column)}.items():
        one = cover(portrait, slice(rows - 1, rows + 1), slice(columns - 1, columns + 1))
        red, _, blue = np.moveaxis(texture_of(one, small_face).image.astype(int), -1, 0)
        spots[name] = ((blue - red) > 40).sum()
    assert spots["eye"] > 10, "the picture shows what the model cannot express"
    assert spots["cheek"] == 0


def test_the_albedo_has_no_light(small_face: MorphableModel):
    plain = np.full(small_face.mean.shape, 0.5, np.float32)
    portrait = draw(small_face, plain, light=0.6)
    texture = texture_of(portrait, small_face, kind="albedo")
    assert not texture.unlit
    assert np.abs(texture.image[front(small_face)] - 127.5).max() < 6
    assert np.abs(texture_of(portrait, small_face).image[front(small_face)] - 0.6 * 127.5).max() < 6


def test_a_large_picture_is_averaged(small_face: MorphableModel):
    portrait = draw(small_face, np.full(small_face.mean.shape, 0.5, np.float32), side=1536)
    noise = np.random.default_rng(0).integers(-90, 91, (*portrait.image.shape[:2], 1))
    noisy = replace(portrait, image=(portrait.image + noise).clip(0, 255).astype(np.uint8))
    found = texture_of(noisy, small_face).image[front(small_face)].astype(float)
    assert found.std() < 0.35 * noise.std()


def test_a_face_at_the_edge_of_the_picture_is_completed(small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face))
    half = replace(portrait, image=np.ascontiguousarray(portrait.image[:, :200]))
    error = np.abs(texture_of(half, small_face).image - expected(portrait, small_face))[front(small_face)]
    assert error.mean() < 3
    outside = replace(portrait, image=np.ascontiguousarray(portrait.image[:20, :20]))
    assert texture_of(outside, small_face).image.std() < 60


def test_the_same_face_has_the_same_texture(small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face), 0.3)
    first, second = (texture_of(portrait, small_face) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)


def test_both_meshes_have_it_or_none(small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face))
    textured = texture_meshes(portrait.image, portrait.result, small_face, CAMERA, size=128)
    assert textured.mesh.texture is not None
    assert textured.corrected_mesh is not None
    assert textured.corrected_mesh.texture is textured.mesh.texture
    assert textured.mesh.texture.faces.shape == small_face.faces.shape
    same = texture_meshes(portrait.image, portrait.result, small_face, CAMERA, "none")
    assert same is portrait.result.arrays


def test_wrong_options_are_config_errors(small_face: MorphableModel):
    portrait = draw(small_face, pattern(small_face))
    with pytest.raises(ConfigError, match="choose from photo, albedo, none"):
        check_texture("grey")
    with pytest.raises(ConfigError, match="100 px"):
        face_texture(portrait.image, portrait.result, small_face, CAMERA, size=100)
    face = portrait.result.face.model_copy(update={"projection": None})
    with pytest.raises(ConfigError, match="no projection"):
        face_texture(portrait.image, portrait.result._replace(face=face), small_face, CAMERA)
