"""Small prepared stores: of a set of aligned pictures with landmarks, in shards of few records."""

import shutil
from pathlib import Path

from focus_ray.data.landmark_csv import read_landmarks, write_landmarks
from focus_ray.data.prepared.store_files import PreparedDescription
from focus_ray.data.trainable import SetKind
from focus_ray.preparation.prepare_set import PrepareSettings, prepare_set

SIZE, PER_SHARD = 32, 4


def prepared(kind: SetKind, folder: str | Path, out: str | Path, size: int = SIZE, **options) -> PreparedDescription:
    """A set in a store, prepared by this process."""
    return prepare_set(kind, str(folder), str(out), PrepareSettings(size=size, per_shard=PER_SHARD), **options)


def photographs(ar: Path, folder: Path) -> Path:
    """A folder of photographs with landmarks, of pictures of the AR layout."""
    shutil.copytree(ar, folder, ignore=shutil.ignore_patterns("masks"))
    points = read_landmarks(folder / "landmarks.csv")
    write_landmarks(folder / "landmarks.csv", {name: points[name] for name in sorted(points)})
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Contents of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
