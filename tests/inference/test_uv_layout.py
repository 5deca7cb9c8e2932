"""Layouts of textures: no triangle crosses another part, left and right are mirror images, one computation a model."""

import numpy as np
import pytest
import torch

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.inference.uv_layout import build_layout, texel_map

SIZE = 256


def areas(layout) -> np.ndarray:
    first, second = (layout.uv[layout.faces[:, corner]] - layout.uv[layout.faces[:, 0]] for corner in (1, 2))
    return (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2


def test_the_mouth_of_the_parametric_face_is_laid_out_anew(small_face: MorphableModel):
    uv, faces = small_face.uv.numpy(), small_face.faces.numpy()
    layout = build_layout(small_face)
    np.testing.assert_array_equal(layout.source[: len(uv)], np.arange(len(uv)))
    np.testing.assert_array_equal(layout.source[layout.faces], faces)
    assert layout.uv.min() >= 0
    assert layout.uv.max() <= 1
    lengths = np.linalg.norm(layout.uv[layout.faces] - layout.uv[np.roll(layout.faces, -1, axis=1)], axis=-1)
    assert np.linalg.norm(uv[faces] - uv[np.roll(faces, -1, axis=1)], axis=-1).max() > 0.2, "the mouth's rim"
    assert lengths.max() < 0.07
    inside = (layout.faces != faces).any(axis=1)
    assert 60 < inside.sum() < 100
    changed = np.isin(faces, faces[inside]).all(axis=1) & (layout.uv[layout.faces][..., 1].max(axis=1) < 0.12)
    assert areas(layout)[changed & inside].min() > 0, "nothing is folded"
    assert (areas(layout) < -1e-9).sum() < 10, "the eyeballs' hidden rims"


def test_other_uv_stay_as_they_are(ellipsoid_face: MorphableModel):
    layout = build_layout(ellipsoid_face)
    np.testing.assert_allclose(layout.uv, ellipsoid_face.uv.numpy(), atol=1e-7)
    np.testing.assert_array_equal(layout.faces, ellipsoid_face.faces.numpy())


@pytest.mark.parametrize("name", ["small_face", "ellipsoid_face"])
def test_the_mirror_image_of_a_texel_lies_at_one_minus_u(name: str, request: pytest.FixtureRequest):
    texels = texel_map(request.getfixturevalue(name), SIZE)
    assert texels is not None
    rows, columns = np.nonzero(texels.mirror[..., 0] >= 0)
    assert len(rows) > 0.95 * texels.covered.sum()
    found = texels.mirror[rows, columns]
    np.testing.assert_allclose(found, np.stack([SIZE - 1 - columns, rows], axis=1), atol=0.05)
    assert (texels.mirror[~texels.covered] == -1).all()


def test_values_are_interpolated_in_the_place_of_their_uv(small_face: MorphableModel):
    texels = texel_map(small_face, SIZE)
    assert texels is not None
    u, v = texels.interpolate(texels.layout.uv)
    rows, columns = np.nonzero(texels.covered)
    np.testing.assert_allclose(u[rows, columns], (columns + 0.5) / SIZE, atol=1e-6)
    np.testing.assert_allclose(v[rows, columns], 1 - (rows + 0.5) / SIZE, atol=1e-6)
    assert 0.7 < texels.skin.mean() < texels.covered.mean()


def test_a_layout_is_computed_once(small_face: MorphableModel, monkeypatch: pytest.MonkeyPatch):
    first = texel_map(small_face, SIZE)
    monkeypatch.setattr("focus_ray.inference.uv_layout.build_layout", lambda *_: pytest.fail("computed again"))
    assert texel_map(small_face, SIZE) is first


def test_uv_that_unfold_nothing_are_no_layout(ellipsoid_face: MorphableModel):
    fields = {name: getattr(ellipsoid_face, name) for name in ("mean", "shape_basis", "mean_albedo", "albedo_basis")}
    fields |= {name: getattr(ellipsoid_face, name) for name in ("faces", "landmark_triangles", "landmark_barycentric")}
    flat = MorphableModel(
        name="flat", n_identity=80, uv=torch.zeros_like(ellipsoid_face.uv), parts=ellipsoid_face.parts, **fields
    )
    assert texel_map(flat, SIZE) is None
