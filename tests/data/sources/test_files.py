"""What lies in a set: the same from a folder and from a store."""

import pytest

from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources import files
from focus_ray.data.sources.files import bare_name, find_pictures, list_files, read_text
from focus_ray.errors import DataError
from tests.data.dataset_writers.sets import uploaded


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set" / "masks" / "deep").mkdir(parents=True)
    for name in ("b.png", "a.bmp", "a.png", "notes.txt", "masks/a.png", "masks/deep/c.JPG"):
        (tmp_path / "set" / name).write_bytes(name.encode())
    return tmp_path / "set"


def test_a_store_holds_what_the_folder_holds(root, bucket):
    for place in (root, uploaded(root, f"{bucket}/set")):
        source = open_picture_source(place)
        assert list_files(source, "masks") == ["masks/a.png", "masks/deep/c.JPG"]
        assert len(list_files(source)) == 6
        assert len(list_files(source, limit=1)) == 1
        assert list_files(source, "none") == []
        assert find_pictures(source) == {"a": "a.bmp", "b": "b.png"}
        assert find_pictures(source, "masks/deep") == {"c": "masks/deep/c.JPG"}
        assert read_text(f"{place}/notes.txt") == "notes.txt"
        with pytest.raises(DataError, match="there is no such"):
            read_text(f"{place}/none.txt")


def test_names_lose_their_suffix_and_the_folder_of_pictures():
    assert bare_name("CelebA-HQ-img/1.jpg", "CelebA-HQ-img") == bare_name("1.PNG") == bare_name("1") == "1"
    assert bare_name("anna/selfie/IMG_1.v2.jpeg") == "anna/selfie/IMG_1.v2"
    assert bare_name("v1.5", "v") == "v1.5"


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty"), (b"a\0b", "zero bytes"), (b"x" * 200, "exceed the limit")]
)
def test_what_is_no_small_text_is_a_data_error(root, bucket, monkeypatch, content, message):
    monkeypatch.setattr(files, "_TEXT_MEGABYTES", 1e-4)
    (root / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_text(root / "list.txt")
    if content:
        with pytest.raises(DataError, match=message):
            read_text(uploaded(root, f"{bucket}/set") + "/list.txt")
