"""Renderings for a picture have its resolution; views of a head are turned, centred and filled."""

from dataclasses import replace
from math import radians

import numpy as np
import pytest
import torch

from focus_ray.focus.parameters import split_theta
from focus_ray.geometry.mesh_writer import Texture
from focus_ray.inference import Reconstructor
from focus_ray.inference.face_rendering import render_face, render_view
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.reconstructor import face_to_theta
from focus_ray.model import Model


@pytest.fixture
def face(reconstructor: Reconstructor, portrait: np.ndarray) -> FaceResult:
    (face,) = reconstructor.reconstruct(portrait, refine=0)
    return face


@pytest.mark.parametrize(("zoom", "side"), [(1.0, 32), (2.0, 32), (0.25, 128), (0.01, 512)])
def test_a_rendering_has_the_resolution_of_the_picture_within_limits(
    zoom: float, side: int, face: FaceResult, untrained: Model
):
    transform = np.array([[zoom, 0.0, 0.0], [0.0, zoom, 0.0]])
    scaled = face._replace(arrays=replace(face.arrays, transform=transform))
    found = render_face(scaled, untrained.focus.face_model, untrained.settings.camera)
    assert found.coverage.shape == (side, side)
    assert found.colours.shape == (side, side, 3)
    assert found.crop.scale == pytest.approx(zoom * side / 32)
    assert found.coverage.mean() == pytest.approx(face.arrays.region.mean(), rel=0.05)
    if side == 32:
        np.testing.assert_array_equal(found.coverage, face.arrays.region)
        inside = face.arrays.region
        assert np.abs(found.colours - face.arrays.rendering)[inside].max() <= 0.6
    assert found.colours[found.coverage > 0].min() > 20  # no black is mixed in beside the silhouette


def test_a_head_fills_its_view_and_turns(face: FaceResult, untrained: Model):
    model, camera = untrained.focus.face_model, untrained.settings.camera
    light = split_theta(face_to_theta(face.face)).light
    views = {
        degrees: render_view(face.arrays.mesh, model, camera, radians(degrees), 96, light) for degrees in (-35, 0, 35)
    }
    for view in views.values():
        assert view.shape == (96, 96, 3)
        head = (view != 225).any(axis=2)
        rows, columns = np.nonzero(head)
        assert 0.85 * 96 < np.ptp(rows) + 1 < 96
        assert abs(rows.min() + rows.max() - 95) <= 2
        assert abs(columns.min() + columns.max() - 95) <= 6
        assert head.mean() > 0.3
    nose = {degrees: _nose_column(face, degrees) for degrees in views}
    assert nose[-35] < nose[0] < nose[35]
    assert not np.array_equal(views[-35], views[35])


def _nose_column(face: FaceResult, degrees: float) -> float:
    """x of the point that is nearest to the camera in the frontal view, turned like the view's yaw."""
    vertices = face.arrays.mesh.vertices - face.arrays.mesh.vertices.mean(axis=0)
    tip = vertices[vertices[:, 2].argmax()]
    return float(np.cos(radians(degrees)) * tip[0] + np.sin(radians(degrees)) * tip[2])


def test_a_view_has_the_colours_of_the_mesh_in_the_light(face: FaceResult, untrained: Model):
    model, camera = untrained.focus.face_model, untrained.settings.camera
    mesh = replace(face.arrays.mesh, colours=np.full_like(face.arrays.mesh.colours, 0.5))
    light = torch.zeros(1, 27)
    light[:, [0, 9, 18]] = torch.tensor([1.0, 0.5, 0.25]) * 2 * np.sqrt(np.pi)  # constant over the normals
    view = render_view(mesh, model, camera, 0.0, 64, light)
    np.testing.assert_allclose(view[32, 32], [127, 64, 32], atol=1.5)
    assert view[0, 0].tolist() == [225, 225, 225]


@pytest.mark.parametrize("unlit", [True, False])
def test_a_texture_replaces_the_colours(unlit: bool, face: FaceResult, untrained: Model):
    model, camera = untrained.focus.face_model, untrained.settings.camera
    mesh = face.arrays.mesh
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    uv = ((mesh.vertices - low) / (high - low))[:, :2].astype(np.float32)
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32] = (200, 40, 40)  # the first rows are those of large v: the upper half of the face
    image[32:] = (40, 40, 200)
    textured = replace(mesh, texture=Texture(image, uv, mesh.faces, unlit=unlit))
    light = torch.zeros(1, 27)
    light[:, [0, 9, 18]] = float(np.sqrt(np.pi))  # a half over all normals
    view = render_view(textured, model, camera, 0.0, 64, light)
    strength = 1.0 if unlit else 0.5
    np.testing.assert_allclose(view[20, 32], strength * np.array([200, 40, 40]), atol=1.5)
    np.testing.assert_allclose(view[44, 32], strength * np.array([40, 40, 200]), atol=1.5)
