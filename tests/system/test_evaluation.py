"""Evaluations by Ray's tasks: workers and drivers that die, and rows that must not change."""

from pathlib import Path

import pytest

from focus_ray.data.dataset_writers import write_dataset
from focus_ray.data.sources import open_now
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.evaluation.evaluate import evaluate
from focus_ray.evaluation.evaluation_config import build_evaluation_config
from focus_ray.evaluation.methods import Method
from focus_ray.evaluation.predict import predict
from focus_ray.evaluation.rows import read_rows
from tests.priors.conftest import stand_in
from tests.system.runs import EvaluationRun, runs_in_mlflow

pytestmark = pytest.mark.usefixtures("database")
PICTURES = 40


@pytest.fixture(scope="module")
def environment(python_environment_of_module: dict[str, str]) -> dict[str, str]:
    return python_environment_of_module


@pytest.fixture(scope="module")
def place(small_face, world_face, tmp_path_factory) -> Path:
    """A NoW set, predictions for it, and what one process says of them without Ray."""
    folder = tmp_path_factory.mktemp("now")
    write_dataset("now", folder / "now", PICTURES, size=32, world=world_face)
    method, faces = Method("ours", stand_in(small_face)), NowPictures(open_now(folder / "now"))
    assert predict(method, faces, folder / "ours", None, meshes=True) == []
    evaluate(build_evaluation_config("now", str(folder / "now"), [str(folder / "ours")], {}), folder / "alone", None)
    return folder


def start_evaluation(python: str, folder: Path, place: Path, environment: dict[str, str]) -> EvaluationRun:
    options = ["now", "--data", str(place / "now"), "--predictions", str(place / "ours"), "--out", str(folder)]
    return EvaluationRun(python, folder, *options, environment=environment)


@pytest.mark.drill
def test_a_worker_that_dies_changes_no_row(place, tmp_path, python, environment):
    run = start_evaluation(python, tmp_path / "evaluation", place, environment)
    run.reach(3)
    run.kill_worker(0)
    assert run.wait() == 0, run.read_log()
    assert read_rows(tmp_path / "evaluation") == read_rows(place / "alone")
    assert run.pieces() == PICTURES
    assert runs_in_mlflow(tmp_path / "evaluation") > 0


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_a_driver_that_dies_is_gone_on_with(place, tmp_path, python, environment, record_property):
    folder = tmp_path / "evaluation"
    killed = []
    for after in (4, 15, 28):
        run = start_evaluation(python, folder, place, environment)
        run.reach(after)
        run.kill_driver()
        killed.append(run.pieces())
        assert killed[-1] < PICTURES, run.read_log()
    last = start_evaluation(python, folder, place, environment)
    assert last.wait() == 0, last.read_log()
    assert read_rows(folder) == read_rows(place / "alone")
    record_property("pieces_when_the_driver_was_killed", killed)
