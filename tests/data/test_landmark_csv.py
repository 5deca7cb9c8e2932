"""Landmark files: what is read, and the line that a message names."""

import os
from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.landmark_csv import read_landmarks, write_landmarks
from focus_ray.errors import LandmarkError


def row(name: str, first: object = 0.5, count: int = 136) -> str:
    return ",".join([name, str(first), *(str(value) for value in range(1, count))])


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_floats_header_blank_lines_and_byte_order_mark(tmp_path: Path):
    path = tmp_path / "l.csv"
    header = ",".join(["filename", *(f"{axis}{index}" for index in range(68) for axis in "xy")])
    path.write_bytes(b"\xef\xbb\xbf" + f"{header}\r\n\r\n{row('a.jpg')}\r\n{row('sub/b.png', -3)}\r\n".encode())
    found = read_landmarks(path)
    assert list(found) == ["a.jpg", "sub/b.png"]
    assert found["a.jpg"].shape == (68, 2)
    np.testing.assert_array_equal(found["a.jpg"][:2], [[0.5, 1], [2, 3]])
    assert found["sub/b.png"][0, 0] == -3


def test_round_trip(tmp_path: Path):
    points = np.random.default_rng(0).uniform(0, 500, (68, 2))
    write_landmarks(tmp_path / "l.csv", {"a,b.jpg": points})
    np.testing.assert_allclose(read_landmarks(tmp_path / "l.csv")["a,b.jpg"], points, atol=0.0051)


def test_names_that_are_not_utf_8(tmp_path: Path):
    name = os.fsdecode(b"inv\xff.jpg")
    write_landmarks(tmp_path / "l.csv", {name: np.zeros((68, 2))})
    assert (tmp_path / "l.csv").read_bytes().startswith(b"inv\xff.jpg,0.00,")
    assert list(read_landmarks(tmp_path / "l.csv")) == [name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    write_landmarks(tmp_path / "l.csv", {"a.jpg": np.zeros((68, 2))})
    with pytest.raises(UnicodeEncodeError):
        write_landmarks(tmp_path / "l.csv", {"b.jpg": np.ones((68, 2)), "\ud800.jpg": np.ones((68, 2))})
    assert list(read_landmarks(tmp_path / "l.csv")) == ["a.jpg"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_gives_a_short_message(separator: str, tmp_path: Path):
    path = write(tmp_path / "l.csv", row("a.jpg").replace(",", separator))
    with pytest.raises(LandmarkError, match="separated by commas") as caught:
        read_landmarks(path)
    assert len(str(caught.value)) - len(str(path)) < 250
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (row("b.jpg", count=135), "line 2 .b.jpg.: 135 numbers instead of 136"),
        (row("b.jpg", count=137), "137 numbers"),
        (row("b.jpg", "nan"), "column 2 holds 'nan'"),
        (row("b.jpg", "inf"), "column 2 holds 'inf'"),
        (row("b.jpg", "x"), "column 2 holds 'x'"),
        (row("a.jpg"), "a.jpg already stands in line 1"),
        (row("../b.jpg"), "no file name inside the folder"),
        (row("/etc/b.jpg"), "no file name inside the folder"),
        (row(""), "no file name inside the folder"),
        ("b.jpg", "0 numbers"),
    ],
)
def test_bad_rows_are_named(line: str, message: str, tmp_path: Path):
    with pytest.raises(LandmarkError, match=message):
        read_landmarks(write(tmp_path / "l.csv", row("a.jpg"), line))


def test_missing_empty_and_binary_files(tmp_path: Path):
    with pytest.raises(LandmarkError, match="no such landmark file"):
        read_landmarks(tmp_path / "none.csv")
    with pytest.raises(LandmarkError, match="no landmarks in the file"):
        read_landmarks(write(tmp_path / "l.csv", ""))
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x80\x81")
    with pytest.raises(LandmarkError, match="cannot be read as text"):
        read_landmarks(tmp_path / "b.csv")
    with pytest.raises(LandmarkError, match="cannot be read"):
        read_landmarks(tmp_path)


@pytest.mark.shared
def test_the_shared_landmarks(shared_data: Path):
    found = read_landmarks(shared_data / "photos" / "landmarks68.csv")
    assert len(found) == 16
    assert found["000002.jpg"][0].tolist() == [132.32, 198.73]
