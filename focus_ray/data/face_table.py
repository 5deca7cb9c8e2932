"""Tables of detected faces: a row per picture between processes and in shards, a row per face in landmarks.parquet."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from focus_ray.data.detect_landmarks import WITH_LANDMARKS, PictureFaces
from focus_ray.data.detectors.detection import Detection
from focus_ray.data.image_file import path_text
from focus_ray.errors import DataError

_NAME_ERRORS = "surrogateescape"  # file names are bytes, not always UTF-8
_POINTS = pa.list_(pa.float32())  # x0, y0, x1, y1, ... [px]
_BOX = ("x", "y", "width", "height")
_FACE = pa.struct(
    [*((side, pa.float64()) for side in _BOX), ("score", pa.float64()), ("landmarks", _POINTS), ("mesh", _POINTS)]
)
PICTURE_SCHEMA = pa.schema(
    [
        ("name", pa.binary()),
        ("version", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("kind", pa.string()),
        ("faces", pa.list_(_FACE)),
    ]
)
FACE_SCHEMA = pa.schema([("name", pa.string()), ("face", pa.int32()), ("used", pa.bool_()), *_FACE])
_ROWS_PER_GROUP = 512


def encode_name(name: str) -> bytes:
    """Encode the name of a picture, which need not be UTF-8."""
    return name.encode(errors=_NAME_ERRORS)


def decode_name(name: bytes) -> str:
    """Decode `encode_name`."""
    return name.decode(errors=_NAME_ERRORS)


def picture_table(pictures: Sequence[PictureFaces], versions: Sequence[str]) -> pa.Table:
    """Build a table with a row per picture.

    Args:
        pictures: what was found.
        versions: version of each picture, see `PictureListing`.
    """
    rows = [_picture_row(picture, version) for picture, version in zip(pictures, versions, strict=True)]
    return pa.Table.from_pylist(rows, schema=PICTURE_SCHEMA)


def read_pictures(table: pa.Table) -> Iterator[PictureFaces]:
    """Yield the rows of `picture_table`; points have float32 precision."""
    for row in table.select(PICTURE_SCHEMA.names).to_pylist():
        yield PictureFaces(
            name=decode_name(row["name"]),
            reason=row["reason"],
            message=row["message"],
            kind=row["kind"],
            faces=[_read_face(face) for face in row["faces"]],
        )


def encode_table(table: pa.Table) -> bytes:
    """Encode a picture table as Parquet, with checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def decode_table(content: bytes, label: str) -> pa.Table:
    """Decode `encode_table`.

    Args:
        content: Parquet file.
        label: where it is stored, for messages.

    Raises:
        DataError: the file is damaged or has another schema.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{label} is damaged ({' '.join(str(error).split())[:200]})") from None
    if table.schema.remove_metadata() != PICTURE_SCHEMA:
        raise DataError(f"{label} has another schema")
    return table


def write_faces(path: Path, pictures: Iterable[PictureFaces], metadata: dict[str, Any]) -> None:
    """Write landmarks.parquet, with a row per face.

    Args:
        path: file to write.
        pictures: pictures in order.
        metadata: JSON value for the key `focus-ray` of the file's metadata.
    """
    schema = FACE_SCHEMA.with_metadata({"focus-ray": json.dumps(metadata, sort_keys=True)})
    with pq.ParquetWriter(path, schema) as writer:
        rows: list[dict[str, Any]] = []
        for picture in pictures:
            rows += _face_rows(picture)
            while len(rows) >= _ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows[:_ROWS_PER_GROUP], schema=schema))
                del rows[:_ROWS_PER_GROUP]
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _picture_row(picture: PictureFaces, version: str) -> dict[str, Any]:
    return {
        "name": encode_name(picture.name),
        "version": version,
        "reason": picture.reason,
        "message": picture.message,
        "kind": picture.kind,
        "faces": [_face_row(face) for face in picture.faces],
    }


def _face_rows(picture: PictureFaces) -> list[dict[str, Any]]:
    used = picture.reason in WITH_LANDMARKS
    return [
        {"name": path_text(picture.name), "face": number, "used": used and number == 0, **_face_row(face)}
        for number, face in enumerate(picture.faces)
    ]


def _face_row(face: Detection) -> dict[str, Any]:
    box = dict(zip(_BOX, face.box, strict=True))
    return {**box, "score": face.score, "landmarks": _write_points(face.landmarks), "mesh": _write_points(face.mesh)}


def _read_face(row: dict[str, Any]) -> Detection:
    x, y, width, height = (row[side] for side in _BOX)
    return Detection(
        (x, y, width, height),
        score=row["score"],
        landmarks=_read_points(row["landmarks"]),
        mesh=_read_points(row["mesh"]),
    )


def _write_points(points: Float[np.ndarray, "N 2"] | None) -> Float[np.ndarray, " M"] | None:
    return None if points is None else points.astype(np.float32).reshape(-1)


def _read_points(values: list[float] | None) -> Float[np.ndarray, "N 2"] | None:
    return None if values is None else np.array(values, dtype=np.float64).reshape(-1, 2)
