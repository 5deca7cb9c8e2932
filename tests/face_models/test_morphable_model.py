"""The linear model: its equation, its truncation, its digest and its file."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from focus_ray.errors import FaceModelError
from focus_ray.face_models.morphable_model import PARTS, MorphableModel
from tests.ellipsoid_face import ellipsoid_face


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return ellipsoid_face(5, 4, 3)


def test_zero_coefficients_give_the_mean(model: MorphableModel) -> None:
    torch.testing.assert_close(model.vertices(torch.zeros(2, 9)), model.mean.expand(2, -1, -1))
    torch.testing.assert_close(model.albedo(torch.zeros(2, 3)), model.mean_albedo.expand(2, -1, -1))


def test_one_sigma_adds_one_mode(model: MorphableModel) -> None:
    vertices = model.vertices(torch.eye(9))
    torch.testing.assert_close(vertices - model.mean, model.shape_basis, atol=1e-4, rtol=1e-4)
    colours = model.albedo(torch.eye(3))
    torch.testing.assert_close(colours - model.mean_albedo, model.albedo_basis, atol=1e-5, rtol=1e-4)


def test_gradient_of_the_decoder() -> None:
    model = ellipsoid_face(2, 1, 2).double()
    alpha = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: model.landmarks(model.vertices(a)), alpha)


@settings(deadline=None, max_examples=10)
@given(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 3)))
def test_truncation_equals_zeroed_coefficients(sizes: tuple[int, int, int]) -> None:
    model = ellipsoid_face(5, 4, 3)
    small = model.truncate(*sizes)
    n_identity, n_expression, _ = sizes
    alpha = torch.linspace(-2, 2, 9)[None].clone()
    alpha[:, n_identity:5] = 0
    alpha[:, 5 + n_expression :] = 0
    kept = torch.cat([alpha[:, :n_identity], alpha[:, 5 : 5 + n_expression]], dim=1)
    torch.testing.assert_close(small.vertices(kept), model.vertices(alpha), atol=1e-4, rtol=1e-5)
    assert (small.n_identity, small.n_expression, small.n_albedo) == sizes


@pytest.mark.parametrize("sizes", [(6, 4, 3), (5, 5, 3), (5, 4, 4), (-1, 4, 3)])
def test_truncation_refuses_modes_it_lacks(model: MorphableModel, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(FaceModelError, match="modes"):
        model.truncate(*sizes)


def test_file_round_trip_is_exact(model: MorphableModel, tmp_path: Path) -> None:
    path = tmp_path / "face.safetensors"
    model.save(path)
    loaded = MorphableModel.load(path)
    assert loaded.digest == model.digest
    assert loaded.name == model.name
    assert set(loaded.parts) >= set(PARTS)
    assert torch.equal(loaded.uv, model.uv)
    assert all(torch.equal(loaded.parts[part], mask) for part, mask in model.parts.items())


def test_digest_sees_every_array_and_the_split(model: MorphableModel) -> None:
    digests = {model.digest, model.truncate(4, 4, 3).digest, model.truncate(5, 3, 3).digest}
    digests.add(model.truncate(5, 4, 2).digest)
    assert len(digests) == 4
    assert ellipsoid_face(5, 4, 3).digest == model.digest
    assert ellipsoid_face(5, 4, 3).double().digest == model.digest


def _broken(tmp_path: Path, key: str, value: torch.Tensor | None) -> Path:
    path = tmp_path / "face.safetensors"
    model = ellipsoid_face(5, 4, 3)
    model.save(path)
    tensors = load_file(path)
    if value is None:
        del tensors[key]
    else:
        tensors[key] = value
    metadata = '{"format": 1, "name": "toy", "n_identity": 5, "digest": ""}'
    save_file(tensors, path, metadata={"focus_ray_face_model": metadata})
    return path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", torch.zeros(3, 3)),
        ("mean", torch.full((255, 3), float("nan"))),
        ("shape_basis", torch.zeros(9, 255, 2)),
        ("faces", torch.full((10, 3), 255)),
        ("faces", torch.full((10, 3), -1)),
        ("faces", torch.zeros(10, 3)),
        ("landmark_triangles", torch.full((68,), 10**6)),
        ("landmark_triangles", torch.zeros(67, dtype=torch.int64)),
        ("landmark_barycentric", torch.full((68, 3), float("inf"))),
        ("part.eyes", torch.zeros(3, dtype=torch.bool)),
        ("part.eyes", None),
        ("uv", None),
        ("extra", torch.zeros(1)),
    ],
)
def test_load_refuses_malformed_arrays(tmp_path: Path, key: str, value: torch.Tensor | None) -> None:
    with pytest.raises(FaceModelError):
        MorphableModel.load(_broken(tmp_path, key, value))


def test_load_refuses_what_is_not_a_model(tmp_path: Path) -> None:
    missing = tmp_path / "none.safetensors"
    with pytest.raises(FaceModelError, match="cannot read"):
        MorphableModel.load(missing)
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not a model at all" * 20)
    with pytest.raises(FaceModelError, match="cannot read"):
        MorphableModel.load(garbage)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"mean": torch.zeros(1)}, foreign)
    with pytest.raises(FaceModelError, match="format"):
        MorphableModel.load(foreign)


def test_parts_have_one_order_whatever_file_they_come_from(ellipsoid_face):
    backwards = dict(reversed(ellipsoid_face.parts.items()))
    arrays = {name: buffer for name, buffer in ellipsoid_face.named_buffers()}
    other = MorphableModel(name="other", n_identity=ellipsoid_face.n_identity, parts=backwards, **arrays)
    assert list(other.parts) == list(ellipsoid_face.parts) == sorted(backwards)
