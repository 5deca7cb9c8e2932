"""Object stores: the same promises whether the objects lie in a folder or in a bucket; which places can be one."""

import os
import pickle  # noqa: TID251  (how Ray sends a store to a worker)
import random
import subprocess
from pathlib import Path

import pytest

from focus_ray.errors import ConfigError, NoSuchObject, StorageError
from focus_ray.storage import atomic
from focus_ray.storage.object_store import Entry, LocalStore, ObjectStore
from focus_ray.storage.open_store import open_store
from focus_ray.storage.s3 import S3Store

# --- every store


def test_what_is_written_is_read(store):
    assert isinstance(store, ObjectStore)
    store.write("checkpoints/best.json", b'{"step": 1}')
    store.write("empty", b"")
    assert store.read("checkpoints/best.json") == b'{"step": 1}'
    assert store.read("empty") == b""
    store.write("empty", b"not any more")
    assert store.read("empty") == b"not any more"
    assert store.size("empty") == 12


def test_a_file_of_many_parts_comes_back(store, tmp_path):
    content = random.Random(0).randbytes((17 << 20) + 3)
    (tmp_path / "file").write_bytes(content)
    store.upload(tmp_path / "file", "a/large.bin")
    assert store.list() == [Entry("a/large.bin", len(content))]
    store.download("a/large.bin", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == content


def test_what_is_not_there_is_said_and_leaves_nothing(store, tmp_path):
    store.write("a/b", b"1")
    for key in ("c", "a", "a/b/c"):
        with pytest.raises(NoSuchObject, match="; check"):
            store.read(key)
        with pytest.raises(NoSuchObject):
            store.size(key)
        with pytest.raises(NoSuchObject):
            store.download(key, tmp_path / "copies" / "copy")
        assert list((tmp_path / "copies").glob("*")) == []
    with pytest.raises(NoSuchObject, match="absent"):
        store.upload(tmp_path / "absent", "d")
    assert store.list() == [Entry("a/b", 1)]


def test_the_list_is_sorted_and_of_what_is_below(store):
    for key in ("b", "a/2", "a/10/x", "ab/c", "a/1"):
        store.write(key, key.encode())
    assert [entry.key for entry in store.list()] == ["a/1", "a/10/x", "a/2", "ab/c", "b"]
    assert store.list("a") == [Entry("a/1", 3), Entry("a/10/x", 6), Entry("a/2", 3)]
    assert store.list("a/10") == [Entry("a/10/x", 6)]
    assert store.list("nothing") == []
    assert len(store.list("a", limit=2)) == 2


def test_a_store_below_a_key_has_keys_of_its_own(store):
    below = store.at("checkpoints").at("step-00000001")
    below.write("state.json", b"{}")
    assert str(below) == f"{store}/checkpoints/step-00000001"
    assert below.list() == [Entry("state.json", 2)]
    assert store.list() == [Entry("checkpoints/step-00000001/state.json", 2)]


def test_deleted_objects_are_gone_in_the_order_given_and_absent_ones_do_not_matter(store):
    for key in ("a/b/c", "a/d", "e"):
        store.write(key, b"1")
    store.delete(["never", "a/b/c", "a/d/f"])
    assert [entry.key for entry in store.list()] == ["a/d", "e"]
    store.delete(iter(["e", "a/d"]))
    assert store.list() == []


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\\b", "a\nb", "a\0", "k" * 1025])
def test_keys_that_cannot_be_are_refused_everywhere(store, tmp_path, key):
    (tmp_path / "file").write_bytes(b"1")
    calls = [store.at, store.read, store.size, lambda key: store.write(key, b""), lambda key: store.delete([key])]
    calls += [lambda key: store.upload(tmp_path / "file", key), lambda key: store.download(key, tmp_path / "copy")]
    for call in calls:
        with pytest.raises(ConfigError, match="cannot be a key"):
            call(key)
    assert store.list() == []


def test_a_store_travels_and_equals_itself(store):
    store.write("a", b"1")
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert hash(copy) == hash(store)
    assert copy.read("a") == b"1"
    assert copy.at("b") != store
    assert b"test-secret" not in pickle.dumps(store)


def test_a_check_leaves_nothing(store):
    store.check()
    assert store.list() == []


# --- folders


def test_a_folder_is_absolute_wherever_its_worker_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(LocalStore(Path("runs"))) == str(tmp_path / "runs")
    assert open_store("runs/demo") == open_store(Path("runs/demo")) == LocalStore(tmp_path / "runs" / "demo")


def test_half_written_files_and_links_are_not_listed(tmp_path):
    store = LocalStore(tmp_path / "store")
    store.write("whole", b"1")
    (store.root / ".half.partial-1").write_bytes(b"ha")
    (store.root / ".step-00000001.partial-1").mkdir()
    (store.root / ".step-00000001.partial-1" / "state.json").write_bytes(b"{}")
    (store.root / ".step-00000002.retired").mkdir()
    (store.root / ".step-00000002.retired" / "state.json").write_bytes(b"{}")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_bytes(b"mine")
    (store.root / "folder").symlink_to(tmp_path / "elsewhere")
    (store.root / "file").symlink_to(tmp_path / "elsewhere" / "mine")
    assert store.list() == [Entry("whole", 1)]


def test_links_are_not_followed_out_of_the_folder(tmp_path):
    store = LocalStore(tmp_path / "store")
    store.write("a", b"1")
    (tmp_path / "mine").write_bytes(b"mine")
    (store.root / "out").symlink_to(tmp_path)
    (store.root / "circle").symlink_to("circle")
    calls = [store.read, store.size, lambda key: store.write(key, b"x"), lambda key: store.delete([key]), store.list]
    for call in calls:
        for key in ("out/mine", "circle/a"):
            with pytest.raises(StorageError, match=r"leads out of .*store; remove the link"):
                call(key)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_folder_without_files_is_not_there(tmp_path):
    store = LocalStore(tmp_path / "store")
    store.write("a/b/c", b"1")
    (store.root / "a" / "d").mkdir()
    store.delete(["a/b/c"])
    assert not (store.root / "a" / "b").exists()
    assert (store.root / "a" / "d").is_dir()
    assert LocalStore(tmp_path / "absent").list() == []


def test_an_upload_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / "store")
    store.write("a", b"old")
    (tmp_path / "new").write_bytes(b"new")
    monkeypatch.setattr(atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="No space left on device; free space"):
        store.upload(tmp_path / "new", "a")
    assert store.read("a") == b"old"
    assert [path.name for path in store.root.iterdir()] == ["a"]


def test_what_the_system_refuses_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(StorageError, match=r"cannot write .*file.*; free space there, or choose"):
        LocalStore(tmp_path / "file" / "below").check()


def test_the_file_system_of_a_folder_is_the_local_one(tmp_path):
    filesystem, path = LocalStore(tmp_path / "store").filesystem()
    assert filesystem.type_name == "local"
    assert path == str(tmp_path / "store")


# --- places


def test_the_places_of_s3(s3_store):
    assert open_store("s3://bucket") == S3Store("bucket") != S3Store("bucket", "prefix")
    assert open_store("s3://bucket/") == S3Store("bucket")
    assert open_store("s3://my.bucket-1/a/b=c/") == S3Store("my.bucket-1", "a/b=c")
    assert str(open_store("s3://bucket/a/")) == "s3://bucket/a"
    assert str(open_store("s3://bucket")) == "s3://bucket"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "is not the location of a store"),
        ("  ", "is not the location of a store"),
        ("gs://bucket/a", "gs: is not a store"),
        ("file:///tmp/a", "file: is not a store"),
        ("https://bucket.s3.amazonaws.com/a", "https: is not a store"),
        ("s3:/bucket/a", "s3: is not a store"),
        ("S3://bucket/a", "S3: is not a store"),
        ("s3://", "is not a valid bucket name"),
        ("s3:///a", "is not a valid bucket name"),
        ("s3://b", "is not a valid bucket name"),
        ("s3://bucket name/a", "is not a valid bucket name"),
        ("s3://bucket/../other", "cannot be a key"),
        ("s3://bucket//a", "cannot be a key"),
        ("s3://localhost:9000/bucket", "set AWS_ENDPOINT_URL_S3 to http://host:port"),
        ("s3://bucket/a?endpoint_override=http://localhost:9000", "set AWS_ENDPOINT_URL_S3"),
        ("s3://bucket/a?region=eu-west-1", "takes no options"),
        ("s3://bucket/a#b", "takes no options"),
        ("s3://KEYID:hunter2@bucket/a", "credentials do not belong in a URI"),
        ("s3://bucket/a?access_key=KEYID&secret_key=hunter2", "credentials in the environment"),
    ],
)
def test_other_places_are_refused_and_no_secret_is_repeated(uri, message):
    with pytest.raises(ConfigError, match=message) as caught:
        open_store(uri)
    assert "; " in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "KEYID" not in str(caught.value)


def test_the_module_is_light(python, python_environment):
    loaded = "print([m for m in ('boto3', 'pyarrow', 'torch') if m in sys.modules])"
    code = f"import sys, focus_ray.storage.object_store; {loaded}"
    result = subprocess.run([python, "-c", code], env=python_environment, capture_output=True, text=True, timeout=60)
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        LocalStore(tmp_path / "store").check()
