"""Evaluations by Ray's tasks: workers and drivers that die, and rows that must not change."""

from pathlib import Path

import pytest

from focus_ray.data.layouts import write_layout
from focus_ray.data.sources import open_now
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.evaluation.config import configured
from focus_ray.evaluation.methods import Method
from focus_ray.evaluation.predict import predict
from focus_ray.evaluation.rows import read_rows
from focus_ray.evaluation.run import evaluate
from tests.priors.conftest import stand_in
from tests.system.runs import Evaluation

PICTURES = 48


@pytest.fixture
def environment(python_environment_of_module: dict[str, str]) -> dict[str, str]:
    return python_environment_of_module


def test_a_worker_and_a_driver_that_die_leave_the_rows_of_one_process(
    small_face, world_face, tmp_path: Path, python: str, environment: dict[str, str]
):
    data, predictions = tmp_path / "now", tmp_path / "ours"
    write_layout("now", data, PICTURES, size=32, world=world_face)
    assert (
        predict(Method("ours", stand_in(small_face)), NowPictures(open_now(data)), predictions, None, meshes=True) == []
    )
    alone = evaluate(configured("now", str(data), [str(predictions)], {}), tmp_path / "alone", None)
    folder = tmp_path / "evaluation"
    options = ["now", "--data", str(data), "--predictions", str(predictions), "--out", str(folder)]
    run = Evaluation(python, folder, *options, environment=environment)
    run.reach(3)
    run.kill_worker(0)
    run.reach(8)
    run.kill_driver()
    finished = run.pieces()
    assert 8 <= finished < PICTURES, run.said()
    again = Evaluation(python, folder, *options, environment=environment)
    assert again.end() == 0, again.said()
    assert read_rows(folder) == alone.rows
    assert again.pieces() == PICTURES
    assert (tmp_path / "mlflow.db").is_file()
