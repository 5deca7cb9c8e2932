"""A store as a file system of pyarrow: what pyarrow and Ray Train ask of one."""

import pickle  # noqa: TID251  (how Ray sends a file system to a worker)
import random
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from pyarrow.fs import FileSelector, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem, copy_files

from focus_ray.errors import StorageError
from focus_ray.storage.arrow import MAX_IN_MEMORY_BYTES, arrow_filesystem
from focus_ray.storage.object_store import LocalStore
from focus_ray.storage.s3 import S3Store


@pytest.fixture
def root(store) -> str:
    """What the paths of the file system begin with: in a bucket, something."""
    return store.bucket if isinstance(store, S3Store) else ""


@pytest.fixture
def fs(store, root):
    return arrow_filesystem(store, root=root)


@pytest.fixture
def path(root):
    """The path of a key."""
    return lambda key: f"{root}/{key}" if root else key


def kinds(infos) -> dict[str, str]:
    return {info.path: info.type.name for info in infos}


def test_what_is_written_appears_whole_when_it_is_closed(store, fs, path):
    stream = fs.open_output_stream(path("a/b.txt"))
    stream.write(b"one ")
    stream.write(b"two")
    assert stream.tell() == 7
    assert store.list() == []
    stream.close()
    stream.close()
    assert store.read("a/b.txt") == b"one two"
    with fs.open_input_stream(path("a/b.txt")) as stream:
        assert stream.read() == b"one two"
    with fs.open_input_file(path("a/b.txt")) as file:
        file.seek(4)
        assert (file.size(), file.read()) == (7, b"two")


def test_a_stream_that_is_let_go_or_cannot_be_written_stores_nothing(store, fs, path, monkeypatch):
    stream = fs.open_output_stream(path("dropped"))
    stream.write(b"half")
    del stream
    assert store.list() == []

    from focus_ray.storage.arrow import UploadStream

    upload = UploadStream(store, "full")
    upload.write(b"half")
    monkeypatch.setattr(upload._file, "write", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        upload.write(b"more")
    upload.close()
    assert store.list() == []


def test_an_object_that_cannot_be_stored_is_an_error_of_closing(store, fs, path, monkeypatch):
    def refuse(*_):
        raise StorageError("the bucket is full; free some space")

    monkeypatch.setattr(type(store), "upload", refuse)
    stream = fs.open_output_stream(path("a"))
    stream.write(b"1")
    with pytest.raises(StorageError, match="the bucket is full; free some space"):
        stream.close()


def test_files_of_any_size_are_read(store, fs, path, tmp_path):
    content = random.Random(0).randbytes(MAX_IN_MEMORY_BYTES + 1)
    store.write("large", content)
    with fs.open_input_file(path("large")) as file:
        file.seek(MAX_IN_MEMORY_BYTES - 1)
        assert file.read() == content[-2:]
    copy_files(path("large"), str(tmp_path / "copy"), source_filesystem=fs, chunk_size=1 << 20)
    assert (tmp_path / "copy").read_bytes() == content


def test_what_is_there_is_told(store, fs, path):
    store.write("run/a", b"123")
    infos = fs.get_file_info([path(key) for key in ("run/a", "run", "ru", "run/a/b", "other")])
    assert [info.type for info in infos] == [FileType.File, FileType.Directory, *[FileType.NotFound] * 3]
    assert infos[0].size == 3
    assert fs.get_file_info(path("")).type == FileType.Directory
    assert fs.get_file_info(path("run/")).type == FileType.Directory


def test_folders_are_listed_one_level_or_all(store, fs, path):
    for key in ("run/a", "run/b/c", "run/b/d/e", "running/f"):
        store.write(key, b"1")
    assert kinds(fs.get_file_info(FileSelector(path("run")))) == {path("run/a"): "File", path("run/b"): "Directory"}
    assert kinds(fs.get_file_info(FileSelector(path("run"), recursive=True))) == {
        path("run/a"): "File",
        path("run/b"): "Directory",
        path("run/b/c"): "File",
        path("run/b/d"): "Directory",
        path("run/b/d/e"): "File",
    }
    assert kinds(fs.get_file_info(FileSelector(path("")))) == {path("run"): "Directory", path("running"): "Directory"}
    assert fs.get_file_info(FileSelector(path("absent"), allow_not_found=True)) == []
    with pytest.raises(FileNotFoundError, match="nothing below"):
        fs.get_file_info(FileSelector(path("absent")))


def test_a_folder_is_deleted_manifest_first(store, fs, path, monkeypatch):
    for key in ("run/a", "run/manifest.json", "run/z", "other"):
        store.write(key, b"1")
    deleted: list[str] = []
    delete = type(store).delete

    def recorded(self, keys):
        deleted.extend(keys := list(keys))
        delete(self, keys)

    monkeypatch.setattr(type(store), "delete", recorded)
    fs.delete_dir(path("run"))
    assert deleted[0] == "run/manifest.json"
    assert [entry.key for entry in store.list()] == ["other"]
    with pytest.raises(FileNotFoundError):
        fs.delete_dir(path("run"))
    fs.delete_dir_contents(path("run"), missing_dir_ok=True)


def test_a_whole_store_is_not_deleted(store, fs, path):
    store.write("a", b"1")
    with pytest.raises(ValueError, match="cannot delete all of"):
        fs.delete_dir(path(""))
    with pytest.raises((ValueError, OSError)):
        fs.delete_dir_contents(path(""), accept_root_dir=True)
    assert store.read("a") == b"1"


def test_files_are_deleted_copied_and_moved(store, fs, path):
    for key in ("a/1", "a/manifest.json", "b"):
        store.write(key, key.encode())
    fs.copy_file(path("b"), path("c/d"))
    fs.move(path("b"), path("e"))
    fs.move(path("a"), path("f/g"))
    fs.delete_file(path("e"))
    assert {entry.key: store.read(entry.key) for entry in store.list()} == {
        "c/d": b"b",
        "f/g/1": b"a/1",
        "f/g/manifest.json": b"a/manifest.json",
    }
    for call in (fs.delete_file, lambda key: fs.move(key, path("x")), lambda key: fs.copy_file(key, path("x"))):
        with pytest.raises(FileNotFoundError):
            call(path("absent"))
    for opened in (fs.open_input_stream, fs.open_input_file):
        with pytest.raises(FileNotFoundError):
            opened(path("c"))


def test_paths_are_made_plain_and_lead_nowhere_else(store, fs, path):
    store.write("a/b", b"1")
    fs.create_dir(path("new"))
    assert fs.get_file_info(path("new")).type == FileType.NotFound
    assert fs.get_file_info(path("a//./b")).type == FileType.File
    assert fs.normalize_path(f"/{path('a/')}") == path("a")
    for bad in (path("../a"), path("a/../b")):
        with pytest.raises(ValueError, match=r"contains '\.\.'"):
            fs.get_file_info(bad)
    with pytest.raises(NotImplementedError, match="cannot be appended to"):
        fs.open_append_stream(path("a/b"))


def test_paths_outside_the_root_are_refused(store):
    with pytest.raises(ValueError, match="its paths begin with bucket/"):
        arrow_filesystem(store, root="bucket").get_file_info("bucketeer/a")


def test_two_of_the_same_store_are_equal_and_travel(store, fs, root, tmp_path):
    assert fs == arrow_filesystem(store, root=root)
    assert pickle.loads(pickle.dumps(fs)) == fs
    assert fs != arrow_filesystem(store.at("below"), root=root)
    assert fs != arrow_filesystem(LocalStore(tmp_path / "other"), root=root)
    assert fs != LocalFileSystem()
    assert hash(fs.handler) == hash(pickle.loads(pickle.dumps(fs)).handler)


def test_the_file_system_of_a_bucket_has_the_bucket_in_its_paths(s3_store):
    filesystem, path = s3_store.filesystem()
    assert path == f"{s3_store.bucket}/runs/one"
    with filesystem.open_output_stream(f"{path}/a") as stream:
        stream.write(b"1")
    assert s3_store.read("a") == b"1"
    assert filesystem == s3_store.at("checkpoints").filesystem()[0]
    whole, path = S3Store(s3_store.bucket).filesystem()
    assert (whole, path) == (filesystem, s3_store.bucket)


def test_a_copy_that_breaks_off_leaves_nothing(store, fs, path, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"1" * 100)

    class Half:
        closed = False

        def read(self, size):
            raise OSError("broken off")

        def close(self):
            """Nothing to close."""

    class Broken(FSSpecHandler):
        """A folder whose files cannot be read to their end."""

        def open_input_stream(self, path):
            return pa.PythonFile(Half(), mode="r")

        open_input_file = open_input_stream

    with pytest.raises(OSError, match="broken off"):
        copy_files(
            str(tmp_path / "folder"),
            path("copy"),
            source_filesystem=PyFileSystem(Broken(fsspec.filesystem("file"))),
            destination_filesystem=fs,
        )
    assert store.list() == []


def test_what_ray_train_asks_of_its_storage(s3_store, tmp_path):
    from ray.train import Checkpoint
    from ray.train.v2._internal.execution import storage

    filesystem, path = s3_store.filesystem()
    context = storage.StorageContext(path, "experiment", filesystem)
    assert [entry.key for entry in s3_store.list()] == ["experiment/.validate_storage_marker"]
    (tmp_path / "state.json").write_bytes(b"{}")
    kept = context.persist_current_checkpoint(Checkpoint(str(tmp_path)), "checkpoint_1")
    assert s3_store.read("experiment/checkpoint_1/state.json") == b"{}"
    with kept.as_directory() as folder:
        assert (Path(folder) / "state.json").read_bytes() == b"{}"
    assert storage._list_at_fs_path(filesystem, context.experiment_fs_path) == [
        "checkpoint_1",
        ".validate_storage_marker",
    ]
    storage.delete_fs_path(filesystem, kept.path)
    assert not storage._exists_at_fs_path(filesystem, kept.path)
    again = pickle.loads(pickle.dumps(context))
    assert again.storage_filesystem == filesystem
