"""Importers by name: each makes a whole face model from files of its layout."""

import numpy as np
import pytest
import torch

from focus_ray.face_models.importers.by_name import IMPORTERS
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.source_model import assemble
from focus_ray.face_models.morphable_model import MorphableModel
from tests.face_models.importers.writers import (
    eos_model,
    flame_embedding,
    toy,
    write_bfm,
    write_embedding,
    write_flame,
    write_gnm,
)

FACE = toy()


def write(kind: str, folder):
    path = folder / {"bfm": "bfm.h5", "flame": "flame.pkl", "eos": "eos.bin", "gnm": "gnm.npz"}[kind]
    corners = FACE.faces[FACE.landmark_triangles]
    rows = [
        " ".join(f"{v} {w:.6f}" for v, w in zip(*row, strict=True))
        for row in zip(corners, FACE.landmark_weights, strict=True)
    ]
    (folder / "landmarks.txt").write_text("\n".join(rows))
    match kind:
        case "bfm":
            write_bfm(path, FACE)
        case "flame":
            write_flame(path, FACE)
            write_embedding(folder / "landmark_embedding.npy", flame_embedding(FACE))
        case "eos":
            path.write_bytes(eos_model(FACE))
        case "gnm":
            write_gnm(path, FACE)
    return path


def test_every_kind_has_an_importer():
    assert list(IMPORTERS) == ["ict", "bfm", "flame", "flame2023-open", "eos", "gnm"]


@pytest.mark.parametrize("kind", ["bfm", "flame", "eos", "gnm"])
def test_an_import_is_a_whole_face_model(kind, tmp_path):
    path = write(kind, tmp_path)
    source = IMPORTERS[kind](path, ImportOptions(crop=False, landmarks=tmp_path / "landmarks.txt"))
    points = source.landmarks
    offset = points[30] - FACE.landmarks[30]
    np.testing.assert_allclose(points - offset, FACE.landmarks, atol=1.0)
    face = assemble(source, (80, 64, 80))
    assert (face.n_identity, face.n_expression, face.n_albedo) == (80, 64, 80)
    face.save(tmp_path / "face")
    again = MorphableModel.load(tmp_path / "face")
    assert again.digest == face.digest
    assert again.provenance == face.provenance
    assert again.provenance.kind == kind
    assert all(len(digest) == 64 for digest in again.provenance.files.values())
    assert 0.1 < float(again.mean_albedo.mean()) < 0.9
    assert all(bool(again.parts[name].any()) for name in ("eyes", "mouth", "nose"))
    torch.testing.assert_close(
        again.landmarks(again.mean[None])[0], torch.from_numpy(points).float(), atol=0.01, rtol=0
    )
