"""A whole run in miniature: the ellipsoid face at 32 px, two steps of each phase, made in well under a second.

And what stands in for the things around a run: somebody who listens, a store that can refuse, Ray Train in one process.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from focus_ray import model, presets
from focus_ray.config import RunConfig
from focus_ray.errors import StorageError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.guard import Guard
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.schedule import Schedule
from focus_ray.focus.state import Targets, TrainState
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, render_random
from focus_ray.runtime.callbacks import Callback
from focus_ray.storage.object_store import Entry, LocalStore, ObjectStore
from focus_ray.training import assemble, in_process
from tests.conftest import quick_runs
from tests.runtime.conftest import listener, record_of

__all__ = ["listener", "record_of"]

BATCH = 4
SMALL = [
    "model.camera.image_size=32",
    "batch_size=4",
    "warmup.batch_size=4",
    "schedule={warmup_steps: 2, init_steps: 2, pretrain_seg_steps: 2, cycles: 2, seg_steps: 2, face_steps: 2}",
    "heldout={size: 6, batch_size: 6}",
    "refine.steps=2",
    "em.refined_comparison.steps=1",
    "data.size=16",
    "cadence={checkpoint: 2, sheet: 7}",
    "model.encoder.width=4",
    "model.segmenter.width=4",
    "model.segmenter.levels=2",
]


@pytest.fixture
def tiny_config() -> RunConfig:
    config = presets.embedded()
    return config.model_copy(
        update={
            "batch_size": BATCH,
            "model": config.model.model_copy(
                update={
                    "camera": Camera(image_size=32),
                    "encoder": config.model.encoder.model_copy(update={"width": 4}),
                    "segmenter": config.model.segmenter.model_copy(update={"width": 4, "levels": 2}),
                }
            ),
            "schedule": Schedule(
                warmup_steps=2, init_steps=2, pretrain_seg_steps=2, cycles=2, seg_steps=2, face_steps=2
            ),
            "warmup": config.warmup.model_copy(update={"batch_size": BATCH}),
        }
    )


class Miniature:
    """Everything that `steps` asks for, built anew at each call with the same seed."""

    def __init__(self, config: RunConfig, face: MorphableModel):
        self.config = config
        self.face = face

    def state(self) -> TrainState:
        torch.manual_seed(self.config.seed)
        return TrainState(model.build(self.config.model, self.face, perceptual=False))

    def guard(self) -> Guard:
        return Guard(self.config.guard)

    @cached_property
    def renderer(self) -> Renderer:
        return Renderer(self.face, self.config.model.camera)

    def targets_of(self, step: int) -> Targets:
        images, theta = render_random(self.renderer, SamplingDistributions(), BATCH, make_generator(7, step))
        images[:, :, 10:20, 8:16] = 0.5  # an occluder
        return Targets(images, self.renderer(theta).landmarks)


@pytest.fixture
def miniature(tiny_config: RunConfig, ellipsoid_face: MorphableModel) -> Miniature:
    return Miniature(tiny_config, ellipsoid_face)


@pytest.fixture(scope="session")
def small() -> list[str]:
    """What makes the embedded preset small on the command line: 14 steps, a checkpoint after each."""
    return SMALL


@pytest.fixture
def config(small: list[str]) -> RunConfig:
    """The embedded preset, made small."""
    return presets.load("embedded", None, small)


@pytest.fixture
def ellipsoid_world(monkeypatch: pytest.MonkeyPatch, ellipsoid_face: MorphableModel) -> None:
    """Runs train on the ellipsoid face, which is made in milliseconds."""
    monkeypatch.setattr(assemble, "world_face", lambda config: ellipsoid_face)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Many whole runs are trained here."""
    with quick_runs():
        yield


@pytest.fixture(scope="session")
def straight_run(tmp_path_factory: pytest.TempPathFactory, small: list[str], ellipsoid_face: MorphableModel) -> Path:
    """The folder of a run of `config` on the ellipsoid face that nothing interrupted, its calls checked; read-only."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "world_face", lambda config: ellipsoid_face)
        in_process.train(presets.load("embedded", None, small), folder)
    return folder


@pytest.fixture(scope="session")
def weights() -> Callable[[Path], dict[str, torch.Tensor]]:
    """Every parameter of the model that a run left in its folder."""

    def of(run: Path) -> dict[str, torch.Tensor]:
        focus = model.load(run / "model").focus
        return {**focus.encoder.state_dict(prefix="encoder."), **focus.segmenter.state_dict(prefix="segmenter.")}

    return of


class Remote(ObjectStore):
    """A store that is no folder of this machine, as far as anyone can see.

    While it is `ill` it refuses to write, and while it is not `open` it lets whoever writes wait.
    """

    def __init__(self, root: Path, parent: "Remote | None" = None):
        self._inner = LocalStore(root)
        self._parent = parent
        self.ill = False
        self.open = threading.Event()
        self.open.set()
        self.uploads: list[str] = []

    def __str__(self) -> str:
        return f"s3://bucket/{self._inner.root.name}"

    def at(self, key: str) -> "Remote":
        return Remote(self._inner.path(key), self)

    def read(self, key: str) -> bytes:
        return self._inner.read(key)

    def write(self, key: str, content: bytes) -> None:
        self.refuse()
        self._inner.write(key, content)

    def upload(self, path: Path, key: str) -> None:
        self.refuse()
        self.uploads.append(key)
        self._inner.upload(path, key)

    def download(self, key: str, path: Path) -> None:
        self._inner.download(key, path)

    def size(self, key: str) -> int:
        return self._inner.size(key)

    def list(self, prefix: str = "", *, limit: int | None = None) -> list[Entry]:
        return self._inner.list(prefix, limit=limit)

    def delete(self, keys: Any) -> None:
        self._inner.delete(keys)

    def check(self) -> None:
        self.refuse()

    def filesystem(self) -> Any:
        return self._inner.filesystem()

    def refuse(self) -> None:
        if self._parent is not None:
            self._parent.refuse()
        assert self.open.wait(60)
        if self.ill:
            raise StorageError(f"{self} does not answer; mend it")


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path / "remote")


class Reports:
    """Ray Train's `report`: it remembers what it was told, and uploads in one thread in the background as Ray does."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, Any], Any]] = []
        self.open = threading.Event()  # uploads begin when it is set
        self.open.set()
        self._uploads: list[Future[Any]] = []
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, metrics: dict[str, Any], checkpoint: Any = None, **options: Any) -> None:
        self.told.append((metrics, checkpoint))
        if checkpoint is not None:
            self._uploads.append(self._thread.submit(self._upload, checkpoint, options["checkpoint_upload_fn"]))

    def _upload(self, checkpoint: Any, upload: Any) -> Any:
        assert self.open.wait(60)
        return upload(checkpoint, "name")

    def settle(self) -> list[Any]:
        """Wait for all uploads; what they returned, or their error."""
        return [upload.result(60) for upload in self._uploads]

    def close(self) -> None:
        self.open.set()
        self._thread.shutdown()


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reports]:
    reports = Reports()
    monkeypatch.setattr("ray.train.report", reports)
    yield reports
    reports.close()


class InProcess:
    """The handle of an actor that lives on an event loop in a thread of this process."""

    def __init__(self, actor: Any):
        self._actor = actor
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._actor, name)
        return SimpleNamespace(
            remote=lambda *arguments: asyncio.run_coroutine_threadsafe(method(*arguments), self._loop)
        )

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def open_channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], InProcess]]:
    """Opens channels without Ray: `ray.get` waits for what their methods return."""
    from focus_ray.training.event_queue import _EventQueueActor

    opened: list[InProcess] = []

    def opening() -> InProcess:
        opened.append(InProcess(_EventQueueActor()))
        return opened[-1]

    monkeypatch.setattr("ray.get", lambda ref: ref.result(60) if isinstance(ref, Future) else ref)
    monkeypatch.setattr("focus_ray.training.event_queue.SEND_INTERVAL_SECONDS", 0.01)
    yield opening
    for handle in opened:
        handle._close()


@pytest.fixture
def channel(open_channel: Callable[[], InProcess]) -> InProcess:
    """One channel."""
    return open_channel()


@pytest.fixture
def one_worker(
    monkeypatch: pytest.MonkeyPatch, open_channel: Callable[[], InProcess], reports: Reports
) -> SimpleNamespace:
    """Ray Train in this process: the trainer's one worker runs in the thread that the driver made for it.

    MLflow is stood in for too. Gives the trainers and trackers that were made, what `track` was asked, and the reports.
    """
    from ray.train.torch import TorchTrainer

    from focus_ray.training import driver

    trainers, trackers, tracked = [], [], []

    def fit(trainer: Any) -> None:
        trainers.append(trainer)
        trainer.train_loop_per_worker(trainer.train_loop_config)

    @contextmanager
    def connected(settings: Any) -> Iterator[Any]:
        yield settings.model_copy(update={"cpus_per_worker": 1})

    class Tracker:
        """Remembers what it is told."""

        def __init__(self, run: Path, tracking: Any, note: Any, *, tags: dict[str, str]):
            trackers.append(self)
            self.run, self.tracking, self.tags, self.finished = run, tracking, tags, None

        def start(self) -> None: ...

        def close(self, *, finished: bool) -> SimpleNamespace:
            self.finished = finished
            return SimpleNamespace(complete=True)

    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr(TorchTrainer, "fit", fit)
    monkeypatch.setattr("ray.put", lambda content: content)
    monkeypatch.setattr("ray.train.get_context", lambda: context)
    monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr("focus_ray.training.worker.RayMetricsCallback", Callback)
    monkeypatch.setattr("focus_ray.training.event_queue.open_event_queue", open_channel)
    monkeypatch.setattr(driver, "connect_ray", connected)
    monkeypatch.setattr(driver, "missing_resources", lambda settings: None)
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(driver, "MlflowTracker", Tracker)
    monkeypatch.setattr(driver, "track", lambda run, tracking, **options: tracked.append((run, tracking, options)))
    return SimpleNamespace(trainers=trainers, trackers=trackers, tracked=tracked, reports=reports)
