"""The pictures of a prior: the colour of a region is that of its error, on both views."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from focus_ray.tracking import misfit_pictures
from focus_ray.tracking.misfit_pictures import VIEW_PX, VIEWS, misfit_mesh, misfit_sheet, render_views


def test_a_view_shows_the_colours_of_the_vertices(small_face):
    red = torch.tensor([1.0, 0.0, 0.0]).expand(small_face.n_vertices, 3)
    pictures = render_views(small_face, red)
    assert len(pictures) == len(VIEWS)
    for picture in pictures:
        assert picture.shape == (VIEW_PX, VIEW_PX, 3)
        face = picture[..., 1] == 0
        assert 0.1 < face.mean() < 0.9
        assert (picture[~face] == 1).all()  # on white
        assert picture[face][:, 0].min() > 0.3  # light shows the form and leaves the colour


def test_the_nose_that_is_off_is_where_the_nose_is(small_face):
    error = torch.zeros(small_face.n_vertices, 3)
    error[small_face.parts["nose"], 2] = 2.0
    sheet = Image.open(io.BytesIO(misfit_sheet(small_face, error, torch.full_like(error, 0.1), "title")))
    assert sheet.width > sheet.height > 400
    pixels = np.asarray(sheet.convert("RGB")).astype(int)
    column = pixels[:, 2 * sheet.width // 5 : 3 * sheet.width // 5]  # z
    red = (column[..., 0] - column[..., 2] > 60).mean()
    assert red > 0.005
    first = pixels[: 3 * sheet.height // 4, : sheet.width // 5]  # x: nothing
    assert (first[..., 0] - first[..., 2] > 60).mean() < 1e-3


@pytest.mark.parametrize("size", [0.0, 1e-9, 5.0])
def test_an_error_of_any_size_can_be_drawn(small_face, size):
    error = torch.full((small_face.n_vertices, 3), size)
    sheet = misfit_sheet(small_face, error, torch.zeros_like(error), "title")
    assert Image.open(io.BytesIO(sheet)).format == "PNG"


def test_the_mesh_is_bright_where_the_error_is(small_face, monkeypatch):
    error = torch.zeros(small_face.n_vertices, 3)
    error[small_face.parts["jaw"]] = 1.0
    assert misfit_mesh(small_face, error).startswith(b"glTF")
    made = []
    monkeypatch.setattr(misfit_pictures, "encode_glb", lambda mesh: made.append(mesh) or b"")
    misfit_mesh(small_face, error)
    bright = made[0].colours.sum(1)
    jaw = small_face.parts["jaw"].numpy()
    assert bright[jaw].min() > 2 * bright[~jaw].max()
