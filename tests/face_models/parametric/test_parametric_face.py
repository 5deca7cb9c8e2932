"""The embedded face: its frame, landmarks, orientation, paint, modes and reproducibility at the small resolution."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from focus_ray.errors import FaceModelError
from focus_ray.face_models import landmarks
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric import ParametricFaceSettings, parametric_face
from focus_ray.face_models.parametric.recipe import build_face_model

# Deep3D's aligned standard points in mm (method section 8.2).
STANDARD = torch.tensor(
    [[-31.1, 29.0, 13.4], [31.0, 29.0, 13.2], [0.3, -4.6, 55.2], [-25.2, -38.1, 22.4], [24.8, -38.1, 22.2]]
)
MIRROR = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> MorphableModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOCUS_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        return parametric_face("small", 120, 80, 120)


def _mean_landmarks(model: MorphableModel) -> Tensor:
    return model.landmarks(model.mean[None])[0]


def test_sizes_and_name(world: MorphableModel) -> None:
    assert (world.n_identity, world.n_expression, world.n_albedo) == (120, 80, 120)
    assert 2300 < world.n_vertices < 2900
    assert world.name == "parametric-small"


def test_five_points_lie_at_the_standard_places(world: MorphableModel) -> None:
    error = landmarks.five_points(_mean_landmarks(world)) - STANDARD
    assert error.abs().max() < 2.5


def test_landmarks_are_symmetric_and_distinct(world: MorphableModel) -> None:
    points = _mean_landmarks(world)
    torch.testing.assert_close(points, points[list(landmarks.FLIP)] * MIRROR, atol=1e-4, rtol=0)
    apart = torch.cdist(points, points) + 1e3 * torch.eye(68)
    closed_lips = {(61, 67), (62, 66), (63, 65)}
    touching = {tuple(sorted(pair)) for pair in (apart < 0.5).nonzero().tolist()}
    assert touching <= closed_lips


def test_landmarks_are_ordered_like_a_face(world: MorphableModel) -> None:
    x, y = _mean_landmarks(world)[:, 0], _mean_landmarks(world)[:, 1]
    assert bool((x[:16] < x[1:17]).all()), "the jaw runs from the subject's right to the left"
    assert bool((x[17:26] < x[18:27]).all())
    assert bool((y[27:30] > y[28:31]).all())
    assert y[17:27].min() > y[36:48].max() > y[30] > y[33] > y[51] > y[57] > y[8]


def test_triangles_point_out_of_the_face(world: MorphableModel) -> None:
    skin = torch.zeros(world.n_vertices, dtype=torch.bool)
    for part in ("cheeks", "nose", "forehead", "jaw"):
        skin |= world.parts[part]
    a, b, c = world.mean[world.faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    outward = (normals * ((a + b + c) / 3 - torch.tensor([0.0, 0.0, -60.0]))).sum(-1)
    assert (outward > 0)[skin[world.faces].all(1)].float().mean() > 0.97
    middle = world.parts["cheeks"][world.faces].all(1)
    assert (normals[middle, 2] > 0).float().mean() > 0.99
    assert normals.norm(dim=-1).min() > 0


def test_mesh_is_mirror_symmetric(world: MorphableModel) -> None:
    distance = (
        torch.cdist(world.mean * MIRROR, world.mean, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
    )
    assert distance.max() < 1e-3


def test_no_eye_or_mouth_shows_the_background(world: MorphableModel) -> None:
    """Only the outline of the face is an open border."""
    edges = torch.cat([world.faces[:, [0, 1]], world.faces[:, [1, 2]], world.faces[:, [2, 0]]])
    unique, counts = edges.sort(dim=1).values.unique(dim=0, return_counts=True)
    assert counts.max() == 2
    border = unique[counts == 1].flatten().unique()
    assert not bool(world.parts["mouth"][border].any())
    lids_and_patches = border[world.parts["eyes"][border]]
    assert 0 < len(lids_and_patches) < 150


@pytest.mark.parametrize("basis", ["identity", "expression", "albedo"])
def test_modes_are_orthogonal_and_decay(world: MorphableModel, basis: str) -> None:
    modes = {
        "identity": world.shape_basis[:120],
        "expression": world.shape_basis[120:],
        "albedo": world.albedo_basis,
    }[basis]
    flat = modes.flatten(1).double()
    norms = flat.norm(dim=1)
    assert bool((norms[1:] <= norms[:-1] * 1.001).all())
    cosines = (flat @ flat.T) / norms / norms[:, None] - torch.eye(len(flat))
    assert cosines.abs().max() < 5e-3


def test_modes_have_human_sizes(world: MorphableModel) -> None:
    identity, expression = world.shape_basis[:120], world.shape_basis[120:]
    assert 3.5 < identity.square().sum(dim=(0, 2)).mean().sqrt() < 6
    assert 1.5 < expression.square().sum(dim=(0, 2)).mean().sqrt() < 4
    assert 0.08 < world.albedo_basis.square().sum(0).mean().sqrt() < 0.16


def test_identity_holds_no_rigid_motion(world: MorphableModel) -> None:
    assert world.shape_basis[:120].mean(dim=1).abs().max() < 1e-3


def test_albedo_is_a_colour(world: MorphableModel) -> None:
    assert world.mean_albedo.min() >= 0
    assert world.mean_albedo.max() <= 1
    colours = world.albedo(torch.randn(50, 120, generator=torch.Generator().manual_seed(0)))
    assert ((colours >= 0) & (colours <= 1)).float().mean() > 0.98


def test_parts_hold_their_landmarks(world: MorphableModel) -> None:
    owners = {"eyes": landmarks.EYES, "brows": landmarks.BROWS, "nose": landmarks.NOSE, "mouth": landmarks.MOUTH}
    nearest = world.faces[world.landmark_triangles].gather(1, world.landmark_barycentric.argmax(1, keepdim=True))[:, 0]
    for part, points in owners.items():
        assert world.parts[part][nearest[list(points)]].float().mean() > 0.85, part
    for part, mask in world.parts.items():
        assert 0.005 < mask.float().mean() < 0.5, part


def test_jaw_opens_the_mouth(world: MorphableModel) -> None:
    openings = world.landmarks(world.vertices(torch.eye(200)[120:126]))[:, [62, 66], 1].diff(dim=1).abs()
    assert openings.max() > 3.0
    assert (_mean_landmarks(world)[62] - _mean_landmarks(world)[66]).norm() < 0.5


def test_second_build_with_fewer_modes_has_the_leading_ones(world: MorphableModel) -> None:
    fewer = build_face_model(ParametricFaceSettings(n_identity=5, n_expression=4, n_albedo=3))
    assert fewer.digest == world.truncate(5, 4, 3).digest


def test_too_many_modes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOCUS_RAY_CACHE", str(tmp_path))
    with pytest.raises(FaceModelError, match="identity modes"):
        parametric_face("small", 100_000, 1, 1)
