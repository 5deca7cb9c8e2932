"""Object store as a pyarrow file system, so that Ray Train and Ray Data use its retries and credentials.

A folder exists while there are objects below it. A written file appears, complete, when its stream is closed.
"""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileSystemHandler, FileType, PyFileSystem

from focus_ray.errors import NoSuchObject
from focus_ray.storage.manifest import MANIFEST
from focus_ray.storage.object_store import ObjectStore

# Larger files are read through a temporary copy on the local disk.
MAX_IN_MEMORY_BYTES = 8 << 20


def arrow_filesystem(store: ObjectStore, *, root: str = "") -> FileSystem:
    """Return the store as a file system that can be pickled, and equals another one of the same store and root.

    Args:
        store: the object store.
        root: first part of every path of the file system, for instance a bucket; the key follows it.
    """
    return PyFileSystem(StoreHandler(store, root))


class StoreHandler(FileSystemHandler):
    """pyarrow's file system interface on an object store."""

    def __init__(self, store: ObjectStore, root: str) -> None:
        self.store = store
        self.root = root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreHandler) and (self.store, self.root) == (other.store, other.root)

    def __ne__(self, other: object) -> bool:
        # pyarrow's base class defines __ne__, so that Python does not derive it from __eq__.
        return not self == other

    def __hash__(self) -> int:
        return hash((self.store, self.root))

    def get_type_name(self) -> str:
        return "focus-ray"

    def normalize_path(self, path: str) -> str:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ValueError(f"{path!r} contains '..'; give a path without it")
        return "/".join(parts)

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        base = self._key(selector.base_dir)
        entries = self.store.list(base)
        if base and not entries and not selector.allow_not_found:
            raise FileNotFoundError(f"there is nothing below {selector.base_dir} in {self.store}")
        depth = len(base.split("/")) if base else 0
        files, folders = [], set()
        for key, size in entries:
            parts = key.split("/")
            folders.update("/".join(parts[:length]) for length in range(depth + 1, len(parts)))
            files.append(FileInfo(self._path(key), FileType.File, size=size))
        found = [*(FileInfo(self._path(key), FileType.Directory) for key in sorted(folders)), *files]
        if selector.recursive:
            return found
        return [info for info in found if self._key(info.path).count("/") == depth]

    def create_dir(self, path: str, recursive: bool) -> None:
        self._key(path)  # only checks the path: a folder exists once it has a file

    def delete_dir(self, path: str) -> None:
        self.delete_dir_contents(path, missing_dir_ok=False)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        if not self._key(path):
            raise ValueError(f"cannot delete all of {self.store} at once; name a folder in it")
        keys = self._keys_below(path)
        if not keys and not missing_dir_ok:
            raise FileNotFoundError(f"there is nothing below {path} in {self.store}")
        self.store.delete(reversed(keys))

    def delete_root_dir_contents(self) -> None:
        self.delete_dir_contents("")

    def delete_file(self, path: str) -> None:
        self._size(path)
        self.store.delete([self._key(path)])

    def move(self, src: str, dest: str) -> None:
        source, target = self._key(src), self._key(dest)
        keys = [source] if self._info(src).is_file else self._keys_below(src)
        if not keys:
            raise FileNotFoundError(f"there is no {src} in {self.store}")
        for key in keys:
            self._copy(key, target + key.removeprefix(source))
        self.store.delete(reversed(keys))

    def copy_file(self, src: str, dest: str) -> None:
        self._size(src)
        self._copy(self._key(src), self._key(dest))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        if self._size(path) <= MAX_IN_MEMORY_BYTES:
            return pa.BufferReader(self.store.read(self._key(path)))
        with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
            copy = Path(scratch) / "file"
            self.store.download(self._key(path), copy)
            return pa.OSFile(str(copy))  # an open file stays readable after its deletion

    def open_output_stream(self, path: str, metadata: Mapping[str, str] | None) -> pa.NativeFile:
        return pa.PythonFile(UploadStream(self.store, self._key(path)), mode="w")

    def open_append_stream(self, path: str, metadata: Mapping[str, str] | None) -> pa.NativeFile:
        raise NotImplementedError("objects of a store cannot be appended to; write a new one")

    def _key(self, path: str) -> str:
        """Return the key of a path, "" for the root; raise ValueError for a path outside the root."""
        plain = self.normalize_path(path)
        if self.root and plain != self.root and not plain.startswith(f"{self.root}/"):
            raise ValueError(f"{path!r} is not in {self.store}; its paths begin with {self.root}/")
        return plain.removeprefix(self.root).removeprefix("/")

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}" if self.root else key

    def _info(self, path: str) -> FileInfo:
        key = self._key(path)
        with suppress(NoSuchObject):
            if key:
                return FileInfo(path, FileType.File, size=self.store.size(key))
        exists = not key or self.store.list(key, limit=1)
        return FileInfo(path, FileType.Directory if exists else FileType.NotFound)

    def _size(self, path: str) -> int:
        try:
            return self.store.size(self._key(path))
        except NoSuchObject as error:
            raise FileNotFoundError(f"there is no file {path} in {self.store}") from error

    def _keys_below(self, path: str) -> list[str]:
        """Return the keys below a folder in the order of writing: manifests last, as they mark complete artifacts."""
        keys = [entry.key for entry in self.store.list(self._key(path))]
        return sorted(keys, key=lambda key: (key.rpartition("/")[2] == MANIFEST, key))

    def _copy(self, source: str, target: str) -> None:
        with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
            self.store.download(source, Path(scratch) / "file")
            self.store.upload(Path(scratch) / "file", target)


class UploadStream:
    """File opened for writing: buffered on the local disk, uploaded when it is closed.

    Nothing is uploaded after a failed write, or if the stream is never closed.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._failed = False
        self._file = tempfile.NamedTemporaryFile(prefix="focus-ray-")  # noqa: SIM115  (closed by close)

    @property
    def closed(self) -> bool:
        return self._file.closed

    def tell(self) -> int:
        return self._file.tell()

    def write(self, content: bytes | pa.Buffer) -> int:
        try:
            return self._file.write(content)
        except OSError:
            self._failed = True
            raise

    def flush(self) -> None:
        """Do nothing: the object is uploaded as a whole by `close`."""

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            self._file.flush()
            if not self._failed:
                self._store.upload(Path(self._file.name), self._key)
        finally:
            self._file.close()

    def __del__(self) -> None:
        self._file.close()
