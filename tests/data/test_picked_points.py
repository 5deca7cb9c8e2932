"""MeshLab's picked points."""

import numpy as np
import pytest

from focus_ray.data.picked_points import read_picked_points
from focus_ray.errors import LandmarkError

HEADER = '<!DOCTYPE PickedPoints>\n<PickedPoints>\n <DocumentData>\n  <User name="x"/>\n </DocumentData>\n'
POINT = ' <point x="1.5" y="-2e1" z="{}" active="1" name="{}"/>\n'
END = "</PickedPoints>\n"


def read(tmp_path, text):
    path = tmp_path / "a.pp"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_picked_points(path)


def test_points_come_in_their_order_whatever_the_order_of_attributes(tmp_path):
    text = HEADER + POINT.format(3, 0) + ' <point name="1" z="4" active="1" y="5" x="6"/>\n' + END
    np.testing.assert_array_equal(read(tmp_path, text), [[1.5, -20, 3], [6, 5, 4]])
    assert read(tmp_path, HEADER + END).shape == (0, 3)


BOMB = '<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<PickedPoints>&b;</PickedPoints>'
OUTSIDE = '<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/hosts">]>\n<PickedPoints>&a;</PickedPoints>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("hello", "cannot be read"),
        (HEADER, "cannot be read"),
        ("<html/>", "the root element is 'html'"),
        (HEADER + POINT.format("nan", 0) + END, "not finite"),
        (HEADER + POINT.format("x", 0) + END, "x, y or z of point 0 is missing"),
        (HEADER + '<point x="1" y="2"/>' + END, "x, y or z of point 0 is missing"),
        (HEADER + POINT.format(1, 0) * 10_001 + END, "more than 10000 points"),
        (BOMB, "entity declarations"),
        (OUTSIDE, "entity declarations"),
        (b"\xff\xfe\x00", "cannot be read"),
        (" " * 1_000_001, "MB exceed the limit"),
    ],
)
def test_anything_else_is_refused(text, message, tmp_path):
    with pytest.raises(LandmarkError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LandmarkError, match=r"none\.pp: there is no such file"):
        read_picked_points(tmp_path / "none.pp")
