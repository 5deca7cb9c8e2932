"""Basel Face Model: bases, means, crop and landmarks from files of its layout; hostile files are refused."""

import json
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.bfm import LANDMARK_VERTICES, facial_vertices, read_bfm
from focus_ray.face_models.importers.import_options import ImportOptions
from tests.face_models.importers.writers import BFM_ORIGIN, toy, write_bfm, write_full_bfm

FACE = toy()
WHOLE = ImportOptions(crop=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bfm") / "model.h5"
    write_bfm(path, FACE)
    return path


@pytest.fixture
def changed(path, tmp_path) -> Path:
    copy = tmp_path / "model.h5"
    copy.write_bytes(path.read_bytes())
    return copy


def replace(path: Path, key: str, **value) -> None:
    with h5py.File(path, "r+") as file:
        if key in file:
            del file[key]
        if value:
            file.create_dataset(key, **value)


def vertex_list(folder: Path) -> Path:
    nearest = np.linalg.norm(FACE.mean[:255, None] - FACE.landmarks, axis=-1).argmin(axis=0)
    (folder / "landmarks.json").write_text(json.dumps(nearest.tolist()))
    return folder / "landmarks.json"


def test_means_and_bases_are_those_of_the_file(path):
    source = read_bfm(path, WHOLE)
    with h5py.File(path) as file:
        means = [file[f"{group}/model/mean"][...].reshape(-1, 3) for group in ("shape", "expression", "color")]
        np.testing.assert_allclose(source.mean, means[0] + means[1] - BFM_ORIGIN, atol=1e-4)
        np.testing.assert_allclose(source.albedo.mean, means[2], atol=1e-6)
        for group, basis in (
            ("shape", source.identity),
            ("expression", source.expression),
            ("color", source.albedo.basis),
        ):
            expected = file[f"{group}/model/pcaBasis"][...] * np.sqrt(file[f"{group}/model/pcaVariance"][...])
            np.testing.assert_allclose(basis.reshape(len(basis), -1), expected.T, atol=1e-5)
    np.testing.assert_array_equal(source.faces, FACE.faces)
    assert source.provenance.kind == "bfm"
    assert len(source.provenance.files["model.h5"]) == 64
    assert source.provenance.licence.commercial == "no"


def test_only_the_leading_modes_are_read(path):
    source = read_bfm(path, ImportOptions(crop=False, modes=(5, 4, 3)))
    assert (len(source.identity), len(source.expression), len(source.albedo.basis)) == (5, 4, 3)
    assert "Shape: the leading 5 of 12 modes were read." in source.provenance.notes


@pytest.mark.parametrize("form", ["json", "text"])
def test_named_points_become_landmarks(form, tmp_path):
    write_bfm(tmp_path / "model.h5", FACE, metadata=form)
    source = read_bfm(tmp_path / "model.h5", WHOLE)
    known = [30, 36, 39, 42, 45, 48, 54, 57]
    np.testing.assert_allclose(source.landmarks[known], FACE.landmarks[known], atol=1.0)
    assert np.linalg.norm(source.landmarks - FACE.landmarks, axis=1).mean() < 10
    assert any("14 are points with a name" in note for note in source.provenance.notes)


def test_a_landmark_file_comes_first(path, tmp_path):
    source = read_bfm(path, ImportOptions(crop=False, landmarks=vertex_list(tmp_path)))
    assert (source.landmark_barycentric.max(axis=1) == 1).all()
    assert set(source.provenance.files) == {"model.h5", "landmarks.json"}


def test_without_named_points_a_landmark_file_is_asked_for(tmp_path):
    write_bfm(tmp_path / "model.h5", FACE, metadata=None)
    with pytest.raises(FaceModelError, match="give a landmark file: 68 rows in iBUG order, each a vertex"):
        read_bfm(tmp_path / "model.h5", WHOLE)


def test_the_crop_keeps_the_face(path, tmp_path):
    options = ImportOptions(landmarks=vertex_list(tmp_path))
    whole, crop = read_bfm(path, options.model_copy(update={"crop": False})), read_bfm(path, options)
    keep = facial_vertices(FACE.mean + BFM_ORIGIN)
    assert 0 < len(crop.mean) < len(whole.mean)
    assert len(crop.mean) <= keep.sum()
    by_place = {tuple(place): number for number, place in enumerate(whole.mean)}
    numbers = [by_place[tuple(place)] for place in crop.mean]
    assert keep[numbers].all()
    np.testing.assert_array_equal(crop.identity, whole.identity[:, numbers])
    np.testing.assert_array_equal(crop.albedo.basis, whole.albedo.basis[:, numbers])
    np.testing.assert_allclose(crop.landmarks, whole.landmarks, atol=1e-6)


def test_the_rule_of_the_crop_keeps_the_middle_and_drops_what_is_behind():
    places = np.array([[0, 0, 110.0], [0, -60, 100], [0, 0, 10], [0, 0, -50], [-85, 0, 5], [0, 120, 30]])
    assert facial_vertices(places).tolist() == [True, True, False, False, False, False]


def test_a_model_without_colours_is_read(changed):
    replace(changed, "color")
    assert read_bfm(changed, WHOLE).albedo is None


def test_the_terms_can_come_from_a_file(path, tmp_path):
    (tmp_path / "LICENSE.txt").write_text("Terms of the owner.\n")
    source = read_bfm(path, ImportOptions(crop=False, licence=tmp_path / "LICENSE.txt"))
    assert source.provenance.licence.text == "Terms of the owner.\n"
    assert source.provenance.licence.commercial == "no"


N = len(FACE.mean)
MALFORMED = {
    "no mean": ("shape/model/mean", {}, "the file has no shape/model/mean; give a file of the BFM 2017 or 2019"),
    "no cells": ("shape/representer/cells", {}, "the file has no shape/representer/cells"),
    "no expressions": ("expression/model/mean", {}, "the file has no expression/model/mean"),
    "not in triples": ("shape/model/mean", {"data": np.zeros(3 * N + 1)}, "has the shape .* does not fit to a BFM"),
    "another mean": ("expression/model/mean", {"data": np.zeros(30)}, "has the shape .* does not fit to a BFM"),
    "basis of another size": ("shape/model/pcaBasis", {"data": np.zeros((3 * N, 5))}, "does not fit to a BFM"),
    "text": ("shape/model/mean", {"data": np.full(3 * N, b"x")}, "has the type .*, not numbers; get the file again"),
    "NaN in the mean": ("shape/model/mean", {"data": np.full(3 * N, np.nan)}, "has a number that is not finite"),
    "NaN in the basis": (
        "shape/model/pcaBasis",
        {"data": np.full((3 * N, 12), np.nan)},
        "identity has a number that is not",
    ),
    "negative variance": (
        "shape/model/pcaVariance",
        {"data": -np.ones(12)},
        "has a negative number; get the file again",
    ),
    "triangle outside": (
        "shape/representer/cells",
        {"data": np.full((3, 9), N)},
        "a triangle has a vertex that is not one of",
    ),
    "negative triangle": (
        "shape/representer/cells",
        {"data": np.full((3, 9), -1)},
        "a triangle has a vertex that is not",
    ),
    "triangles of reals": (
        "shape/representer/cells",
        {"data": np.zeros((3, 9))},
        "the triangles have shape .* float64",
    ),
    "claimed shape": ("shape/model/mean", {"shape": (1 << 60,), "dtype": "f4"}, "claims the shape"),
    "claimed chunks": (
        "shape/model/pcaBasis",
        {"shape": (3 * N, 12), "dtype": "f4", "chunks": (3 * N, 12), "maxshape": (None, None), "lzf": True},
        "is packed in a way that published files are not; store it uncompressed",
    ),
    "values that are not there": (
        "shape/model/pcaBasis",
        {"shape": (3 * N, 12), "dtype": "f4"},
        "its values are not in the file",
    ),
    "scalar": ("shape/model/mean", {"data": 1.0}, "does not fit to a BFM"),
    "points that are no JSON": (
        "metadata/landmarks/json",
        {"data": np.bytes_("[" * 99999)},
        "named points of the file are malformed",
    ),
    "points of a wrong form": (
        "metadata/landmarks/json",
        {"data": np.bytes_('[{"id": 1}]')},
        "named points of the file are malformed",
    ),
    "points not finite": (
        "metadata/landmarks/json",
        {"data": np.bytes_('{"center.nose.tip": [NaN, 0, 0]}')},
        "a named point of the file is not finite; give a landmark file",
    ),
    "huge text": (
        "metadata/landmarks/json",
        {"data": np.bytes_(b"x" * (2 << 20))},
        "has 2097152 bytes, more than 1048576",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused(case, changed):
    key, value, message = MALFORMED[case]
    value = dict(value)
    if value.pop("lzf", False):
        value["compression"] = "lzf"
    replace(changed, key, **value)
    with pytest.raises(FaceModelError, match=message):
        read_bfm(changed, WHOLE)


def test_no_value_is_taken_from_another_file(changed, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["mean"] = np.zeros(3 * N)
    raw = tmp_path / "raw.bin"
    raw.write_bytes(bytes(8 * 3 * N))
    virtual = h5py.VirtualLayout((3 * N,), "f8")
    virtual[:] = h5py.VirtualSource(str(secret), "mean", (3 * N,))
    cases = {
        "is a link": lambda file: file.__setitem__("shape/model/mean", h5py.ExternalLink(str(secret), "mean")),
        "is a link, which no": lambda file: file.__setitem__("shape/model/mean", h5py.SoftLink("/color/model/mean")),
        "from another file": lambda file: file.create_virtual_dataset("shape/model/mean", virtual),
        "takes its values": lambda file: file.create_dataset(
            "shape/model/mean", (3 * N,), "f8", external=[(str(raw), 0, h5py.h5f.UNLIMITED)]
        ),
    }
    for message, write in cases.items():
        replace(changed, "shape/model/mean")
        with h5py.File(changed, "r+") as file:
            write(file)
        with pytest.raises(FaceModelError, match=message):
            read_bfm(changed, WHOLE)


def test_a_group_that_is_a_link_is_refused(changed):
    with h5py.File(changed, "r+") as file:
        file.move("shape", "elsewhere")
        file["shape"] = h5py.SoftLink("/elsewhere")
    with pytest.raises(FaceModelError, match="shape/model/mean is a link, which no published file has; do not trust"):
        read_bfm(changed, WHOLE)


def test_damaged_files_are_refused(path, tmp_path):
    content = path.read_bytes()
    for name, damaged in {"cut": content[: len(content) // 2], "text": b"no HDF5", "png": b"\x89PNG" + content}.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(FaceModelError, match=r"is damaged or no file of the BFM .* get it again"):
            read_bfm(tmp_path / name, WHOLE)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(FaceModelError, match="it is a link; give the file itself"):
        read_bfm(tmp_path / "link", WHOLE)


# The peak is the kernel's VmHWM: getrusage would begin with the peak of the process that runs the tests.
IMPORT = """
import re, sys, time
from pathlib import Path
from focus_ray.face_models.importers.bfm import read_bfm
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.source_model import assemble
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
start = time.perf_counter()
source = read_bfm(Path(sys.argv[1]), ImportOptions(crop=sys.argv[2] == "crop"))
read = time.perf_counter() - start, peak()
assemble(source, (80, 64, 80)).save(Path(sys.argv[1]).with_suffix(".face"))
print(*source.identity.shape, *source.expression.shape, len(source.albedo.basis), *read, time.perf_counter() - start,
      peak(), *source.landmarks[30])
"""


@pytest.fixture(scope="module")
def full_size(tmp_path_factory) -> tuple[Path, np.ndarray]:
    path = tmp_path_factory.mktemp("full") / "model2017-1_bfm_nomouth.h5"
    return path, write_full_bfm(path)


@pytest.mark.slow
@pytest.mark.parametrize("extent", ["crop", "full"])
def test_a_file_of_full_size_is_imported_within_a_gigabyte(
    extent, full_size, python, python_environment, record_property
):
    path, mean = full_size
    command = [python, "-c", IMPORT, str(path), extent]
    result = subprocess.run(command, env=python_environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    numbers = [float(word) for word in result.stdout.split()]
    modes, n_vertices, peak_kib = (numbers[0], numbers[3], numbers[6]), numbers[1], numbers[10]
    assert modes == (80, 64, 80)
    assert n_vertices == 53149 if extent == "full" else 20_000 < n_vertices < 53149
    np.testing.assert_allclose(numbers[11:], mean[LANDMARK_VERTICES[30]] - BFM_ORIGIN, atol=1e-3)
    record_property("read_s", round(numbers[7], 2))
    record_property("import_s", round(numbers[9], 2))
    record_property("read_peak_mb", round(numbers[8] / 1024))
    record_property("peak_mb", round(peak_kib / 1024))
    assert peak_kib < 1 << 20
