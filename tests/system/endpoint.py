"""A real endpoint for tests, drills and benchmarks: a process with a Ray cluster of its own, ended by its number."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from infra.loopback_cluster import free_ports

ROOT = Path(__file__).resolve().parents[2]
MARK = "FOCUS_RAY_TEST_ENDPOINT"
SECONDS_TO_START, SECONDS_TO_END = 300.0, 60.0
PROXY, CONTROLLER = "ProxyActor", "ServeController"
MODEL, INGRESS = "ServeReplica:focus:Model", "ServeReplica:focus:Ingress"


@dataclass
class Endpoint:
    """Where it is, and its processes."""

    url: str
    process: subprocess.Popen[bytes]
    mark: str
    environment: dict[str, str]
    log: Path
    loads: list["LoadProcess"] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def processes(self, title: str = "") -> list[int]:
        """The living processes that belong to it, of those whose title holds a text."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):
                    belongs = f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
                    if belongs and title in (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode():
                        found.append(int(folder.name))
        return sorted(found)

    def memory(self) -> float:
        """Bytes that its processes keep for themselves, together."""
        total = 0.0
        for pid in self.processes():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/statm").read_text().split()
                total += (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
        return total

    def descriptors(self) -> int:
        """Open files of its processes, together."""
        total = 0
        for pid in self.processes("ray::"):
            with suppress(OSError):
                total += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return total

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; 0 where nobody answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.url + path, timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError as error:
            return 0, str(error).encode()

    def start_load(self, pictures: Path, query: str = "", **options: float | str | Path | bool | None) -> "LoadProcess":
        """Begin a load from another process: the options of tests/system/load.py."""
        command = [sys.executable, "-m", "tests.system.load", "--pictures", str(pictures)]
        command += ["--url", f"{self.url}/v1/reconstructions?{query}"]
        for name, value in options.items():
            if value is not None and value is not False:
                command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        self.loads.append(loading := LoadProcess(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)))
        return loading

    def swap(self, model: str) -> subprocess.CompletedProcess[bytes]:
        """`focus-ray serve --swap`."""
        command = [sys.executable, "-m", "focus_ray", "serve", "--swap", "--port", str(self.port), "--model", model]
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=400, check=False)


@dataclass
class LoadProcess:
    """A load under way."""

    process: subprocess.Popen[bytes]

    def result(self, timeout: float = 700) -> dict:
        """What it has seen, when it is over."""
        out, _ = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0
        return json.loads(out)


@contextmanager
def run_endpoint(
    folder: Path, *options: str, model: str | None = "embedded", env: Mapping[str, str] | None = None
) -> Iterator[Endpoint]:
    """`focus-ray serve` with options and variables of its environment, its state and log in a folder.

    None serves the default model; the small one is quicker.
    """
    mark, (port,) = uuid.uuid4().hex, free_ports(1)
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "FOCUS_RAY_"))}
    environment = kept | {
        MARK: mark,
        "XDG_STATE_HOME": str(folder / "state"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **(env or {}),
    }
    command = [sys.executable, "-m", "focus_ray", "serve", "--port", str(port), *options]
    command += ["--model", model] if model else []
    log = folder / "endpoint.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    running = Endpoint(f"http://127.0.0.1:{port}", process, mark, environment, log)
    try:
        _wait(running)
        yield running
    finally:
        for loading in running.loads:
            loading.process.kill()
            loading.process.communicate()
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        for pid in running.processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        process.wait(SECONDS_TO_END)


def _wait(running: Endpoint) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while running.get("/readyz")[0] != 200:
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the endpoint did not start:\n{running.log.read_text()[-3000:]}")
        time.sleep(0.5)


def write_crops(folder: Path, count: int, world_face: object, size: int = 64) -> Path:
    """Aligned crops of different synthetic faces, as PNG files; `size` is that of the model's crops."""
    from focus_ray.data.synthetic import SyntheticConfig

    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(islice(_faces(world_face, SyntheticConfig(image_size=size)), count)):
        cv2.imwrite(str(folder / f"{number:05}.png"), picture)
    return folder


def write_photographs(folder: Path, count: int, world_face: object) -> Path:
    """Pictures of 320 x 320 px, as JPEG files, each with another synthetic face that the first look is sure of."""
    from focus_ray.data.synthetic import OcclusionDistributions, SyntheticConfig

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    faces = _faces(world_face, SyntheticConfig(image_size=160, occlusion=OcclusionDistributions(share=0)))
    found = filter(_is_easily_detected, (_paste_on_background(face, rng) for face in faces))
    for number, picture in enumerate(islice(found, count)):
        cv2.imwrite(str(folder / f"{number:05}.jpg"), picture)
    return folder


def _faces(world_face: object, config: object) -> Iterator[np.ndarray]:
    """Pictures of different people, BGR, without end."""
    from focus_ray.data.synthetic import SyntheticFaces

    faces = SyntheticFaces(world_face, config, "heldout")  # type: ignore[arg-type]
    for number in itertools.count():
        (image,) = faces.batch([number]).images
        yield (255 * image.permute(1, 2, 0).numpy()).round().astype(np.uint8)[..., ::-1]


def _paste_on_background(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    picture = cv2.resize(rng.integers(60, 200, (5, 5, 3)).astype(np.uint8), (2 * len(face), 2 * len(face)))
    left, top = rng.integers(0, len(face), 2)
    picture[top : top + len(face), left : left + len(face)] = face
    return picture


def _is_easily_detected(picture: np.ndarray) -> bool:
    """Whether the endpoint's first look is enough: what it costs else is another figure."""
    from focus_ray.data.detectors.quick_haar import QuickDetector

    return len(QuickDetector(fallback=_NullDetector()).detect(np.ascontiguousarray(picture[..., ::-1]))) == 1


class _NullDetector:
    def detect(self, image: object) -> list:
        return []
