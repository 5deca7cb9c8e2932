"""The optional pytorch3d back end: its coordinates, its absence, and its agreement with ours where it is installed."""

from importlib.util import find_spec

import pytest
import torch

from focus_ray.errors import ConfigError
from focus_ray.focus.render import rasterize
from focus_ray.focus.render.rasterize_pytorch3d import to_ndc

installed = find_spec("pytorch3d") is not None


def test_coordinates_of_a_square_image():
    screen = torch.tensor([[[0.0, 0.0, 900.0], [7.0, 7.0, 900.0], [3.5, 3.5, 800.0]]])
    # x left, y up, pixel centres half a pixel inside of [-1, 1]
    expected = torch.tensor([[[7 / 8, 7 / 8, 900.0], [-7 / 8, -7 / 8, 900.0], [0.0, 0.0, 800.0]]])
    torch.testing.assert_close(to_ndc(screen, 8, 8), expected)


def test_the_longer_side_reaches_beyond_one():
    corner = torch.tensor([[[0.0, 0.0, 900.0]]])
    assert to_ndc(corner, 8, 16)[0, 0].tolist() == pytest.approx([15 / 8, 7 / 8, 900])


@pytest.mark.skipif(installed, reason="pytorch3d is installed")
def test_its_absence_is_a_clear_error():
    with pytest.raises(ConfigError, match=r"docs/rasterizers\.md"):
        rasterize(torch.rand(1, 3, 3), torch.tensor([[0, 1, 2]]), 4, 4, backend="pytorch3d")


@pytest.mark.skipif(not installed, reason="pytorch3d is not installed (docs/rasterizers.md says how to build it)")
@pytest.mark.parametrize("cull_back", [False, True])
@pytest.mark.parametrize("size", [(40, 40), (40, 33)])
def test_ids_are_those_of_the_other_back_ends(disk, cull_back, size):
    screen, _, faces = disk(2, 10, 40)
    ours = rasterize(screen, faces, *size, backend="torch", cull_back=cull_back)
    theirs = rasterize(screen, faces, *size, backend="pytorch3d", cull_back=cull_back)
    # its float32 edge functions decide centres that lie within rounding of an edge differently
    assert (ours == theirs).float().mean() > 0.999
