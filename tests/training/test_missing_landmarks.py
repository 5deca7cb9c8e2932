"""Photographs without landmarks: a detector finds them before the run folder is made."""

import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from focus_ray import presets
from focus_ray.config import RunConfig
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.errors import ConfigError, DataError, Interrupted
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.runtime.callbacks import Callback
from focus_ray.training.in_process import train
from focus_ray.training.missing_landmarks import detect_missing, lacks_landmarks
from focus_ray.training.prepare import RunRequest, prepare
from tests.detection.conftest import mesh_spec, write_picture

__all__ = ["mesh_spec"]
pytestmark = pytest.mark.usefixtures("mesh_spec")


class Listener(Callback):
    """Records messages, and stops the run after its first step."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_message(self, message: str) -> None:
        self.said.append(message)

    def on_step_end(self, record: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(3):
        write_picture(folder / f"{number}.png", shift=4 * number)
    Image.new("RGB", (64, 64)).save(folder / "none.png")
    return folder


@pytest.fixture
def config(photos: Path) -> RunConfig:
    short = ["schedule={cycles: 1, seg_steps: 1, face_steps: 2}", "batch_size=3", "cadence.checkpoint=1"]
    start = f"start_from={SHIPPED_MODELS['embedded']}"
    return presets.load("adapt", None, [start, *short]).with_photos(str(photos), None)


def test_what_lacks_landmarks(config: RunConfig, photos: Path):
    assert lacks_landmarks(config)
    assert not lacks_landmarks(config.model_copy(update={"landmarks": "other.csv"}))
    assert not lacks_landmarks(config.model_copy(update={"photos": None}))
    (photos / "landmarks.csv").touch()
    assert not lacks_landmarks(config)


@pytest.mark.slow
def test_a_run_detects_says_so_trains_and_is_resumed(config: RunConfig, photos: Path, tmp_path: Path):
    listener = Listener()
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", callback=listener)
    assert listener.said[0].startswith(f"{photos} has no landmarks.csv: the detector mesh (mediapipe ")
    assert listener.said[1] == "3 of 4 photographs have landmarks, see detect.json there"
    assert list(read_landmarks(photos / "landmarks.csv")) == ["0.png", "1.png", "2.png"]
    again = Callback()
    assert train(None, tmp_path / "run", callback=again)["evaluations"][-1]["photos"]["n"] == 3


def test_what_cannot_be_trained_is_refused_before_the_detection(config: RunConfig, photos: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other.txt").touch()
    supervised = config.model_copy(update={"initialise": config.initialise.model_copy(update={"mask": "true"})})
    for wrong, out, message in [
        (config, tmp_path / "run", "is not empty"),
        (supervised, tmp_path / "new", "needs true masks"),
    ]:
        with pytest.raises(ConfigError, match=message):
            detect_missing(prepare(RunRequest(wrong, out)), None, Callback())
    assert not (photos / "landmarks.csv").exists()


def test_no_face_anywhere_leaves_no_run(config: RunConfig, photos: Path, tmp_path: Path):
    for number in range(3):
        (photos / f"{number}.png").unlink()
    with pytest.raises(DataError, match="none of 1 pictures has landmarks"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
