"""Lists of names and pairs, and which pairs are proposed."""

import numpy as np
import pytest

from focus_ray.data.sources.subset_lists import propose_pairs, read_names, read_pairs, write_names, write_pairs
from focus_ray.errors import DataError
from focus_ray.storage.open_store import open_store


def test_lists_are_read_as_they_are_written(tmp_path, bucket):
    names = ["a/1.jpg", "b#2", "\udcff.png"]
    write_names(tmp_path / "one.txt", names)
    assert read_names(tmp_path / "one.txt") == ["a/1", "b#2", "\udcff"]
    open_store(bucket).write("lists/one.txt", (tmp_path / "one.txt").read_bytes())
    assert read_names(f"{bucket}/lists/one.txt", "a") == ["1", "b#2", "\udcff"]
    pairs = [("a/1.jpg", "a/2.jpg"), ("a/3.jpg", "a/2.jpg")]
    write_pairs(tmp_path / "pairs.txt", pairs)
    assert read_pairs(tmp_path / "pairs.txt") == [("a/1", "a/2"), ("a/3", "a/2")]
    write_names(tmp_path / "none.txt", [])
    assert read_names(tmp_path / "none.txt") == []
    (tmp_path / "none.txt").write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        read_names(tmp_path / "none.txt")


def test_comments_and_empty_lines_are_passed_over(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeff# of the test set\n\n  1.jpg  # a hat\r\n2.jpg\n")
    assert read_names(tmp_path / "a.txt") == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.jpg 2.jpg\n", "line 1: 2 names instead of 1"),
        ("1.jpg\n\n1.png\n", "line 3: 1.png is already in line 1"),
        ("../1.jpg", "line 1: '../1.jpg' is not a file name inside the set"),
        ("/etc/1.jpg", "not a file name inside"),
        ("a\\..\\1.jpg", "not a file name inside"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_names(tmp_path / "list.txt")


def test_a_pair_has_two_names(tmp_path):
    (tmp_path / "pairs.txt").write_text("1 2\n3\n")
    with pytest.raises(DataError, match="line 2: 1 names instead of 2"):
        read_pairs(tmp_path / "pairs.txt")


@pytest.mark.parametrize("name", ["IMG 1.jpg", "", "#1.jpg", "a\nb"])
def test_a_name_that_could_not_be_read_again_is_not_written(tmp_path, name):
    with pytest.raises(DataError, match="cannot be listed"):
        write_names(tmp_path / "a.txt", ["1.jpg", name])
    assert not (tmp_path / "a.txt").exists()


NAMES = ["a0", "a1", "a2", "a3", "b0", "b1"]
SUBJECTS = ["a", "a", "a", "a", "b", "b"]
OCCLUDED = np.array([True, True, False, False, True, False])


def degrees(*yaws):
    return np.deg2rad([[0.0, yaw, 0.0] for yaw in yaws])


def test_the_nearest_pose_of_the_same_person_is_taken_first():
    rotations = degrees(0, 6, 5, 8, 40, 0)
    assert propose_pairs(NAMES, SUBJECTS, rotations, OCCLUDED, np.deg2rad(9)) == [("a1", "a2"), ("a0", "a3")]
    assert propose_pairs(NAMES, SUBJECTS, rotations, OCCLUDED, np.deg2rad(7)) == [("a1", "a2")]
    assert propose_pairs(NAMES, SUBJECTS, rotations, OCCLUDED, np.deg2rad(41))[-1] == ("b0", "b1")


def test_equal_distances_are_decided_by_name_whatever_the_order():
    rotations = degrees(0, 0, 0, 0, 0, 0)
    expected = [("a0", "a2"), ("a1", "a3"), ("b0", "b1")]
    assert propose_pairs(NAMES, SUBJECTS, rotations, OCCLUDED) == expected
    order = [5, 3, 1, 0, 2, 4]
    shuffled = ([NAMES[i] for i in order], [SUBJECTS[i] for i in order], rotations[order], OCCLUDED[order])
    assert propose_pairs(*shuffled) == expected


def test_the_difference_is_that_of_the_rotations_and_not_of_their_angles():
    turned = np.deg2rad([[0.0, 0.0, 179.0], [0.0, 0.0, -179.0]])
    assert propose_pairs(["a", "b"], ["x", "x"], turned, np.array([True, False]), np.deg2rad(3)) == [("a", "b")]
    assert propose_pairs(["a", "b"], ["x", "x"], turned, np.array([True, False]), np.deg2rad(1)) == []
