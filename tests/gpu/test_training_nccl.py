"""Training on a GPU: one worker on NCCL, both phases of EM, killed and gone on with."""

import math

import pytest

from tests.system.runs import MINIATURE, STEPS, TrainingRun, read_jsonl, set_options

pytestmark = pytest.mark.gpu


@pytest.mark.timeout(900)
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_gpu_worker_trains_is_killed_and_goes_on(tmp_path, python, python_environment, precision):
    folder = tmp_path / "run"
    settings = set_options([*MINIATURE, f"compute.precision={precision}"])
    run = TrainingRun(python, folder, *settings, "--gpu", "--out", str(folder), environment=python_environment)
    run.reach(STEPS - 14)
    run.kill_worker(0)
    run.reach(STEPS - 8)
    run.kill_driver()
    again = TrainingRun(python, folder, "--resume", str(folder), "--gpu", environment=python_environment)
    assert again.wait() == 0, again.read_log()
    history = read_jsonl(folder / "history.jsonl")
    assert [line["step"] for line in history] == list(range(STEPS))
    assert {"em_seg", "em_face"} <= {line["phase"] for line in history}
    assert all(math.isfinite(value) for line in history for value in line["loss"].values())
    assert (folder / "model" / "manifest.json").is_file()
