"""Whole commands as users start them, in miniature: started, watched, killed, and compared."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from focus_ray import model
from focus_ray.detection.shards import SHARDS
from focus_ray.storage import atomic
from focus_ray.storage.open_store import open_store

MINIATURE = [
    "model.camera.image_size=32",
    "batch_size=8",
    "warmup.batch_size=8",
    "schedule={warmup_steps: 6, init_steps: 6, pretrain_seg_steps: 6, cycles: 3, seg_steps: 6, face_steps: 6}",
    "em.refined_comparison.steps=2",
    "data.size=32",
    "heldout={size: 8, batch_size: 8, refine: false}",
    "cadence={log: 3, checkpoint: 6, evaluate: 200, sheet: 200}",
]
STEPS = 6 * 3 + 3 * 12
TIMEOUT = 400.0  # s that a miniature may take on a busy machine
ORPHANS_S = 150.0  # an idle worker of Ray tries for 60 s to reach the control store that died with the driver


class CommandRun:
    """One focus-ray command in a process of its own."""

    COMMAND: tuple[str, ...]
    WORKER: str  # how the command lines of its workers begin

    def __init__(self, python: str, folder: Path, *options: str, environment: dict[str, str] | None = None):
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.log")
        command = [python, "-m", "focus_ray", *self.COMMAND, *options]
        # Its own process group: Ray's processes of a driver that is killed are found by it.
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def read_log(self) -> str:
        return self.log.read_text()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait while it runs until something has happened."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert self.process.poll() is None, self.read_log()
            assert time.monotonic() < deadline, self.read_log()
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """Process numbers of the workers that are at work."""
        return [pid for pid in self._session_pids() if command_line(pid).startswith(self.WORKER)]

    def kill_worker(self, number: int) -> None:
        """kill -9 one of them, once there are any."""
        deadline = time.monotonic() + TIMEOUT
        while not (alive := self.workers()):
            assert time.monotonic() < deadline, self.read_log()
            time.sleep(0.05)
        os.kill(sorted(alive)[number % len(alive)], signal.SIGKILL)

    def kill_driver(self) -> None:
        """kill -9 the process that was started; what it had started itself has to notice, and end."""
        family = self._session_pids()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        deadline = time.monotonic() + ORPHANS_S
        while alive := [pid for pid in family if pid != self.process.pid and is_relevant(command_line(pid))]:
            if time.monotonic() > deadline:
                left = [command_line(pid) for pid in alive]
                self.stop()
                raise AssertionError(f"still there {ORPHANS_S:.0f} s after their driver: {left}")
            time.sleep(0.2)
        self.stop()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        try:
            return self.process.wait(TIMEOUT)
        finally:
            self.stop()

    def stop(self) -> None:
        """Nothing of it is left, whatever happened."""
        for pid in self._session_pids():
            if pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.wait(30)

    def _session_pids(self) -> list[int]:
        """The process and everything that descends from it, its children's orphans included: they share its session."""
        return [pid for pid in processes() if session_id(pid) == self.process.pid]


class TrainingRun(CommandRun):
    """One `focus-ray train`."""

    COMMAND = ("train",)
    WORKER = "ray::RayTrainWorker"

    def history(self) -> list[dict[str, Any]]:
        return read_jsonl(self.folder / "history.jsonl")

    def reach(self, step: int) -> None:
        """Wait until a step is in the history."""
        self.wait_for(lambda: any(line["step"] >= step for line in self.history()))


class PriorBuild(CommandRun):
    """One `focus-ray prior build`."""

    COMMAND = ("prior", "build")
    WORKER = "ray::_leaf"

    def shards(self) -> int:
        """How many are finished. A killed worker leaves files that are not."""
        found = (self.folder / "shards").rglob("*-*")
        return sum(path.is_file() and not atomic.is_unfinished(path.name) for path in found)

    def reach(self, shards: int) -> None:
        """Wait until so many are."""
        self.wait_for(lambda: self.shards() >= shards)


class EvaluationRun(CommandRun):
    """One `focus-ray evaluate`."""

    COMMAND = ("evaluate",)
    WORKER = "ray::_run_task"

    def pieces(self) -> int:
        """How many are finished."""
        return sum(1 for _ in (self.folder / "parts").rglob("*.safetensors"))

    def reach(self, pieces: int) -> None:
        """Wait until so many are."""
        self.wait_for(lambda: self.pieces() >= pieces)


class DetectionRun(CommandRun):
    """One `focus-ray data detect`."""

    COMMAND = ("data", "detect")
    WORKER = "ray::MapWorker"

    def __init__(self, python: str, folder: Path, location: str, *options: str, environment: dict[str, str]):
        super().__init__(python, folder, location, *options, environment=environment)
        self.store = open_store(location)

    def shards(self) -> int:
        """How many are finished."""
        return sum(1 for _ in self.store.list(SHARDS))

    def reach(self, shards: int) -> None:
        """Wait until so many are."""
        self.wait_for(lambda: self.shards() >= shards)


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def session_id(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def command_line(pid: int) -> str:
    """The command line of a living process; empty for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "" if status == "Z" else Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_relevant(command: str) -> bool:
    """Whether it is more than the two agents of a Ray node, which notice its end after minutes only."""
    return bool(command) and not command.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))


def set_options(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON lines file."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def runs_in_mlflow(folder: Path) -> int:
    """How many runs the database beside a run's folder knows."""
    with contextlib.closing(sqlite3.connect(folder.parent / "mlflow.db")) as database:
        return database.execute("select count(*) from runs").fetchone()[0]


def load_weights(run: Path) -> dict[str, torch.Tensor]:
    focus = model.load(run / "model").focus
    return {**focus.encoder.state_dict(prefix="encoder."), **focus.segmenter.state_dict(prefix="segmenter.")}


def same_weights(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same parameters, bit for bit."""
    a, b = load_weights(one), load_weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
