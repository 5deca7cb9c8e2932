"""Pose and projection: known values of the released code's camera, and properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from focus_ray.focus.camera import Camera, euler_to_rotation, project, to_camera

angle = st.floats(-math.pi, math.pi)


def screen(camera, point, rotation=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 0.0)):
    def row(values):
        return torch.tensor([values], dtype=torch.float64)

    return project(camera, to_camera(camera, row([point]), row(rotation), row(translation)))[0, 0].tolist()


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.0, 0.0, 0.0), (111.5, 111.5, 1000.0)),
        ((10.0, 0.0, 0.0), (121.6472, 111.5, 1000.0)),
        ((0.0, 10.0, 0.0), (111.5, 101.3528, 1000.0)),
        ((0.0, 0.0, 50.0), (111.5, 111.5, 950.0)),
    ],
)
def test_zero_pose_projects_to_known_pixels(point, expected):
    assert screen(Camera(), point) == pytest.approx(expected, abs=1e-9)


def test_translation_moves_in_camera_axes():
    u, v, z = screen(Camera(), (0.0, 0.0, 0.0), translation=(10.0, 10.0, 14.72))
    assert (u, v, z) == pytest.approx((121.5, 121.5, 1014.72))


def test_small_images_show_the_same_view():
    small, large = Camera(image_size=64), Camera()
    assert small.focal == pytest.approx(289.92)
    assert small.centre == 31.5
    point = (31.0, 29.0, 13.0)
    for near, far in zip(screen(small, point)[:2], screen(large, point)[:2], strict=True):
        # pixel edges, not centres, scale by the ratio of the sizes
        assert (near + 0.5) * 224 / 64 == pytest.approx(far + 0.5)


@pytest.mark.parametrize(
    ("angles", "point", "expected"),
    [
        # about x: up turns out of the face (towards the camera: -z)
        ((math.pi / 2, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
        # about y: out of the face turns to image right
        ((0.0, math.pi / 2, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
        # about z: right turns up, which is -y in the camera
        ((0.0, 0.0, math.pi / 2), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    ],
)
def test_quarter_turns(angles, point, expected):
    rotation = euler_to_rotation(torch.tensor([angles], dtype=torch.float64))[0]
    assert (rotation @ torch.tensor(point, dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.tuples(angle, angle, angle))
def test_rotation_equals_the_product_of_elementary_rotations(angles):
    (c1, c2, c3), (s1, s2, s3) = [math.cos(a) for a in angles], [math.sin(a) for a in angles]
    about_x = torch.tensor([[1, 0, 0], [0, c1, -s1], [0, s1, c1]], dtype=torch.float64)
    about_y = torch.tensor([[c2, 0, s2], [0, 1, 0], [-s2, 0, c2]], dtype=torch.float64)
    about_z = torch.tensor([[c3, -s3, 0], [s3, c3, 0], [0, 0, 1]], dtype=torch.float64)
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    rotation = euler_to_rotation(torch.tensor([angles], dtype=torch.float64))[0]
    torch.testing.assert_close(rotation, flip @ about_x @ about_y @ about_z, rtol=0, atol=1e-12)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.det(rotation).item() == pytest.approx(1)


def test_gradients():
    def landmarks(vertices, rotation, translation):
        camera = Camera(image_size=64)
        return project(camera, to_camera(camera, vertices, rotation, translation))

    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((2, 5, 3), (2, 3), (2, 3))]
    assert torch.autograd.gradcheck(landmarks, [tensor.requires_grad_() for tensor in inputs])


def test_a_point_in_the_camera_plane_stays_finite():
    points = torch.zeros(1, 2, 3, requires_grad=True)
    screen_points = project(Camera(), points)
    screen_points.sum().backward()
    assert points.grad is not None
    assert screen_points.isfinite().all()
    assert points.grad.isfinite().all()


def test_camera_refuses_nonsense():
    with pytest.raises(ValidationError):
        Camera(image_size=0)
    with pytest.raises(ValidationError):
        Camera(focal=3.0)  # pyright: ignore[reportCallIssue]
