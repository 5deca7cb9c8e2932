"""A job of a whole cluster on this machine, in miniature: what comes out, and that nothing stays behind."""

import contextlib
import json
import os
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MINIATURE = """
batch_size: 8
warmup: {batch_size: 8}
schedule: {warmup_steps: 10, init_steps: 10, pretrain_seg_steps: 10, cycles: 2, seg_steps: 10, face_steps: 10}
data: {size: 64}
heldout: {size: 16, batch_size: 8, refine: false}
cadence: {log: 2, checkpoint: 10, evaluate: 30, sheet: 30}
"""


@pytest.fixture
def environment(python_environment) -> dict[str, str]:
    """With a mark of its own, by which everything that a test starts is found again."""
    return {**python_environment, "FOCUS_RAY_TEST": uuid.uuid4().hex}


def marked(environment: dict[str, str]) -> dict[int, str]:
    """The processes that carry the mark, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if environment["FOCUS_RAY_TEST"].encode() in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = command
        except OSError:
            continue
    return found


def end_all(environment: dict[str, str], process: subprocess.Popen[str]) -> None:
    """Nothing of a test that failed goes on beside the next one."""
    for pid in marked(environment):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_a_job_trains_on_two_workers_and_is_found_everywhere(tmp_path, python, environment, record_property):
    config, out = tmp_path / "miniature.yaml", tmp_path / "mini"
    config.write_text(MINIATURE)
    command = [python, "infra/demo_cluster.py", "--out", str(out), "--preset", "embedded", "--config", str(config)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert marked(environment) == {}
    found = json.loads((out / "cluster.json").read_text())
    assert found["processes_left"] == 0
    assert found["store"]["checkpoints"] == [50, 60, 70]  # the newest three; step 70 is the last
    assert found["mlflow"]["pictures"] >= 2
    assert "artifacts/model/encoder.safetensors" in found["mlflow"]["model_files"]
    assert found["prediction"]["faces"] == 1
    assert json.loads((out / "metrics.json").read_text())["steps"] == 70
    assert {"report.html", "model", "run.json", "mlflow"} <= {path.name for path in out.iterdir()}
    record_property("job_seconds", found["job_seconds"])
    record_property("prediction_seconds", found["prediction"]["seconds"])


@pytest.mark.drill
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_demonstration_leaves_no_process(tmp_path, python, environment, number):
    command = [python, "infra/demo_cluster.py", "--out", str(tmp_path / "mini")]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("demo-cluster: starting")
        assert process.stdout.readline().startswith("demo-cluster: ray job submit")
        assert any("gcs_server" in command for command in marked(environment).values())
        os.kill(process.pid, number)
        process.communicate(timeout=300)
        left = list(marked(environment).values())
    finally:
        end_all(environment, process)
    assert process.returncode == 130
    assert left == []
    assert not (tmp_path / "mini").exists()


def test_a_folder_that_holds_something_is_refused_at_once(tmp_path, python, environment):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "thesis.txt").write_text("mine")
    command = [python, "infra/demo_cluster.py", "--out", str(tmp_path / "mini")]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: {tmp_path / 'mini'} is not empty; choose another OUT\n"
