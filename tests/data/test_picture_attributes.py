"""Attributes of photographs: those of the portraits, and files with mistakes."""

from collections import Counter
from pathlib import Path

import pytest

from focus_ray.data.picture_attributes import (
    OPEN_FACE,
    find_attributes,
    read_attributes,
    require_attributes,
    select_open,
)
from focus_ray.data.portraits import read_portrait_list
from focus_ray.errors import DataError


def test_each_portrait_to_choose_and_to_report_on_has_attributes():
    attributes = read_attributes()
    splits = {portrait.name: portrait.split for portrait in read_portrait_list() if portrait.split != "train"}
    assert list(attributes) == sorted(splits)
    assert all(list(values) == ["glasses", "beard", "fringe", OPEN_FACE] for values in attributes.values())
    opened = [name for name, values in attributes.items() if values[OPEN_FACE]]
    assert Counter(splits[name] for name in opened)["report"] == 60
    assert not any(any(attributes[name][title] for title in ("glasses", "beard", "fringe")) for name in opened)


def test_a_file_of_ones_own(tmp_path: Path):
    file = tmp_path / "attributes.csv"
    file.write_text("\ufeffglasses, name\n\nyes, a/b.jpg\nno,Zoë.png\n", encoding="utf-8")
    attributes = read_attributes(file)
    assert attributes == {"a/b.jpg": {"glasses": True}, "Zoë.png": {"glasses": False}}
    require_attributes(attributes, ["Zoë.png"], file)
    with pytest.raises(DataError, match=r"2 of 3 photographs have no line \(first: c.jpg\)"):
        require_attributes(attributes, ["d.jpg", "c.jpg", "Zoë.png"], file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,glasses\na.jpg,maybe\n", "line 2: glasses is 'maybe'; write yes or no"),
        (b"name,glasses\na.jpg\n", "line 2: 1 values instead of 2"),
        (b"name,glasses\na.jpg,yes\na.jpg,no\n", "line 3: a.jpg has a line already"),
        (b"name\na.jpg\n", "first line"),
        (b"picture,glasses\na.jpg,yes\n", "first line"),
        (b"name,glasses,glasses\na.jpg,yes,no\n", "first line"),
        (b"name,glasses\n", "no photographs"),
        (b"name,glasses\n\xff\xfe,yes\n", "as text"),
        (b"", "empty"),
    ],
)
def test_files_with_mistakes(tmp_path: Path, content: bytes, message: str):
    file = tmp_path / "attributes.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_attributes(file)


def test_attributes_of_the_package_are_those_of_portraits_only(tmp_path: Path):
    names = list(read_attributes())[:3]
    assert find_attributes(names, None) == read_attributes()
    assert find_attributes([*names, "somebody.jpg"], None) == {}
    (tmp_path / "attributes.csv").write_text("name,open\na.jpg,yes\n")
    assert find_attributes(["a.jpg"], tmp_path / "attributes.csv") == {"a.jpg": {"open": True}}
    with pytest.raises(DataError, match="3 of 3 photographs have no line"):
        find_attributes(names, tmp_path / "attributes.csv")


def test_marks_of_open_faces():
    attributes = {"a.jpg": {"open": True}, "b.jpg": {"open": False}, "c.jpg": {"glasses": True}}
    assert select_open(["b.jpg", "a.jpg", "c.jpg", "d.jpg"], attributes) == ["a.jpg"]
    assert select_open(["b.jpg"], attributes) == []
    assert select_open(["c.jpg", "d.jpg"], attributes) is None
