"""300-W's point files."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.sources.pts_file import read_pts
from focus_ray.errors import LandmarkError

POINTS = np.arange(136.0).reshape(68, 2) / 4


def pts_text(points: np.ndarray) -> str:
    lines = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{lines}\n}}\n"


def read(tmp_path: Path, text: str | bytes) -> np.ndarray:
    path = tmp_path / "a.pts"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_pts(path)


def test_the_first_pixel_of_the_file_is_1_and_ours_is_0(tmp_path: Path):
    np.testing.assert_allclose(read(tmp_path, pts_text(POINTS + 1)), POINTS)
    np.testing.assert_allclose(read(tmp_path, pts_text(POINTS + 1).replace("\n", "\r\n")), POINTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("hello", "no points in braces"),
        (pts_text(POINTS[:67]), "does not hold 68 points"),
        (pts_text(POINTS).replace("\n0.500000", "\nnan"), "does not hold 68 points"),
        (pts_text(POINTS).replace("\n0.500000", "\nx"), "could not convert"),
        (pts_text(POINTS).replace("\n0.500000", "\n"), "cannot be read"),
        (b"\xff\xfe\x00{1 2}", "cannot be read"),
        (" " * 1_000_001, "exceed the limit"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | bytes, message: str):
    with pytest.raises(LandmarkError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(LandmarkError, match=r"none\.pts: there is no such file"):
        read_pts(tmp_path / "none.pts")


@pytest.mark.shared
def test_a_published_file_names_the_points_of_the_landmark_file(shared_data: Path):
    """Two annotations of one picture: they differ by less than a tenth of the face but along the jaw."""
    points = read_pts(shared_data / "photos" / "image_0010.pts")
    known = read_landmarks(shared_data / "photos" / "landmarks68.csv")["image_0010.png"]
    distances = np.linalg.norm(points - known, axis=1) / np.ptp(known, axis=0).mean()
    assert distances[17:].max() < 0.1
