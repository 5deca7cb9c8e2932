"""What every test stands on: threads, caches, faces that are quick to make, and the marks that skip with a reason."""

import json
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Before torch is imported: small tensors are fastest on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Byte code is kept, also where the environment says otherwise (many containers do): compiling the package, the tests
# and their assertions anew takes each process most of a minute.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import hypothesis
import jaxtyping
import pytest
import torch

hypothesis.settings.register_profile("focus-ray", deadline=None, max_examples=25, derandomize=True, database=None)
hypothesis.settings.load_profile("focus-ray")


def shared_folder() -> Path:
    """The material beside the checkout (photographs, other face models), or where FOCUS_RAY_SHARED points."""
    return Path(os.environ.get("FOCUS_RAY_SHARED") or ROOT.parent / "shared")


class ResultsPlugin:
    """Keeps what each test recorded with `record_property`, how it ended and how long it took, as one JSON file.

    Of tests that are not run this time the file keeps what it said.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tests: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self.tests = {entry["test"]: entry for entry in json.loads(path.read_text())["tests"]}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            measured = dict(report.user_properties)
            seconds = round(report.duration, 2)
            outcome = {"test": report.nodeid, "outcome": report.outcome, "seconds": seconds}
            self.tests[report.nodeid] = {**outcome, **measured}

    def pytest_sessionfinish(self) -> None:
        machine = {"python": platform.python_version(), "torch": torch.__version__, "cpus": os.cpu_count()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tests = [self.tests[name] for name in sorted(self.tests)]
        self.path.write_text(json.dumps({"machine": machine, "tests": tests}, indent=2) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", type=Path, metavar="JSON", help="keep outcomes and recorded properties in this file")


def pytest_configure(config: pytest.Config) -> None:
    # In the background of a shell, Ctrl-C is ignored, and would be by every command that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    if path := config.getoption("--results"):
        config.pluginmanager.register(ResultsPlugin(path))


# What takes longest begins first, so that no process is left alone with it at the end.
LONGEST_FIRST = ("system", "training", "tuning", "evaluation", "priors", "tracking", "focus", "serving", "storage")


# One group of replicas plays for all tests of them.
REPLICAS = ("test_state", "test_replica_group", "networks/test_sync_batchnorm")
# Whole systems take turns: those that serve in one process, all others in another one.
SERVERS = (
    "exposition",
    "hostile",
    "mlflow",
    "model_source",
    "openapi",
    "page",
    "serving",
    "serving_limits",
    "serving_load",
)
FILE_GROUPS: dict[str, str] = {f"tests/focus/{name}.py": "replicas" for name in REPLICAS}
FILE_GROUPS |= {f"tests/system/test_{name}.py": "servers" for name in SERVERS}
# Who asks for one of these starts a process, a server, or a whole run, and these files train, fit or migrate databases:
# `make test-fast` leaves them out.
SLOW_FIXTURES = {"one_worker", "place", "plan", "played", "python", "s3_url", "straight_run", "ellipsoid_world"}
SLOW_FILES = {
    "data/detectors/test_haar.py",
    "evaluation/test_evaluate.py",
    "house/test_makefile.py",
    "priors/test_build.py",
    "serving/test_fitting.py",
    "serving/test_model_source.py",
    "serving/test_mlflow_run.py",
    "storage/test_s3.py",
    "test_baselines.py",
    "test_presets.py",
    "tracking/test_mlflow_sync.py",
    "tracking/test_mlflow_client.py",
    "tracking/test_mlflow_model.py",
    "tracking/test_mlflow_tracker.py",
    "training/test_assemble.py",
    "training/test_loop.py",
    "training/test_precision.py",
    "training/test_run_photographs.py",
}


def relative_path(item: pytest.Item) -> str:
    """The file of a test, from the folder of all tests on."""
    return item.path.relative_to(ROOT / "tests").as_posix()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, and say why, what this machine cannot run; mark what is slow."""
    if hasattr(config, "workerinput"):
        ranks = {folder: rank for rank, folder in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: ranks.get(relative_path(item).split("/")[0], len(ranks)))
    for item in items:
        if relative_path(item) in SLOW_FILES or SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    data = shared_folder() / "data"
    absent = {
        "shared": None if data.is_dir() else f"{data} is not there (FOCUS_RAY_SHARED can point elsewhere)",
        "gpu": None if torch.cuda.is_available() else "no CUDA device",
    }
    for mark, reason in absent.items():
        if reason is None:
            continue
        for item in items:
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile, the tests of a file are one process's, and so are those of a group of files."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return FILE_GROUPS.get(file, "systems" if file.startswith("tests/system/") else file)

    return Scheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Other tests stand behind the whole systems beside them, which take longest and have limits of time."""
    if hasattr(item.config, "workerinput") and not item.nodeid.startswith("tests/system/") and os.nice(0) == 0:
        os.nice(5)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Each test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)


@contextmanager
def quick_runs() -> Iterator[None]:
    """Reports without plots, calls without checks, scans of few points: each takes longer than a miniature trains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("focus_ray.data.dataset_writers.scan_simulation._EDGE_MM", 8.0)
        for name in ("loss_curves", "mask_coverage", "figures_over_time"):
            patch.setattr(f"focus_ray.tracking.plots.{name}", lambda *_: None)
        patch.setattr("focus_ray.priors.prior_report.misfit_sheet", lambda *_: b"no picture")
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        yield


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of photographs and face models beside the checkout; use it in tests marked `shared`."""
    return shared_folder() / "data"


@pytest.fixture(scope="session")
def ellipsoid_face():
    """A tiny smooth half-ellipsoid face with the interface of a full one; treat it as read-only."""
    from tests.ellipsoid_face import ellipsoid_face

    return ellipsoid_face()


@pytest.fixture(scope="session")
def untrained(ellipsoid_face):
    """A small model that knows nothing: its answer is the mean face."""
    from focus_ray import model as models
    from focus_ray.focus.camera import Camera
    from focus_ray.focus.refine import RefineSettings
    from focus_ray.model import EncoderSettings, Model, ModelSettings, PerceptualSettings, SegmenterSettings

    torch.manual_seed(0)
    settings = ModelSettings(
        camera=Camera(image_size=32),
        encoder=EncoderSettings(kind="small", width=4),
        segmenter=SegmenterSettings(width=4, levels=2, dropout=0.0, norm="group"),
        perceptual=PerceptualSettings(kind="warmup_encoder"),
    )
    focus = models.build(settings, ellipsoid_face).eval().requires_grad_(False)
    return Model(focus, settings, RefineSettings(steps=2), "test")


@pytest.fixture(scope="session")
def world_face():
    """The small parametric face with more modes than the fitting model has: what synthetic people are drawn from."""
    from focus_ray.face_models.parametric import parametric_face

    return parametric_face("small", 120, 80, 120)


@pytest.fixture(scope="session")
def small_face(world_face):
    """The small parametric face as the fitting model: 80 identity, 64 expression and 80 albedo modes."""
    return world_face.truncate(80, 64, 80)


@pytest.fixture
def python_environment() -> dict[str, str]:
    """The environment for a subprocess that runs this checkout."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without runs. Its migrations take long: who needs one begins with a copy."""
    from focus_ray.tracking.mlflow_client import MlflowServer

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowServer(f"sqlite:///{path}").find_run("none", "none")
    return path


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter that runs the tests."""
    return sys.executable


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 service on this machine; tests keep apart by buckets of their own."""
    from tests.system.servers import s3_server

    with s3_server() as url:
        yield url
