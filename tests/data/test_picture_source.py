"""Where pictures lie: their bytes in order, sizes before bytes, and whether one picture or the whole store fails."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from focus_ray.data.image_file import ImageLimits
from focus_ray.data.picture_source import FolderPictures, ObjectStorePictures, PictureSource, open_picture_source
from focus_ray.errors import ConfigError, DataError, ImageError, NoSuchObject, StorageError
from focus_ray.storage.object_store import Entry


@dataclass
class Objects:
    """A store in memory that refuses what it is told to."""

    content: dict[str, bytes]
    refused: set[str] = field(default_factory=set)
    down: bool = False
    seconds: float = 0.0
    asked: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return "s3://bucket/photos"

    def size(self, key: str) -> int:
        return len(self._get(key))

    def read(self, key: str) -> bytes:
        self.asked.append(key)
        time.sleep(self.seconds)
        return self._get(key)

    def list(self, prefix: str = "", *, limit: int | None = None) -> list[Entry]:
        self._answer()
        return [Entry(key, len(content)) for key, content in self.content.items() if key.startswith(f"{prefix}/")]

    def _get(self, key: str) -> bytes:
        self._answer()
        self.threads.add(threading.get_ident())
        if key in self.refused:
            raise StorageError(f"the credentials do not allow GetObject on {key}; allow it")
        if key not in self.content:
            raise NoSuchObject(f"there is no object {key}; check its key")
        return self.content[key]

    def _answer(self) -> None:
        if self.down:
            raise StorageError("nothing answers; start the server")

    def _unused(self, *arguments: object) -> None:
        raise NotImplementedError

    at = write = upload = download = delete = check = filesystem = _unused


def fetched(source: PictureSource, names: list[str]) -> dict[str, bytes | str]:
    """The content of each picture, or the reason why there is none."""
    found: dict[str, bytes | str] = {}
    for name, content in source.contents(names):
        try:
            found[name] = content()
        except ImageError as error:
            found[name] = source.failure_reason(name) if source.location(name) in str(error) else str(error)
    return found


def test_every_picture_or_why_not():
    store = Objects({"a": b"A", "large": bytes(2000), "empty": b"", "refused": b"R"}, refused={"refused"})
    source = ObjectStorePictures(store, ImageLimits(megabytes=0.001))
    names = ["a", "large", "gone", "refused", "empty", "inv\udcff.png", "new\nline"]
    assert fetched(source, names) == {
        "a": b"A",
        "large": "unreadable",
        "gone": "missing",
        "refused": "not fetched",
        "empty": "unreadable",
        "inv\udcff.png": "missing",
        "new\nline": "missing",
    }
    assert sorted(store.asked) == ["a"], "what is too large is not fetched"


def test_a_store_that_is_down_is_no_matter_of_one_picture():
    store = Objects({"a": b"A"}, down=True)
    (_, content), *_ = ObjectStorePictures(store).contents(["a"])
    with pytest.raises(StorageError, match="nothing answers"):
        content()


def test_several_are_fetched_at_once_and_not_all_ahead():
    names = [f"{number:03}" for number in range(60)]
    store = Objects({name: name.encode() for name in names}, seconds=0.002)
    contents = ObjectStorePictures(store).contents(names)
    for name, content in contents:
        assert content() == name.encode()
        ahead = len(store.asked) - 1 - int(name)
        assert ahead < 30
    assert len(store.threads) > 1
    assert len(store.asked) == len(names)


def test_what_is_not_wanted_any_more_is_not_fetched():
    names = [f"{number:03}" for number in range(1000)]
    store = Objects(dict.fromkeys(names, b"x"))
    contents = ObjectStorePictures(store).contents(names)
    next(contents)
    contents.close()
    asked = len(store.asked)
    assert asked < 100
    time.sleep(0.02)
    assert len(store.asked) == asked


def test_a_folder_and_a_bucket_give_the_same(tmp_path: Path, bucket: str):
    from focus_ray.storage.open_store import open_store

    store = open_store(f"{bucket}/photos")
    for name, content in {"a.png": b"A", "deep/b c.png": b"B"}.items():
        store.write(name, content)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    folder, stored = open_picture_source(tmp_path), open_picture_source(f"{bucket}/photos")
    assert isinstance(folder, FolderPictures)
    assert isinstance(stored, ObjectStorePictures)
    names = ["deep/b c.png", "gone.png", "a.png"]
    assert list(fetched(folder, names).items()) == list(fetched(stored, names).items())
    assert (str(folder), str(stored)) == (str(tmp_path), f"{bucket}/photos")
    assert [source.holds(name) for source in (folder, stored) for name in ("a.png", "b.png")] == [True, False] * 2


def test_pictures_are_listed_by_name_with_a_version(tmp_path: Path, bucket: str):
    from focus_ray.storage.open_store import open_store

    store = open_store(f"{bucket}/photos")
    files = {"b.JPG": b"BB", "a/1.png": b"A", "a/out/2.png": b"2", "a/notes.txt": b"no", ".detect/x.png": b"x"}
    for name, content in files.items():
        store.write(name, content)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    folder, stored = open_picture_source(tmp_path), open_picture_source(f"{bucket}/photos")
    for source in (folder, stored):
        listing = source.list_pictures(recursive=True, exclude="a/out")
        assert list(listing.versions) == ["a/1.png", "b.JPG"]
        assert dict(listing.left_out) == {"no picture": 1}
        assert list(source.list_pictures(recursive=False).versions) == ["b.JPG"]
        before = listing.versions
        (tmp_path / "b.JPG").write_bytes(b"BBB")
        store.write("b.JPG", b"BBB")
        after = source.list_pictures(recursive=True).versions
        assert {name for name in before if after[name] != before[name]} == {"b.JPG"}
        (tmp_path / "b.JPG").write_bytes(b"BB")
        store.write("b.JPG", b"BB")


def test_places_that_are_none(tmp_path: Path, bucket: str):
    with pytest.raises(DataError, match="no such folder"):
        open_picture_source(tmp_path / "none")
    with pytest.raises(DataError, match="no photographs; check bucket and prefix"):
        open_picture_source(f"{bucket}/none")
    with pytest.raises(StorageError, match="there is no bucket"):
        open_picture_source("s3://no-such-bucket-here/photos")
    with pytest.raises(ConfigError, match="is not a store"):
        open_picture_source("gs://bucket/photos")
