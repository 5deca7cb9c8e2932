"""Detection of the landmarks of a folder of photographs, for training: list, detect in pieces, write the files."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow.compute import field

from focus_ray import __version__
from focus_ray.config import absolute_location
from focus_ray.data.detect_landmarks import DetectSettings
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.mesh import MeshSettings
from focus_ray.data.face_table import PICTURE_SCHEMA
from focus_ray.data.picture_source import PictureListing, open_picture_source
from focus_ray.detection.actor_pool import PIECE, DetectWork, Piece, detect_pieces
from focus_ray.detection.output_files import DetectSummary, check_landmarks_found, check_output, write_output
from focus_ray.detection.shards import ShardStore
from focus_ray.errors import DataError, Interrupted
from focus_ray.runtime.result_cache import digest
from focus_ray.runtime.tasks import PoolSettings, task_cluster
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store

PIECE_SIZE = 64  # most pictures of a piece, whose results are one shard
_PIECES_PER_TASK = 4  # at least, in a small folder
_MAX_BLOCKS = 4000  # Ray Data spends memory and some milliseconds on each

PictureProgress = Callable[[str, int, int], object]  # "pictures", done, total


def detect_folder(
    location: str | Path,
    spec: DetectorSpec,
    *,
    out: str | Path | None = None,
    settings: DetectSettings | None = None,
    pool: PoolSettings | None = None,
    recursive: bool = True,
    progress: PictureProgress = lambda *_: None,
    note: Callable[[str], object] = lambda _: None,
) -> DetectSummary:
    """Find the landmarks of all pictures of a folder and write them in the format that training reads.

    An interrupted detection is resumed: finished pictures are kept in the output's folder .detect and detected again
    only if picture, detector or settings changed. The files do not depend on the number of tasks, nor on interruptions.
    With a pool, Ray Data is used, which works in the first Ray session of a process only: connect Ray once around
    several calls.

    Args:
        location: folder of the pictures, or s3://bucket/prefix.
        spec: the detector, see `resolve_landmark_detector`.
        out: folder or URI of the output; None: that of the pictures.
        settings: which faces become training data; None: the defaults.
        pool: number of actors of Ray Data; None: this process alone.
        recursive: whether the pictures of subfolders count too.
        progress: called with "pictures", the number done and the number of all.
        note: receives messages for the user.

    Returns:
        The content of detect.json.

    Raises:
        DataError: there are no pictures, or none has landmarks.
        ConfigError: the output would replace other files, or weights of the detector are missing in an actor.
        StorageError: a store or disk cannot be used.
        ClusterError: the Ray cluster cannot be used, or its actors failed too often.
        Interrupted: the user stopped the detection.
    """
    settings = settings or DetectSettings()
    work = DetectWork(absolute_location(str(location)), spec, settings)
    store = open_store(work.location if out is None else absolute_location(str(out)))
    elsewhere = None if store == open_store(work.location) else work.location
    listing = list_location(work.location, store, recursive)
    check_output(store, elsewhere)
    shards = ShardStore(store, work_digest(work, elsewhere), listing.versions)
    shards.scan()
    run = _Detection(work, shards, pool, progress, note)
    run.finish()
    summary = write_output(shards, elsewhere, spec.info, settings, listing.left_out)
    shards.remove_unused()
    check_landmarks_found(summary, store)
    return summary


def list_location(location: str, store: ObjectStore, recursive: bool) -> PictureListing:
    """List the pictures of a place.

    Args:
        location: folder or URI of the pictures.
        store: place of the output, whose pictures are ignored if it is a subfolder.
        recursive: whether the pictures of subfolders count too.

    Raises:
        DataError: there is no such folder, or there are no pictures.
        StorageError: the store does not answer.
    """
    source = open_picture_source(location)
    prefix = f"{source}/"
    output = str(store)
    listing = source.list_pictures(
        recursive=recursive, exclude=output.removeprefix(prefix) if output.startswith(prefix) else None
    )
    if not listing.versions:
        reasons = ", ".join(f"{count} {reason}" for reason, count in listing.left_out.items())
        found = f" ({reasons})" if reasons else ""
        raise DataError(f"{source}: there are no pictures{found}; give JPEG, PNG, WebP, BMP or HEIC")
    return listing


def work_digest(work: DetectWork, elsewhere: str | None) -> str:
    """Return the digest of what determines the result of a picture, besides the picture.

    Args:
        work: detector and settings.
        elsewhere: place of the pictures, if the output is not there.
    """
    settings = [part.model_dump(mode="json") for part in (work.spec.info, MeshSettings(), work.settings)]
    return digest(__version__, PICTURE_SCHEMA.to_string(), settings, elsewhere)


def cut_pieces(shards: ShardStore, names: Sequence[str], tasks: int) -> list[Piece]:
    """Cut the pictures into pieces of neighbours.

    Args:
        shards: store with the versions of the pictures.
        names: pictures to detect, in order.
        tasks: number of actors.
    """
    size = min(PIECE_SIZE, -(-len(names) // (_PIECES_PER_TASK * tasks)))
    size = max(size, -(-len(names) // _MAX_BLOCKS))
    starts = range(0, len(names), max(1, size))
    parts = [names[start : start + size] for start in starts]
    return [Piece(number, part, [shards.versions[name] for name in part]) for number, part in enumerate(parts)]


@dataclass
class _Detection:
    """Detects what is not finished and saves it in shards."""

    work: DetectWork
    shards: ShardStore
    pool: PoolSettings | None
    progress: PictureProgress
    note: Callable[[str], object]
    _tables: dict[int, list[pa.Table]] = dataclasses.field(default_factory=dict)  # rows that are in no shard, by piece

    def finish(self) -> None:
        """Detect the pictures that are not finished."""
        names, total = self.shards.unfinished(), len(self.shards.versions)
        if len(names) == total and self.shards.has_other_results():
            self.note("results of another detector or of other settings are not used: all pictures are detected again")
        self.progress("pictures", total - len(names), total)
        if not names:
            return
        pieces = cut_pieces(self.shards, names, 1 if self.pool is None else self.pool.tasks)
        done = total - len(names)
        with task_cluster(self.pool), self._kept_results():
            for table in detect_pieces(self.work, pieces, self.pool):
                self._add(table, pieces)
                done += len(table)
                self.progress("pictures", done, total)

    def _add(self, table: pa.Table, pieces: Sequence[Piece]) -> None:
        """Add rows; a complete piece becomes a shard."""
        for number in table[PIECE].unique().to_pylist():
            rows = self._tables.setdefault(number, [])
            rows.append(table.filter(field(PIECE) == number).select(PICTURE_SCHEMA.names))
            if sum(map(len, rows)) == len(pieces[number].names):
                self._save(number)

    def _save(self, number: int) -> None:
        self.shards.save(pa.concat_tables(self._tables[number]).cast(PICTURE_SCHEMA))
        del self._tables[number]

    @contextmanager
    def _kept_results(self) -> Iterator[None]:
        """Save the rows of unfinished pieces when the block ends, however it ends."""
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped; finished pictures are kept in {self.shards.store}, run the same command to resume"
            ) from None
        finally:
            for number in list(self._tables):
                self._save(number)
