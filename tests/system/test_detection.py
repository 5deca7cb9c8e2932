"""Detection by Ray Data's actors: killed actors, a killed driver, a bucket, and landmarks before a training."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from focus_ray.data.detect_landmarks import RETRIED
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.face_table import decode_table
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.detection.detect_folder import detect_folder
from focus_ray.detection.shards import SHARDS
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store
from tests.detection.conftest import mesh_spec, write_picture
from tests.system.runs import DetectionRun, TrainingRun, set_options

__all__ = ["mesh_spec"]
pytestmark = [pytest.mark.timeout(900), pytest.mark.slow, pytest.mark.usefixtures("mesh_spec")]
FILES = ("landmarks.csv", "landmarks.parquet", "detect.json")


@pytest.fixture(scope="module")
def environment(python_environment_of_module: dict[str, str]) -> dict[str, str]:
    return python_environment_of_module


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight faces; four pictures without one, which take longer; a damaged one."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    for number in range(8):
        write_picture(folder / f"{number}" / "face.png", shift=number)
    for number in range(4):
        Image.effect_noise((480, 360), 40.0 + number).convert("RGB").save(folder / f"{number}" / "noise.png")
    (folder / "damaged.png").write_bytes((folder / "0" / "face.png").read_bytes()[:300])
    return folder


@pytest.fixture
def photo_copy(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "copy"))


@pytest.fixture(scope="module")
def straight(photos: Path, mesh_spec: DetectorSpec, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The files of a detection in one process, without Ray."""
    folder = Path(shutil.copytree(photos, tmp_path_factory.mktemp("straight") / "copy"))
    summary = detect_folder(folder, mesh_spec)
    assert summary.landmarks == 8
    return [(folder / name).read_bytes() for name in FILES]


def count_finished_pictures(store: ObjectStore) -> int:
    """The pictures that the next run need not detect."""
    tables = [decode_table(store.read(entry.key), entry.key) for entry in store.list(SHARDS)]
    return sum(reason not in RETRIED for table in tables for reason in table["reason"].to_pylist())


def check_killed_and_resumed(
    straight: list[bytes], folder: Path, location: str, python: str, environment: dict[str, str]
) -> None:
    """Kill an actor, then the driver; the same command detects what is missing and writes the files of one process."""
    run = DetectionRun(python, folder, location, "--tasks", "2", environment=environment)
    run.reach(1)
    run.kill_worker(0)
    run.reach(3)
    run.kill_driver()
    kept = count_finished_pictures(run.store)
    assert "landmarks.csv" not in [entry.key for entry in run.store.list()], "it was killed before the end"
    again = DetectionRun(python, folder, location, "--tasks", "1", "--json", environment=environment)
    assert again.wait() == 0, again.read_log()
    assert f"\npictures: {kept} of 13\n" in again.read_log(), "only what was missing is detected"
    assert [run.store.read(name) for name in FILES[:2]] == straight[:2]
    problems = [
        [(one["name"], one["reason"]) for one in json.loads(text)["problems"]]
        for text in (run.store.read(FILES[2]), straight[2])
    ]
    assert problems[0] == problems[1]
    last = json.loads(again.read_log().splitlines()[-1])
    assert {reason: count for reason, count in last["counts"].items() if count} == {
        "found": 8,
        "no_face": 4,
        "unreadable": 1,
    }


def test_in_a_bucket_an_actor_and_a_driver_that_are_killed_change_nothing(
    straight: list[bytes],
    photos: Path,
    tmp_path: Path,
    python: str,
    environment: dict[str, str],
    bucket: str,
    bucket_environment: dict[str, str],
):
    store = open_store(f"{bucket}/photos")
    for path in photos.rglob("*.png"):
        store.upload(path, path.relative_to(photos).as_posix())
    check_killed_and_resumed(straight, tmp_path / "run", f"{bucket}/photos", python, environment | bucket_environment)


@pytest.mark.drill
def test_on_disk_an_actor_and_a_driver_that_are_killed_change_nothing(
    straight: list[bytes], photo_copy: Path, python: str, environment: dict[str, str]
):
    check_killed_and_resumed(straight, photo_copy, str(photo_copy), python, environment)
    assert (photo_copy / FILES[2]).read_bytes() == straight[2]


@pytest.mark.drill
def test_actors_killed_in_the_middle_of_their_pieces(
    mesh_spec: DetectorSpec, tmp_path: Path, python: str, environment: dict[str, str]
):
    """Pieces of several batches: an actor's successor detects its piece again, and no row is lost or doubled."""
    folder = tmp_path / "photos"
    for number in range(160):
        write_picture(folder / f"{number:03}.png", shift=number % 32)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    detect_folder(folder, mesh_spec)
    run = DetectionRun(python, copy, str(copy), "--tasks", "2", environment=environment)
    for shards in (1, 3, 5):
        run.reach(shards)
        run.kill_worker(shards)
    assert run.wait() == 0, run.read_log()
    assert [(copy / name).read_bytes() for name in FILES] == [(folder / name).read_bytes() for name in FILES]


@pytest.mark.drill
@pytest.mark.usefixtures("database")
def test_a_training_by_workers_with_data_workers_detects_first(
    photo_copy: Path, tmp_path: Path, python: str, environment: dict[str, str]
):
    """Detection and batches by Ray Data in one session."""
    short = ["schedule={cycles: 1, seg_steps: 1, face_steps: 2}", "batch_size=4", "cadence.checkpoint=1"]
    folder = tmp_path / "run"
    options = ("--data", str(photo_copy), "--data-workers", "1", "--cpus-per-worker", "1", "--out", str(folder))
    run = TrainingRun(python, folder, *options, *set_options(short), environment=environment)
    assert run.wait() == 0, run.read_log()
    assert "has no landmarks.csv: the detector mesh" in run.read_log()
    assert len(read_landmarks(photo_copy / "landmarks.csv")) == 8
    assert len(run.history()) == 3
