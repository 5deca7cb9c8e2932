"""The look at a submission: each way to be wrong, and a submission that is right."""

import numpy as np
import pytest

from focus_ray.data.sources.now import NowDataset
from focus_ray.errors import DataError
from focus_ray.evaluation.now.export import write_prediction
from focus_ray.evaluation.now.findings import finding_from_error
from focus_ray.evaluation.now.preflight import check_submission
from focus_ray.evaluation.now.submission import Submission
from tests.evaluation.now.faces import cap, moved, similarity, write_dataset, write_submission

NAMES = [f"anna/{challenge}.jpg" for challenge in ("multiview_neutral/1", "multiview_expressions/2", "selfie/3")]
NAMES += ["bert/selfie/4.jpg"]
FIRST = "anna/multiview_neutral/1"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return NowDataset(write_dataset(tmp_path_factory.mktemp("now"), NAMES))


@pytest.fixture
def folder(tmp_path):
    return write_submission(tmp_path / "ours", NAMES)


def found(folder, dataset, **options):
    return check_submission(Submission(folder), dataset, **options)


def only(findings):
    (finding,) = findings
    assert all(finding)
    return finding


def rewrite(folder, name=FIRST, vertices=None, faces=None, landmarks=None, kind="ply"):
    face = Submission(folder).read(name)
    write_prediction(
        folder,
        name,
        face.mesh.vertices if vertices is None else vertices(face.mesh.vertices),
        face.mesh.faces if faces is None else faces(face.mesh.faces),
        face.landmarks if landmarks is None else landmarks(face.landmarks),
        kind,
    )


def test_nothing_is_found_where_nothing_is_wrong(folder, dataset):
    assert found(folder, dataset, metrical=True) == []


@pytest.mark.parametrize("suffix", [".ply", ".npy"])
def test_missing_files(suffix, folder, dataset):
    (folder / FIRST).with_suffix(suffix).unlink()
    finding = only(found(folder, dataset))
    assert (finding.severity, finding.item) == ("error", FIRST)
    assert "there " in finding.problem
    assert finding.advice.startswith("add ")


def test_extra_files(folder, dataset):
    (folder / "anna" / "selfie" / "33.ply").write_bytes(b"x")
    (folder / "anna" / "selfie" / "3.jpg").write_bytes(b"x")
    (folder / "readme.txt").write_text("x")
    findings = found(folder, dataset)
    assert [one.item for one in findings] == ["anna/selfie/3.jpg", "anna/selfie/33.ply", "readme.txt"]
    assert {one.severity for one in findings} == {"warning"}
    for number in range(100):
        (folder / f"{number}.txt").write_text("x")
    assert "83 more files" in found(folder, dataset)[-1].problem


def test_two_meshes(folder, dataset):
    rewrite(folder, kind="obj")
    finding = only(found(folder, dataset))
    assert "1.obj is read" in finding.problem
    assert finding.advice == "remove 1.ply"


@pytest.mark.parametrize(
    ("behind", "severity"), [(" 0.5 0.5 0.5", "warning"), (" 0.5", "error"), (" 1 2 3 255", "error")]
)
def test_vertex_colours(behind, severity, folder, dataset):
    rewrite(folder, kind="obj")
    (folder / FIRST).with_suffix(".ply").unlink()
    path = (folder / FIRST).with_suffix(".obj")
    lines = [line + behind if line.startswith("v ") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    finding = only(found(folder, dataset))
    assert finding.severity == severity
    assert "vertex lines" in finding.problem


def test_numbers_that_are_none(folder, dataset):
    path = (folder / FIRST).with_suffix(".npy")
    np.save(path, np.full((7, 3), np.nan))
    assert "not finite" in only(found(folder, dataset)).problem
    np.save(path, np.zeros((68, 3)))
    assert "shape (68, 3)" in only(found(folder, dataset)).problem
    np.save(path, np.zeros((7, 3)))
    assert "one point" in " ".join(one.problem for one in found(folder, dataset))


@pytest.mark.parametrize("name", [name[:-4] for name in NAMES])
def test_exchanged_sides(name, folder, dataset):
    rewrite(folder, name, landmarks=lambda points: points[[3, 2, 1, 0, 4, 6, 5]])
    finding = only(found(folder, dataset))
    assert (finding.severity, finding.item) == ("error", name)
    assert "left and right" in finding.problem


def test_another_order(folder, dataset):
    rewrite(folder, landmarks=lambda points: points[[2, 3, 0, 1, 4, 5, 6]])
    finding = only(found(folder, dataset))
    assert finding.severity == "error"
    assert "they fit in the order 2, 3, 0, 1, 4, 5, 6" in finding.problem


def test_a_mirrored_mesh(folder, dataset):
    rewrite(folder, vertices=lambda points: points * [-1, 1, 1], landmarks=lambda points: points * [-1, 1, 1])
    assert "left and right" in only(found(folder, dataset)).problem


def test_landmarks_off_the_mesh(folder, dataset):
    rewrite(folder, landmarks=lambda points: points + 50.0)
    finding = only(found(folder, dataset))
    assert finding.severity == "error"
    assert "off the mesh" in finding.problem


def test_rounded_landmarks(folder, dataset):
    rewrite(folder, landmarks=np.round)
    finding = only(found(folder, dataset))
    assert (finding.severity, "rounded" in finding.problem) == ("warning", True)


@pytest.mark.parametrize(("metrical", "severity"), [(True, "error"), (False, "warning")])
@pytest.mark.parametrize(("size", "unit"), [(0.1, "in cm"), (0.001, "in m"), (7.0, "by 0.142")])
def test_other_units(metrical, severity, size, unit, folder, dataset):
    rewrite(folder, vertices=lambda points: size * points, landmarks=lambda points: size * points)
    finding = only(found(folder, dataset, metrical=metrical))
    assert finding.severity == severity
    assert unit in finding.problem


def test_triangles_that_face_inwards(folder, dataset):
    rewrite(folder, faces=lambda faces: faces[:, ::-1])
    assert "inwards" in only(found(folder, dataset)).problem


def test_triangles_that_face_either_way(folder, dataset):
    rewrite(folder, faces=lambda faces: np.concatenate([faces[:-3], faces[-3:, ::-1]]))
    assert "opposite sides" in only(found(folder, dataset)).problem


def test_triangles_without_area(folder, dataset):
    rewrite(folder, faces=lambda faces: np.concatenate([faces, faces[:4, [0, 1, 1]]]))
    assert only(found(folder, dataset)).problem.startswith("4 triangles have no area")


def test_an_expression_that_was_left_in(folder, dataset):
    name = NAMES[1][:-4]
    face = cap(0, bumps=2.9)
    vertices = face.mesh.vertices.copy()
    jaw = np.exp(-(vertices[:, 0] ** 2 + (vertices[:, 1] + 45) ** 2) / 800)
    vertices[:, 1] -= 12 * jaw  # an open mouth
    opened = moved(face._replace(mesh=type(face.mesh)(vertices, face.mesh.faces)), similarity(8, scale=1.0))
    write_prediction(folder, name, opened.mesh.vertices, opened.mesh.faces, opened.landmarks)
    finding = only(found(folder, dataset))
    assert (finding.severity, finding.item) == ("warning", name)
    assert "expression" in finding.problem


def test_without_scans_one_warning_says_what_was_not_seen(folder, tmp_path):
    root = write_dataset(tmp_path / "now", NAMES)
    (root / "imagepathsvalidation.txt").rename(root / "imagepathstest.txt")
    (root / "scans_lmks_onlypp").rename(root / "elsewhere")
    finding = only(found(folder, NowDataset(root, "test")))
    assert finding.item == "submission"
    assert "2 subjects have no scan landmarks" in finding.problem


def test_a_refusal_without_advice_is_what_is_wrong():
    assert finding_from_error("a", DataError("the mesh is empty; export it again"))[2:] == (
        "the mesh is empty",
        "export it again",
    )
    assert finding_from_error("a", DataError("the mesh is empty"))[2:] == ("the mesh is empty", "correct the file")
