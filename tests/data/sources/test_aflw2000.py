"""AFLW2000-3D's MATLAB files."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from focus_ray.data.sources.aflw2000 import read_mat
from focus_ray.errors import LandmarkError

POINTS = np.arange(136.0).reshape(68, 2) / 4
PT3D = np.vstack([POINTS.T + 1, np.zeros(68)]).astype(np.float32)
POSE = np.array([[0.1, -1.2, 0.3, 50.0, 60.0, -5.0, 0.001]])


def written(tmp_path: Path, **variables) -> Path:
    savemat(tmp_path / "a.mat", variables, do_compression=True)
    return tmp_path / "a.mat"


def test_points_from_0_and_the_yaw_in_degrees(tmp_path: Path):
    points, yaw = read_mat(written(tmp_path, pt3d_68=PT3D, Pose_Para=POSE, Exp_Para=np.zeros((29, 1))))
    np.testing.assert_allclose(points, POINTS, atol=1e-5)
    assert yaw == pytest.approx(np.degrees(-1.2))


def test_a_file_without_pose_has_no_yaw(tmp_path: Path):
    assert read_mat(written(tmp_path, pt3d_68=PT3D))[1] is None
    assert read_mat(written(tmp_path, pt3d_68=PT3D, Pose_Para=POSE[:, :6]))[1] is None


@pytest.mark.parametrize(
    "variables",
    [
        {"pt2d": POINTS.T[:, :21]},
        {"pt3d_68": PT3D[:2]},
        {"pt3d_68": np.where(PT3D == 1, np.nan, PT3D)},
        {"pt3d_68": {"a": 1}},
        {"pt3d_68": "text"},
    ],
)
def test_files_without_the_68_points_are_refused(tmp_path: Path, variables: dict):
    with pytest.raises(LandmarkError, match="no pt3d_68 of 3 x 68 finite numbers"):
        read_mat(written(tmp_path, **variables))


def test_damaged_files_and_other_versions_are_refused(tmp_path: Path):
    path = written(tmp_path, pt3d_68=PT3D, Pose_Para=POSE)
    content = path.read_bytes()
    overwritten = content[:150] + b"\xff" * 40 + content[190:]
    version_7_3 = content[:124] + b"\x00\x02IM" + content[128:]
    for other in (b"x", content[:200], overwritten, version_7_3):
        path.write_bytes(other)
        with pytest.raises(LandmarkError, match=r"a\.mat: the file cannot be read as MATLAB's version 5"):
            read_mat(path)


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"a" * 1_000_001, "exceed the limit")])
def test_empty_and_large_files_are_not_parsed(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(LandmarkError, match=message):
        read_mat(tmp_path / "a.mat")


def test_300w_lp_has_its_points_in_pt2d(tmp_path: Path):
    points, yaw = read_mat(written(tmp_path, pt2d=POINTS.T + 1, Pose_Para=POSE))
    np.testing.assert_allclose(points, POINTS, atol=1e-5)
    assert yaw == pytest.approx(np.degrees(-1.2))
