"""The displacement fields and the noise: symmetry, the hinge, the lids and the eyeballs."""

import numpy as np
import pytest

from focus_ray.face_models.parametric.expression import EXPRESSIONS
from focus_ray.face_models.parametric.fields import Blink, Gaze, Jaw, Push, evaluate_fields, jaw_weight
from focus_ray.face_models.parametric.identity import IDENTITY
from focus_ray.face_models.parametric.modes import Noise, noise_columns, principal_modes, remove_rigid_motion
from focus_ray.face_models.parametric.surface import base_surface, to_chart
from focus_ray.face_models.parametric.template import EYEBALL, SKIN, Template, build_template

MIRROR = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def face() -> Template:
    return build_template(2.2)


def _mirrored(face: Template) -> np.ndarray:
    """The vertex opposite to each vertex: same kind and row, x negated."""
    key = np.column_stack([face.vertices, 1e3 * face.kind, 1e3 * face.lip])
    order = {tuple(np.round(row, 5) + 0.0): i for i, row in enumerate(key)}
    return np.array([order[tuple(np.round(row * [-1, 1, 1, 1, 1], 5) + 0.0)] for row in key])


def test_chart_inverts_the_surface() -> None:
    x, y = np.array([0.0, 20.0, 45.0, 60.0]), np.array([60.0, 30.0, -20.0, -40.0])
    back_x, back_y, _ = base_surface(*to_chart(x, y))
    np.testing.assert_allclose([back_x, back_y], [x, y], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in IDENTITY if not name.startswith(("left", "right"))])
def test_two_sided_identity_is_symmetric(face: Template, name: str) -> None:
    field = evaluate_fields(IDENTITY[name], face)
    np.testing.assert_allclose(field[_mirrored(face)], field * MIRROR, atol=1e-9)
    assert np.linalg.norm(field, axis=1).max() > 0.3


def test_left_and_right_expressions_are_mirrors(face: Template) -> None:
    opposite = _mirrored(face)
    for name, expression in EXPRESSIONS.items():
        if name.startswith("left "):
            left = evaluate_fields(expression.fields, face)
            right = evaluate_fields(EXPRESSIONS[name.replace("left", "right")].fields, face)
            np.testing.assert_allclose(left[opposite], right * MIRROR, atol=1e-9)


def test_jaw_parts_the_touching_lips(face: Template) -> None:
    field = Jaw(open_degrees=5.0)(face)
    middle = face.side < 12
    upper, lower = field[middle & (face.lip == 1), 1], field[middle & (face.lip == -1), 1]
    assert np.abs(upper).max() < 0.2
    assert lower.max() < -5
    weight = jaw_weight(face)
    assert weight.min() >= 0
    assert weight.max() <= 1


def test_blink_closes_the_lid_over_the_eyeball(face: Template) -> None:
    field = Blink(1.0)(face)
    closed = face.vertices + field
    rim = face.lid_rim(1)
    opening = np.ptp(face.vertices[rim, 1])
    assert np.ptp(closed[rim, 1]) < 0.65 * opening
    assert np.abs(field[face.vertices[:, 1] < 15]).max() < 0.05


def test_gaze_turns_only_the_eyeballs(face: Template) -> None:
    field = Gaze(left=10.0)(face)
    assert np.abs(field[face.kind != EYEBALL]).max() == 0
    assert field[face.kind == EYEBALL, 0].mean() > 1


def test_push_moves_outwards_on_both_sides(face: Template) -> None:
    field = Push((40.0, 0.0), (10.0, 10.0), (1.0, 0.0, 0.0))(face)
    x = face.vertices[:, 0]
    assert (field[:, 0] * np.sign(x) >= 0).all()


def test_noise_has_its_amplitude(face: Template) -> None:
    even, odd = noise_columns(Noise(30.0, 2.0, 0.8), face)
    variance = (even**2).sum(1) + (odd**2).sum(1)
    assert np.sqrt(variance.mean()) == pytest.approx(2.0, rel=1e-6)
    assert np.sqrt((odd**2).sum(1).mean()) == pytest.approx(1.2, rel=1e-6)


def test_rigid_motions_are_removed(face: Template) -> None:
    x, y, _ = face.vertices.T
    turn = np.column_stack([-y, x, np.zeros_like(x)])
    (rest,) = remove_rigid_motion([turn + np.array([1.0, 2.0, 3.0])], face.vertices)
    assert np.abs(rest).max() < 1e-9


def test_principal_modes_have_the_columns_covariance() -> None:
    fields = list(np.random.default_rng(0).normal(size=(4, 6, 3)))
    modes = principal_modes(fields, 4, "test").reshape(4, -1)
    columns = np.stack(fields).reshape(4, -1)
    np.testing.assert_allclose(modes.T @ modes, columns.T @ columns, atol=1e-10)


def test_iris_is_in_front_of_the_eyeballs_rim_and_behind_no_skin(face: Template) -> None:
    for sign in (-1, 1):
        ball = face.vertices[face.eyeball(sign)]
        centre = ball[np.linalg.norm(ball[:, :2] - [31.2 * sign, 29.2], axis=1).argmin()]
        assert centre[2] == pytest.approx(ball[:, 2].max())
        skin = face.vertices[face.kind == SKIN]
        inside = np.linalg.norm(skin[:, :2] - centre[:2], axis=1) < 4.0
        assert not inside.any()
