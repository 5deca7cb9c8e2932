"""Poses: Euler angles there and back, and a turned picture seen by a turned head."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.focus.camera import Camera, euler_to_rotation, project, to_camera
from focus_ray.focus.pose import rotate_in_plane, rotation_to_euler

angle = st.floats(-3.1, 3.1)


@given(angle, st.floats(-1.55, 1.55), angle)
def test_angles_come_back(first: float, second: float, third: float):
    angles = torch.tensor([[first, second, third]], dtype=torch.float64)
    torch.testing.assert_close(rotation_to_euler(euler_to_rotation(angles)), angles, atol=1e-7, rtol=0)


def test_a_locked_pose_gives_the_same_rotation():
    angles = torch.tensor([[0.3, math.pi / 2, 0.5], [0.3, -math.pi / 2, 0.5]], dtype=torch.float64)
    rotation = euler_to_rotation(angles)
    torch.testing.assert_close(euler_to_rotation(rotation_to_euler(rotation)), rotation, atol=1e-7, rtol=0)


@given(st.floats(-3.1, 3.1))
def test_the_turned_pose_projects_where_the_turned_picture_shows_the_points(turn: float):
    camera = Camera(image_size=100)
    points = torch.randn(1, 7, 3, dtype=torch.float64) * 40
    rotation = torch.tensor([[0.2, -0.4, 0.1]], dtype=torch.float64)
    translation = torch.tensor([[12.0, -7.0, 5.0]], dtype=torch.float64)
    seen = project(camera, to_camera(camera, points, rotation, translation))[0, :, :2] - camera.centre
    cos, sin = math.cos(turn), math.sin(turn)
    turned_picture = seen @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64) + camera.centre
    new = rotate_in_plane(rotation, translation, torch.tensor([turn], dtype=torch.float64))
    torch.testing.assert_close(project(camera, to_camera(camera, points, *new))[0, :, :2], turned_picture)
