import numpy as np

from focus_ray.face_models.importers.carry_over import place_on_parametric_face
from focus_ray.face_models.parametric.albedo import Complexion, paint
from focus_ray.face_models.parametric.annotations import landmark_barycentrics, part_masks
from focus_ray.face_models.parametric.recipe import SPACING
from focus_ray.face_models.parametric.template import EYEBALL, SKIN, build_template


def test_the_parametric_face_is_carried_over_to_itself():
    face = build_template(SPACING["small"])
    triangles, weights = landmark_barycentrics(face)
    landmarks = np.einsum("lk,lkd->ld", weights, face.vertices[face.faces[triangles]])
    eyeballs = (face.eyeball(-1), face.eyeball(1))
    # Another position and unit: the warp takes them out.
    placed = place_on_parametric_face(face.vertices * 1.1 + [3.0, -20.0, 80.0], landmarks * 1.1 + [3.0, -20.0, 80.0],
                                      eyeballs)  # fmt: skip
    skin = face.kind == SKIN
    assert np.linalg.norm(placed.vertices - face.vertices, axis=1)[skin].max() < 1.0
    expected, found = paint(face, Complexion()), paint(placed, Complexion())
    assert np.abs(found - expected)[skin].mean() < 0.01
    for name, mask in part_masks(face).items():
        assert (part_masks(placed)[name] == mask)[skin].mean() > 0.98, name


def test_an_eyeball_that_is_a_sphere_gets_an_iris_in_front():
    face = build_template(SPACING["small"])
    triangles, weights = landmark_barycentrics(face)
    landmarks = np.einsum("lk,lkd->ld", weights, face.vertices[face.faces[triangles]])
    directions = np.random.default_rng(0).normal(size=(4000, 3))
    ball = np.array([31.0, 29.0, 4.0]) + 12.0 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    vertices = np.concatenate([face.vertices, ball])
    left = np.arange(len(vertices)) >= len(face.vertices)
    right = np.append(face.eyeball(-1), np.zeros(len(ball), bool))
    placed = place_on_parametric_face(vertices, landmarks, (right, left))
    assert (placed.kind[left] == EYEBALL).all()
    colours = paint(placed, Complexion())[left]
    across = np.hypot(*(ball - [31.0, 29.0, 4.0])[:, :2].T)
    front = ball[:, 2] > 4.0
    dark = colours.sum(axis=1) < 1.2
    assert dark[front & (across < 0.3 * 12)].mean() > 0.95  # the iris ends at 0.4 of the radius
    assert dark[front & (across > 0.5 * 12) & (across < 0.8 * 12)].mean() < 0.1  # the upper lid shades the white


def test_nostrils_are_dark():
    face = build_template(SPACING["small"])
    triangles, weights = landmark_barycentrics(face)
    landmarks = np.einsum("lk,lkd->ld", weights, face.vertices[face.faces[triangles]])
    inside = (face.kind == SKIN) & (np.hypot(face.side - 7.0, face.vertices[:, 1] + 12.0) < 3.0)
    with_nostrils = paint(place_on_parametric_face(face.vertices, landmarks, nostrils=inside), Complexion())
    without = paint(place_on_parametric_face(face.vertices, landmarks, nostrils=np.zeros_like(inside)), Complexion())
    assert inside.any()
    assert (with_nostrils[inside].sum(axis=1) < 0.3 * without[inside].sum(axis=1)).all()
    np.testing.assert_array_equal(with_nostrils[~inside], without[~inside])
