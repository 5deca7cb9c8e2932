"""GNM Head: geometry, landmarks, eyes and crop from an archive of its layout; malformed ones are refused."""

import zipfile

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.gnm import read_gnm
from focus_ray.face_models.importers.import_options import ImportOptions
from tests.face_models.importers.writers import gnm_arrays, toy, write_gnm

FACE = toy()
ARRAYS = gnm_arrays(FACE)
WHOLE = ImportOptions(crop=False)


@pytest.fixture
def path(tmp_path):
    write_gnm(tmp_path / "gnm_head.npz", FACE)
    return tmp_path / "gnm_head.npz"


def test_geometry_is_that_of_the_file_in_mm(path):
    source = read_gnm(path, WHOLE)
    np.testing.assert_allclose(source.mean - source.mean[0], FACE.mean - FACE.mean[0], atol=1e-3)
    np.testing.assert_array_equal(source.faces, FACE.faces)
    offset = source.mean[0] - FACE.mean[0]
    np.testing.assert_allclose(source.landmarks - offset, FACE.landmarks, atol=0.05)
    assert any("order along the outline" in note for note in source.provenance.notes)
    assert set(source.provenance.files) == {"gnm_head.npz", "head_sparse_68.txt"}
    assert (source.provenance.licence.name, source.provenance.licence.commercial) == ("Apache-2.0", "yes")


def test_modes_have_the_covariance_of_the_file_and_falling_variance(path):
    source = read_gnm(path, WHOLE)
    for key, modes in (("vertex_identity_basis", source.identity), ("expression_basis", source.expression)):
        own = ARRAYS[key].reshape(len(ARRAYS[key]), -1).astype(np.float64) * 1000
        flat = modes.reshape(len(modes), -1).astype(np.float64)
        np.testing.assert_allclose(flat.T @ flat, own.T @ own, atol=1e-2)
        assert (np.diff(np.linalg.norm(flat, axis=1)) <= 1e-3).all()


def test_eyes_are_the_outer_shells(path):
    source = read_gnm(path, WHOLE)
    np.testing.assert_array_equal(source.eyeballs[0], FACE.right_eyeball)
    np.testing.assert_array_equal(source.eyeballs[1], FACE.left_eyeball)
    interior = ARRAYS["vertex_groups"].copy()
    interior[3, :40] = 1  # eye_interiors
    write_gnm(path, FACE, vertex_groups=interior)
    assert len(read_gnm(path, WHOLE).mean) < len(FACE.mean)


def test_the_inside_of_the_mouth_is_named(path):
    groups = ARRAYS["vertex_groups"].copy()
    lips = np.flatnonzero(np.linalg.norm(FACE.mean - FACE.landmarks[62], axis=1) < 12)
    groups[6, lips[:2]] = 1
    groups[7, lips] = 1
    write_gnm(path, FACE, vertex_groups=groups)
    source = read_gnm(path, WHOLE)
    assert {name: int(mask.sum()) for name, mask in source.mouth_inside.items()} == {"tooth": 2, "back": len(lips) - 2}


def test_the_crop_keeps_mask_and_eyes(path):
    whole, crop = read_gnm(path, WHOLE), read_gnm(path, ImportOptions())
    assert len(crop.mean) < len(whole.mean)
    assert crop.mean[:, 1].max() < 85
    assert crop.eyeballs[0].sum() == FACE.right_eyeball.sum()
    np.testing.assert_allclose(crop.landmarks, whole.landmarks, atol=0.01)


def test_landmarks_are_asked_for(path):
    path.with_name("head_sparse_68.txt").unlink()
    with pytest.raises(
        FaceModelError, match=r"give head_sparse_68\.txt of GNM's repository, or put it beside the model"
    ):
        read_gnm(path, WHOLE)


N = len(FACE.mean)
MALFORMED = {
    "a mean of another size": ({"template_vertex_positions": np.zeros((N, 2))}, "template_vertex_positions has shape"),
    "NaN": (
        {"template_vertex_positions": np.full((N, 3), np.nan)},
        "has a number that is not finite; get the file again",
    ),
    "integers": ({"vertex_identity_basis": np.zeros((2, N, 3), int)}, "vertex_identity_basis has shape .* int64"),
    "too many modes": (
        {"expression_basis": np.zeros((1001, N, 3), "f2")},
        r"expression_basis has shape .*, not \(1000",
    ),
    "a basis of another mesh": ({"expression_basis": np.zeros((2, N - 1, 3))}, "expression_basis has shape"),
    "infinite modes": ({"expression_basis": np.full((2, N, 3), np.inf)}, "expression_basis has a number that is not"),
    "triangle outside": ({"triangles": np.full((4, 3), N)}, "a triangle has a vertex that is not one of"),
    "quads": ({"triangles": np.zeros((4, 4), int)}, "the triangles have shape"),
    "groups of another size": ({"vertex_groups": np.zeros((2, N))}, "vertex_groups has shape"),
    "names of objects": ({"vertex_group_names": np.array([{}] * 8, dtype=object)}, "only numbers and text are read"),
    "names that are numbers": ({"vertex_group_names": np.zeros(8)}, "vertex_group_names has shape"),
    "no skin": ({"vertex_groups": np.ones((8, N))}, "the kept part|has no skin by its vertex groups"),
    "mirrored": ({"template_vertex_positions": (FACE.mean * [-1, 1, 1] / 1000).astype("f4")}, "or is mirrored"),
    "another unit": ({"template_vertex_positions": FACE.mean.astype("f4")}, "corners of the eyes are .* mm apart"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_archives_are_refused(case, path):
    changed, message = MALFORMED[case]
    write_gnm(path, FACE, **changed)
    with pytest.raises(FaceModelError, match=message):
        read_gnm(path, WHOLE)


def test_other_archives_are_refused(path):
    np.savez(path, a=np.ones(3))
    with pytest.raises(FaceModelError, match=r"has no expression_basis, .*; give gnm_head\.npz of GNM version 3"):
        read_gnm(path, WHOLE)
    path.write_bytes(b"PK")
    with pytest.raises(FaceModelError, match="is damaged or not an npz archive"):
        read_gnm(path, WHOLE)


def test_a_bomb_is_refused_unread(path, monkeypatch):
    monkeypatch.setattr("focus_ray.face_models.importers.bounded_files.MAX_ARRAY_BYTES", 10 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("expression_basis.npy", bytes(20 << 20))
    with pytest.raises(FaceModelError, match="unpacks to 20971520 bytes, more than"):
        read_gnm(path, WHOLE)
