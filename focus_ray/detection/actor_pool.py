"""Detection of pieces of a folder: by the actors of Ray Data, or in this process."""

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import pyarrow as pa

from focus_ray import errors
from focus_ray.data.detect_landmarks import DetectSettings, PictureDetector
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.face_table import PICTURE_SCHEMA, decode_name, encode_name, picture_table
from focus_ray.errors import ConfigError, FocusRayError
from focus_ray.runtime.tasks import PoolSettings, one_thread, to_package_error

if TYPE_CHECKING:
    from ray.data import Dataset

BATCH_SIZE = 8  # pictures that an actor returns at once
PIECE, _ERROR = "piece", "error"
_INPUT_SCHEMA = pa.schema([(PIECE, pa.int64()), ("name", pa.binary()), ("version", pa.string())])
_OUTPUT_SCHEMA = pa.schema([*PICTURE_SCHEMA, (PIECE, pa.int64()), (_ERROR, pa.string())])
_START_TIMEOUT_S = 120  # longest wait for the first actor
_MEMORY_MB = 64.0  # of Ray's object store, for results that the driver has not read


@dataclass(frozen=True)
class DetectWork:
    """What an actor needs: the place of the pictures, the detector with its weights, the settings."""

    location: str
    spec: DetectorSpec
    settings: DetectSettings


@dataclass(frozen=True)
class Piece:
    """Pictures that are neighbours by name, and their versions."""

    number: int
    names: Sequence[str]
    versions: Sequence[str]

    def table(self) -> pa.Table:
        """Return a row for each picture."""
        numbers, names = [self.number] * len(self.names), [encode_name(name) for name in self.names]
        return pa.table([numbers, names, list(self.versions)], schema=_INPUT_SCHEMA)


class DetectActor:
    """Callable of an actor: finds the faces of a batch of pictures."""

    def __init__(self, work: DetectWork):
        self._work = work
        self._pictures: PictureDetector | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the rows of the pictures, or one with the package's error, which Ray would wrap in one of its own."""
        cv2.setNumThreads(1)  # one core for each actor
        try:
            with one_thread():
                return self._detect(batch)
        except FocusRayError as error:
            row = {_ERROR: f"{type(error).__name__} {error}", PIECE: batch[PIECE][0].as_py()}
            return pa.Table.from_pylist([row], schema=_OUTPUT_SCHEMA)

    def _detect(self, batch: pa.Table) -> pa.Table:
        if self._pictures is None:
            self._pictures = PictureDetector(self._work.location, self._work.spec, self._work.settings)
        names = [decode_name(name) for name in batch["name"].to_pylist()]
        table = picture_table(list(self._pictures.detect(names)), batch["version"].to_pylist())
        table = table.append_column(_OUTPUT_SCHEMA.field(PIECE), batch[PIECE].combine_chunks())
        return table.append_column(_OUTPUT_SCHEMA.field(_ERROR), pa.nulls(len(table), pa.string()))


def detect_pieces(work: DetectWork, pieces: Sequence[Piece], pool: PoolSettings | None) -> Iterator[pa.Table]:
    """Detect the faces of pieces; of a piece, the rows arrive in order and in several tables.

    Args:
        work: what the actors need.
        pieces: pieces to detect, at least one.
        pool: number of Ray Data actors; None: this process detects the pieces one after the other.

    Yields:
        Rows of `picture_table` and the number of their piece.

    Raises:
        ConfigError: weights of the detector are missing or differ in an actor, or Ray has no free CPUs.
        DataError: the folder is not on the node of an actor.
        StorageError: the store does not answer.
        ClusterError: the actors failed too often.
    """
    results = _run_here(work, pieces) if pool is None else _run_on_ray(work, pieces, pool)
    try:
        for table in results:
            error = table[_ERROR][0].as_py()
            if error is not None:
                name, _, message = error.partition(" ")
                raise getattr(errors, name)(message)
            yield table
    finally:
        results.close()


def _run_here(work: DetectWork, pieces: Sequence[Piece]) -> Generator[pa.Table, None, None]:
    actor, threads = DetectActor(work), cv2.getNumThreads()
    try:
        for piece in pieces:
            table = piece.table()
            for start in range(0, len(table), BATCH_SIZE):
                yield actor(table.slice(start, BATCH_SIZE))
    finally:
        cv2.setNumThreads(threads)


def _run_on_ray(work: DetectWork, pieces: Sequence[Piece], pool: PoolSettings) -> Generator[pa.Table, None, None]:
    from ray.exceptions import GetTimeoutError, RayError

    dataset = build_dataset(work, pieces, pool)
    tables: Any = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    try:
        yield from tables
    except GetTimeoutError:
        raise ConfigError(
            "Ray has no free CPUs for the detection; add CPUs, stop other jobs on the cluster, or detect in one process"
        ) from None
    except RayError as error:
        raise to_package_error(error, "detection") from error
    finally:
        tables.close()


def build_dataset(work: DetectWork, pieces: Sequence[Piece], pool: PoolSettings) -> "Dataset":
    """Build the dataset of the pieces' results, made by a pool of actors.

    Args:
        work: what the actors need.
        pieces: pieces to detect.
        pool: number of actors. An actor that dies is replaced, and its piece is detected again, as often as needed.
    """
    from ray.data import ActorPoolStrategy, ExecutionResources, from_arrow

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors are raised too
    actors = min(pool.tasks, len(pieces))
    # A second piece in flight would wait in one actor while another one is idle.
    strategy = ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors, max_tasks_in_flight_per_actor=1)
    dataset = from_arrow([piece.table() for piece in pieces]).map_batches(
        DetectActor,
        fn_constructor_args=(work,),
        batch_size=min(BATCH_SIZE, len(pieces[0].names)),  # smaller blocks would be joined
        batch_format="pyarrow",
        compute=strategy,
        num_cpus=1,
    )
    context = dataset.context
    context.target_max_block_size = 1  # each batch is output as soon as it is made
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=_MEMORY_MB * 1e6)
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = _START_TIMEOUT_S
    return dataset
