"""Finished pictures are found again; damaged, replaced and foreign ones are not used."""

from pathlib import Path

import pytest

from focus_ray.data.detect_landmarks import PictureFaces
from focus_ray.data.detectors.detection import Detection
from focus_ray.data.face_table import picture_table
from focus_ray.detection.shards import SHARDS, ShardStore
from focus_ray.storage.object_store import LocalStore

VERSIONS = {"a.png": "1", "b.png": "2", "c.png": "3"}
FACE = Detection((1.0, 2.0, 30.0, 40.0))


def shards(folder: Path, digest: str = "one", versions: dict[str, str] = VERSIONS) -> ShardStore:
    store = ShardStore(LocalStore(folder), digest, versions)
    store.scan()
    return store


def save(store: ShardStore, **reasons: str) -> None:
    """Save a shard with pictures of these reasons."""
    pictures = [PictureFaces(f"{name}.png", reason, faces=[FACE]) for name, reason in reasons.items()]
    store.save(picture_table(pictures, [VERSIONS[picture.name] for picture in pictures]))


def test_what_is_saved_is_finished_for_the_next_run(tmp_path: Path):
    first = shards(tmp_path)
    assert first.unfinished() == ["a.png", "b.png", "c.png"]
    save(first, a="found", c="no_face")
    for store in (first, shards(tmp_path)):
        assert store.unfinished() == ["b.png"]
    save(first, b="found")
    assert [picture.name for picture in first.pictures()] == ["a.png", "b.png", "c.png"]
    assert [picture.reason for picture in shards(tmp_path).pictures()] == ["found", "found", "no_face"]


def test_a_replaced_picture_is_not_finished(tmp_path: Path):
    save(shards(tmp_path), a="found", b="found", c="found")
    assert shards(tmp_path, versions={**VERSIONS, "b.png": "new"}).unfinished() == ["b.png"]
    assert shards(tmp_path, versions={"c.png": "3", "d.png": "4"}).unfinished() == ["d.png"]


@pytest.mark.parametrize("reason", ["unreadable", "detector_failed"])
def test_what_may_have_another_result_is_tried_again_by_the_next_run(tmp_path: Path, reason: str):
    first = shards(tmp_path)
    save(first, a=reason, b="found")
    save(first, c="found")
    assert [picture.reason for picture in first.pictures()] == [reason, "found", "found"]
    second = shards(tmp_path)
    assert second.unfinished() == ["a.png"]
    save(second, a="found")
    assert shards(tmp_path).unfinished() == [], "whichever of the two shards is read first"
    assert [picture.reason for picture in shards(tmp_path).pictures()] == ["found"] * 3


def test_a_damaged_shard_is_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    save(shards(tmp_path), a="found", b="found")
    (path,) = (tmp_path / SHARDS / "one").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert shards(tmp_path).unfinished() == ["a.png", "b.png", "c.png"]
    assert "its pictures are detected again" in caplog.text


def test_results_of_another_digest_are_not_used_and_removed_at_the_end(tmp_path: Path):
    save(shards(tmp_path), a="found", b="found", c="found")
    other = shards(tmp_path, "other")
    assert other.has_other_results()
    assert other.unfinished() == list(VERSIONS)
    save(other, a="no_face", b="no_face", c="no_face")
    assert not any(picture.reason == "found" for picture in other.pictures())
    other.remove_unused()
    assert [path.name for path in (tmp_path / SHARDS).iterdir()] == ["other"]
    assert shards(tmp_path, "other").unfinished() == []


def test_shards_without_a_used_result_are_removed(tmp_path: Path):
    first = shards(tmp_path)
    save(first, a="unreadable")
    save(first, b="found", c="found")
    second = shards(tmp_path, versions={"b.png": "2"})
    second.remove_unused()
    assert shards(tmp_path).unfinished() == ["a.png"]
    assert len(list((tmp_path / SHARDS / "one").iterdir())) == 1
