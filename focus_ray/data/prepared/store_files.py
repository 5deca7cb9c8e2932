"""Files of a prepared store: what the set is, its index and its shards.

prepared.json       written last: kind, size, counts, what was left out and why, terms, hashes
index.parquet       a row per record: name, person, split, shard, row, offset, size
dropped.csv         name, reason and message of each picture that was left out
shards/00000.tar    the records, see `shard_file`
.prepare/           plan and finished shards, to resume the preparation
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints, ValidationError

from focus_ray.data.prepared.shard_file import PictureFormat
from focus_ray.errors import DataError, NoSuchObject
from focus_ray.licences.terms import Terms
from focus_ray.settings import Settings
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

DESCRIPTION, INDEX, DROPPED, SHARDS, STATE = "prepared.json", "index.parquet", "dropped.csv", "shards", ".prepare"
PLAN = f"{STATE}/plan.json"

_MEGABYTES = 500.0  # of the index: a million records take 60 MB
_DESCRIPTION_MEGABYTES = 10.0
_MAX_RECORDS = 20_000_000
_BYTES_PER_RECORD = 4096  # of the index without compression: names are file names
_COLUMNS = ("name", "person", "split", "shard", "row", "offset", "size")
_NAME_ERRORS = "surrogateescape"  # file names are bytes, not always UTF-8


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ShardDigest(Settings):
    """Size and hash of a shard."""

    shard: NonNegativeInt
    records: NonNegativeInt
    bytes: NonNegativeInt
    sha256: Sha256


class PreparedDescription(Settings):
    """The content of prepared.json.

    Attributes:
        kind: layout that the set was read in.
        source: name of the set.
        terms: terms of the set, as its owners state them.
        portraits: whether all pictures are listed public-domain portraits.
        size: side of the aligned crops, px.
        pictures: number of pictures in the set.
        records: number of prepared faces.
        splits: records by split; "" for records without one.
        dropped: pictures left out, by reason.
        landmarks: records by the origin of their landmarks: `set` or `detector`.
        detector: name and version of the detector; None if every picture had landmarks.
        index_sha256: hash of index.parquet.
        shards: size and hash of each shard.
    """

    format: Literal[1] = 1
    kind: str
    source: str
    terms: Terms
    portraits: bool
    size: PositiveInt
    picture_format: PictureFormat
    pictures: NonNegativeInt
    records: Annotated[int, Field(ge=0, le=_MAX_RECORDS)]
    splits: dict[str, NonNegativeInt]
    dropped: dict[str, NonNegativeInt]
    landmarks: dict[str, NonNegativeInt]
    detector: str | None
    index_sha256: Sha256
    shards: tuple[ShardDigest, ...]


class IndexRow(NamedTuple):
    """A record: whose face it is, its split, and where its bytes are."""

    name: str
    person: str
    split: str
    shard: int
    row: int
    offset: int
    size: int


def shard_key(number: int) -> str:
    """Return the key of a shard."""
    return f"{SHARDS}/{number:05d}.tar"


def is_prepared(location: str) -> bool:
    """Return whether a folder or s3://bucket/prefix is a prepared store.

    Raises:
        DataError: its preparation is not finished.
        StorageError: the store does not answer.
    """
    store = open_store(location)
    if _holds(store, DESCRIPTION):
        return True
    if _holds(store, PLAN):
        raise DataError(f"{store}: the preparation of this store is not finished; run the same command again")
    return False


def read_description(store: ObjectStore) -> PreparedDescription:
    """Read prepared.json.

    Raises:
        DataError: it is missing or damaged.
        StorageError: the store does not answer.
    """
    try:
        return PreparedDescription.model_validate_json(_read(store, DESCRIPTION, _DESCRIPTION_MEGABYTES))
    except NoSuchObject:
        raise DataError(f"{store}: there is no {DESCRIPTION}; give a prepared store") from None
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(
            f"{store}/{DESCRIPTION} is damaged ({where}: {error.errors()[0]['msg']}); prepare the set again"
        ) from None


def encode_index(rows: Sequence[IndexRow]) -> bytes:
    """Encode the index as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
    arrays = [
        [text.encode(errors=_NAME_ERRORS) for text in columns.get(name, ())]
        if name in _COLUMNS[:3]
        else list(columns.get(name, ()))
        for name in _COLUMNS
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, schema=_index_schema()), sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def read_index(store: ObjectStore, described: PreparedDescription) -> list[IndexRow]:
    """Read the index; its hash, shards and extents are checked.

    Raises:
        DataError: the index is missing, damaged, or not that of the description.
        StorageError: the store does not answer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = f"{store}/{INDEX}"
    try:
        content = _read(store, INDEX, _MEGABYTES)
        if hashlib.sha256(content).hexdigest() != described.index_sha256:
            raise ValueError(f"it is not the file that {DESCRIPTION} names")
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        _check_index(file, described.records)
        table = file.read()
        if any(table[name].null_count for name in _COLUMNS):
            raise ValueError("it has empty cells")
        columns = [table[name].to_pylist() for name in _COLUMNS]
    except NoSuchObject:
        raise DataError(f"{place}: there is no index; prepare the set again") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{place} is damaged ({reason}); prepare the set again") from None
    sizes = {one.shard: one.bytes for one in described.shards}
    texts = [[text.decode(errors=_NAME_ERRORS) for text in column] for column in columns[:3]]
    rows = [IndexRow(*row) for row in zip(*texts, *columns[3:], strict=True)]
    if any(row.offset < 0 or row.size <= 0 or row.offset + row.size > sizes.get(row.shard, 0) for row in rows):
        raise DataError(f"{place}: a record lies outside its shard; prepare the set again")
    return rows


def _index_schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(name, pa.binary() if name in _COLUMNS[:3] else pa.int64()) for name in _COLUMNS])


def _check_index(file: "pq.ParquetFile", records: int) -> None:
    """Check columns and size of the index before it is read. Raises ValueError."""
    if not file.schema_arrow.remove_metadata().equals(_index_schema()):
        raise ValueError("its columns are not those of an index")
    if file.metadata.num_rows != records:
        raise ValueError(f"it has {file.metadata.num_rows} rows, not {records}")
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) > _BYTES_PER_RECORD * (records + 1):
        raise ValueError("its names are too long")


def _holds(store: ObjectStore, key: str) -> bool:
    try:
        store.size(key)
    except NoSuchObject:
        return False
    return True


def _read(store: ObjectStore, key: str, megabytes: float) -> bytes:
    size = store.size(key)
    if size > megabytes * 1e6:
        raise DataError(f"{store}/{key}: {size / 1e6:.0f} MB exceed the limit of {megabytes:g} MB; prepare it again")
    return store.read(key)
