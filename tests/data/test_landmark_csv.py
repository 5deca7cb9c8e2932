"""Landmark files: what is read, and the line that a message names."""

import os
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from focus_ray.data.landmark_csv import describe_unused_lines, find_landmarks, read_landmarks, write_landmarks
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


# What a file system takes: no zero byte, bytes that are not UTF-8 as surrogates, and a normal relative path.
LETTERS = st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from(
    "\udc80\udcff \\,\"'\r\n\t./\ufeff\u00a0"
)
NAMES = st.text(LETTERS, min_size=1, max_size=12).filter(
    lambda name: str(PurePosixPath(name)) == name and name != "." and name[0] != "/" and ".." not in name.split("/")
)


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True))
@example([" a.png", "a.png ", "a\\b.png", "a,b.png", 'a"b.png', "a\nb.png", "a\rb.png", "\ufeffa.png", "\u202fa.png"])
def test_any_file_name_is_read_as_it_was_written(names: list[str]):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "l.csv"
        write_landmarks(path, {name: np.full((68, 2), float(number)) for number, name in enumerate(names)})
        found = read_landmarks(path)
    assert list(found) == names
    assert [points[0, 0] for points in found.values()] == list(range(len(names)))


def test_names_that_people_write(tmp_path: Path):
    assert list(read_landmarks(write(tmp_path / "l.csv", row(" a.jpg "), row("sub\\b.png")))) == ["a.jpg", "sub/b.png"]


def test_a_name_is_found_in_either_spelling_and_lines_that_are_not_used_are_counted():
    composed, decomposed = "Zo\u00eb.png", "Zoe\u0308.png"
    for written, asked in ((composed, decomposed), (decomposed, composed)):
        points = {written: np.ones((68, 2)), "other.png": np.zeros((68, 2))}
        assert find_landmarks(points, asked) is points[written]
        assert describe_unused_lines(points, [asked, "other.png"]) is None
        assert describe_unused_lines(points, ["x.png", asked]) == (
            "1 of 2 lines of the landmark file match no picture and are ignored; first: other.png"
        )
    assert find_landmarks({}, "x.png") is None


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
        (row("b.jpg", "nan"), "column 2 is 'nan'"),
        (row("b.jpg", "inf"), "column 2 is 'inf'"),
        (row("b.jpg", "x"), "column 2 is 'x'"),
        (row("a.jpg"), "a.jpg is already in line 1"),
        (row("../b.jpg"), "not a file name inside the folder"),
        (row("/etc/b.jpg"), "not a file name inside the folder"),
        (row(""), "not a file name inside the folder"),
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
