"""eos: every version of its binary format, the landmarks of the Surrey Face Model, and false claims."""

import struct
from itertools import pairwise

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.eos import SURREY_VERTICES, read_eos
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.landmarks import FLIP
from tests.face_models.importers.writers import (
    NO_COLOURS,
    eos_blendshapes,
    eos_matrix,
    eos_model,
    eos_pca,
    eos_text,
    eos_vector,
    toy,
)

FACE = toy()
VERTICES = [int(corners[0]) for corners in FACE.faces[FACE.landmark_triangles]]
SHAPES = {"anger": FACE.modes(3, 5)[0] * 3, "surprise": FACE.modes(3, 6)[0] * 4}


@pytest.fixture
def options(tmp_path) -> ImportOptions:
    (tmp_path / "landmarks.txt").write_text("\n".join(map(str, VERTICES)))
    return ImportOptions(landmarks=tmp_path / "landmarks.txt")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.bin"


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("colours", [False, True])
def test_every_version_is_read(version, colours, path, options):
    path.write_bytes(eos_model(FACE, version, colours=colours))
    source = read_eos(path, options)
    np.testing.assert_allclose(source.mean - source.mean[0], FACE.mean - FACE.mean[0], atol=1e-4)
    np.testing.assert_allclose(source.mean[VERTICES], source.landmarks, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(source.identity.reshape(6, -1), axis=1), 9, atol=1e-4)
    np.testing.assert_array_equal(source.faces, FACE.faces)
    uv = np.random.default_rng(0).uniform(size=(len(FACE.mean), 2))
    np.testing.assert_allclose(source.uv, np.column_stack([uv[:, 0], 1 - uv[:, 1]]))
    assert (source.albedo is not None) == colours
    if colours:
        np.testing.assert_allclose(source.albedo.basis, FACE.modes(4) / 100, atol=1e-7)
    assert source.provenance.licence.commercial == "ask the owner"


def test_blendshapes_beside_the_model_have_names(path, options):
    path.write_bytes(eos_model(FACE))
    path.with_name(f"expression_blendshapes_{len(FACE.mean)}.bin").write_bytes(eos_blendshapes(SHAPES))
    source = read_eos(path, options)
    assert source.expressions.names == ("anger", "surprise")
    shapes = np.einsum("nk,kvd->nvd", source.expressions.coefficients.numpy(), source.expression)
    np.testing.assert_allclose(shapes, np.stack(list(SHAPES.values())), atol=1e-4)
    assert len(source.provenance.files) == 3


def test_blendshapes_and_modes_within_the_model_are_read(path, options):
    path.write_bytes(eos_model(FACE, 2, expression=b"\x00" + struct.pack("<i", 1) + eos_blendshapes(SHAPES)))
    assert read_eos(path, options).expressions.names == ("anger", "surprise")
    pca = eos_pca(np.ones(FACE.mean.shape), FACE.modes(5, 8), FACE.faces)
    path.write_bytes(eos_model(FACE, 4, expression=b"\x00" + struct.pack("<i", 0) + pca))
    source = read_eos(path, options)
    np.testing.assert_allclose(source.expression, FACE.modes(5, 8), atol=1e-5)
    assert source.expressions is None
    assert len(source.provenance.files) == 2


def test_landmarks_by_name_within_the_model_are_used(path):
    names = struct.pack("<Q", 69) + b"".join(
        eos_text(str(number)) + struct.pack("<i", vertex) for number, vertex in enumerate([*VERTICES, 0], 1)
    )
    path.write_bytes(eos_model(FACE, 3, names=b"\x00" + names))
    source = read_eos(path, ImportOptions())
    np.testing.assert_allclose(source.landmarks, source.mean[VERTICES], atol=1e-9)


def test_the_surrey_face_model_has_landmarks_of_its_own(path):
    """A mesh with as many vertices, on which the published numbers are at a face's landmarks."""
    from focus_ray.face_models.importers import eos

    rng = np.random.default_rng(0)
    mean = np.column_stack(
        [rng.uniform(-60, 60, SURREY_VERTICES), rng.uniform(-70, 90, SURREY_VERTICES), np.zeros(SURREY_VERTICES)]
    )
    places = FACE.landmarks
    mean[list(eos._SURREY.values())] = places[list(eos._SURREY)]
    height = np.linspace(45, -80, 17)
    for outline, side in ((eos._SURREY_RIGHT, -1), (eos._SURREY_LEFT, 1)):
        mean[list(outline)] = np.column_stack([side * np.linspace(74, 8, 17), height, np.full(17, -40)])
    around = np.arange(SURREY_VERTICES)
    faces = np.stack([around, np.roll(around, -1), np.roll(around, -2)], axis=1)
    for outline in (eos._SURREY_RIGHT, eos._SURREY_LEFT):  # its segments are edges of the mesh
        edges = [(one, two, 1000) for one, two in pairwise([*outline, 33])]
        faces = np.concatenate([faces, edges])
    content = struct.pack("<I", 1) + eos_pca(mean, rng.normal(size=(2, SURREY_VERTICES, 3)), faces) + NO_COLOURS
    path.write_bytes(content + eos_vector(np.zeros((0, 2)), "<f8"))
    source = read_eos(path, ImportOptions())
    points = source.landmarks - source.mean[33] + mean[33]
    others = [number for number in range(17, 68) if number not in (48, 54, 60, 64)]
    np.testing.assert_allclose(points[others], places[others], atol=1e-3)
    np.testing.assert_allclose(points[[60, 64]], points[[48, 54]], atol=1e-6)
    jaw = points[:17]
    assert (np.diff(jaw[:, 0]) > 0).all()
    np.testing.assert_allclose(jaw[0, 1], places[36, 1], atol=6)
    np.testing.assert_allclose(jaw[FLIP[:17], :2] * [-1, 1], jaw[:, :2], atol=1.5)
    steps = np.linalg.norm(np.diff(jaw[:9], axis=0), axis=1)
    assert steps.max() < 1.35 * steps.min()
    assert source.provenance.licence.commercial == "no"
    assert sum("jaw line" in note or "corners of the mouth" in note for note in source.provenance.notes) == 2


def test_landmarks_of_other_models_are_asked_for(path):
    path.write_bytes(eos_model(FACE))
    with pytest.raises(FaceModelError, match=r"model with 351 vertices are not known; give a landmark file: 68 rows"):
        read_eos(path, ImportOptions())


SOUND = eos_model(FACE, 2)
AT_TRIANGLES = 4 + sum(8 + 4 * n for n in (FACE.mean.size, 6 * FACE.mean.size, 6))
HOSTILE = {
    "a version to come": (
        struct.pack("<I", 9) + SOUND[4:],
        "has version 9 of eos' format, not 1 to 4; check what it is",
    ),
    "no cereal": (b"<xml>" * 100, "has version .* of eos' format"),
    "matrix of 2^62": (
        struct.pack("<Iii", 1, 2**31 - 1, 2**31 - 1) + bytes(100),
        "claims 4611686014132420609 further values but ends after 100 bytes; get the file again",
    ),
    "matrix of negative size": (
        struct.pack("<Iii", 1, -5, -5) + bytes(100),
        "has a matrix of -5 x -5; get the file again",
    ),
    "triangles of 2^60": (
        SOUND[:AT_TRIANGLES] + struct.pack("<Q", 1 << 60) + SOUND[AT_TRIANGLES + 8 :],
        "claims 3458764513820540928 further values",
    ),
    "blendshapes of 2^60": (
        eos_model(FACE, 2, expression=b"\x00" + struct.pack("<iQ", 1, 1 << 60)),
        r"claims \d+ further values|has a matrix of .* get the file again",
    ),
    "name of 2^60": (
        eos_model(FACE, 2, expression=b"\x00" + struct.pack("<iQQ", 1, 1, 1 << 60)),
        "claims 1152921504606846976 further values",
    ),
    "unknown kind": (
        eos_model(FACE, 2, expression=b"\x00" + struct.pack("<i", 7)),
        "has expressions of the unknown kind 7",
    ),
    "cut": (SOUND[:-9], "further values but ends after"),
    "cut early": (SOUND[:50], "further values but ends after"),
    "more": (SOUND + b"more", "has 4 bytes after its end; get the file again"),
    "no vertices": (struct.pack("<I", 1) + NO_COLOURS * 2 + bytes(8), "has shapes of .0. numbers, not 3 per vertex"),
    "mean of another size": (
        struct.pack("<I", 1) + eos_matrix(np.ones(7)) + SOUND[4 + 8 + 4 * FACE.mean.size :],
        "has mean, basis and variances that do not fit; get the file again",
    ),
    "blendshape of another size": (
        eos_model(FACE, 2, expression=b"\x00" + struct.pack("<i", 1) + eos_blendshapes({"a": np.ones(9)})),
        "has shapes of .9, 1053. numbers, not 3 per vertex",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_malformed_files_are_refused(case, path, options):
    content, message = HOSTILE[case]
    path.write_bytes(content)
    with pytest.raises(FaceModelError, match=message):
        read_eos(path, options)


def test_numbers_and_triangles_are_checked(path, options):
    nan = toy()
    nan.mean[40] = np.nan
    path.write_bytes(eos_model(nan))
    with pytest.raises(FaceModelError, match=r"the mean has a number that is not finite or over 1e\+06 mm"):
        read_eos(path, options)
    outside = toy()
    outside.faces[3] = 351
    path.write_bytes(eos_model(outside))
    with pytest.raises(FaceModelError, match=r"a triangle has a vertex that is not one of 0\.\.350"):
        read_eos(path, options)


def test_blendshapes_of_another_mesh_and_links_are_refused(path, options):
    path.write_bytes(eos_model(FACE))
    beside = path.with_name(f"expression_blendshapes_{len(FACE.mean)}.bin")
    beside.write_bytes(eos_blendshapes({"a": np.ones(9)}))
    with pytest.raises(FaceModelError, match="has shapes of another mesh; get it again"):
        read_eos(path, options)
    beside.unlink()
    beside.symlink_to(path)
    with pytest.raises(FaceModelError, match="it is a link"):
        read_eos(path, options)
