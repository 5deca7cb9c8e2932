import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from focus_ray.errors import FaceModelError
from focus_ray.face_models.by_name import load_face
from focus_ray.face_models.importers.ict import read_ict
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.source_model import assemble
from focus_ray.face_models.landmarks import FLIP

N_VERTICES = 26719


@pytest.fixture(scope="module")
def published(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ict")
    with tarfile.open(next((shared_data / "ict-facekit").glob("*.tar.xz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.shared
def test_the_shipped_face_is_what_the_published_files_give(published: Path):
    source = read_ict(published, ImportOptions())
    face, shipped = assemble(source, (80, 64, 80)), load_face("ict")
    assert torch.equal(face.faces, shipped.faces)
    for mine, kept in ((face.mean, shipped.mean), (face.mean_albedo, shipped.mean_albedo)):
        torch.testing.assert_close(mine, kept, atol=1e-4, rtol=0)
    # Modes beyond the first have nearly equal variances nowhere, so they are the same up to rounding.
    torch.testing.assert_close(face.shape_basis, shipped.shape_basis, atol=5e-3, rtol=2e-3)
    assert shipped.provenance is not None
    assert shipped.provenance.files == source.provenance.files
    assert {"vertex_indices.json", "generic_neutral_mesh.obj", "LICENSE"} < set(source.provenance.files)

    # A named expression is what its OBJ file says.
    neutral = _vertices(published / "FaceXModel" / "generic_neutral_mesh.obj")
    opened = _vertices(published / "FaceXModel" / "jawOpen.obj")
    assert shipped.expressions is not None
    row = shipped.expressions.coefficients[shipped.expressions.names.index("jawOpen")]
    offset = torch.einsum("k,kvd->vd", row, shipped.shape_basis[80:])
    largest = np.linalg.norm(opened - neutral, axis=1)[:6706].max()
    assert float(offset.norm(dim=1)[: shipped.n_vertices].max()) == pytest.approx(largest, rel=0.01)


def _vertices(path: Path) -> np.ndarray:
    return 10 * np.loadtxt([line for line in path.read_text().splitlines() if line.startswith("v ")], usecols=(1, 2, 3))


def test_the_shipped_face_is_a_face():
    face = load_face("ict")
    assert (face.n_identity, face.n_expression, face.n_albedo) == (80, 64, 80)
    for basis in (face.shape_basis[:80], face.shape_basis[80:133]):
        flat = basis.flatten(1).double()
        unit = flat / flat.norm(dim=1, keepdim=True)
        assert float((unit @ unit.T - torch.eye(len(unit))).abs().max()) < 2e-3  # rounded to float16
    assert not face.shape_basis[133:].any()
    landmarks = face.landmarks(face.mean[None])[0]
    mirrored = landmarks[list(FLIP)] * torch.tensor([-1.0, 1.0, 1.0])
    assert float((landmarks - mirrored).norm(dim=1).max()) < 1.0
    eyes = face.mean[face.parts["eyes"]]
    assert eyes[:, 0].min() < -30
    assert eyes[:, 0].max() > 30
    assert face.provenance is not None
    assert face.provenance.licence.name == "MIT"
    assert "Permission is hereby granted" in face.provenance.licence.text
    assert face.expressions is not None
    assert len(face.expressions.names) == 53


def _write(folder: Path, index: str, neutral: str) -> Path:
    (folder / "FaceXModel").mkdir(parents=True)
    (folder / "FaceXModel" / "vertex_indices.json").write_text(index)
    (folder / "FaceXModel" / "generic_neutral_mesh.obj").write_text(neutral)
    return folder


SOUND_INDEX = '{"expressions": ["jawOpen"], "idx_to_landmark_verts": [' + ", ".join("1" for _ in range(68)) + "]}"


@pytest.mark.parametrize(
    ("index", "neutral", "message"),
    [
        ("{", "", "lacks names of expressions"),
        ('{"expressions": ["../../x"], "idx_to_landmark_verts": []}', "", "lacks names of expressions"),
        (SOUND_INDEX.replace("[1,", "[26719,"), "", "lacks names of expressions"),
        (SOUND_INDEX, "v 0 0 0\nv 0 0 1\n", "has 2 vertices, not 26719"),
        (SOUND_INDEX, "v 0 nan 0\n" * N_VERTICES, "not three finite numbers"),
        (SOUND_INDEX, "v 0 0\n" * N_VERTICES, "not three finite numbers"),
        (SOUND_INDEX, "v 0 0 0\n" * N_VERTICES + "f 1/1 2/1 99999/1\n", "malformed polygon"),
        (SOUND_INDEX, "v 0 0 0\n" * N_VERTICES + "f 1 2 3\n", "malformed polygon"),
    ],
)
def test_malformed_files(tmp_path: Path, index: str, neutral: str, message: str):
    with pytest.raises(FaceModelError, match=message):
        read_ict(_write(tmp_path / "ict", index, neutral), ImportOptions())


def test_missing_folder(tmp_path: Path):
    with pytest.raises(FaceModelError, match=r"vertex_indices\.json"):
        read_ict(tmp_path, ImportOptions())
