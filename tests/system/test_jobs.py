"""Jobs of a whole cluster on this machine, in miniature: what comes out, and that nothing stays behind."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.data.dataset_writers import write_dataset
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.weight_files import MESH_FOLDER
from focus_ray.data.sources import open_labelled, open_now
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.errors import ClusterError
from focus_ray.evaluation.evaluate import evaluate
from focus_ray.evaluation.evaluation_config import build_evaluation_config
from focus_ray.evaluation.methods import Method
from focus_ray.evaluation.predict import predict
from focus_ray.evaluation.rows import read_rows
from focus_ray.priors.build import compute_prior
from focus_ray.priors.prior_config import PriorConfig
from focus_ray.storage import artifact_store
from focus_ray.storage.open_store import open_store
from focus_ray.tuning.results import SweepResults
from infra.loopback_cluster import Cluster
from infra.loopback_cluster import find_marked as marked_processes
from tests.detection.conftest import mesh_spec, write_picture
from tests.priors.conftest import stand_in

__all__ = ["mesh_spec"]

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


def marked_commands(environment: dict[str, str]) -> dict[int, str]:
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


def runs_in_mlflow() -> list[Any]:
    """What the server of the environment has in our experiment."""
    # Here: imported earlier than the package does it, MLflow says more to stderr for the rest of all tests.
    from mlflow import MlflowClient

    experiment = MlflowClient().get_experiment_by_name("focus")
    return MlflowClient().search_runs([experiment.experiment_id])


@contextlib.contextmanager
def run_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of two workers with its servers; this process, too, finds their stores."""
    # In the system's own folder: Ray's sockets allow only short paths.
    with tempfile.TemporaryDirectory(prefix="focus-ray-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        with cluster.run(workers=2):
            for name, value in cluster.storage_environment().items():
                monkeypatch.setenv(name, value)
            yield cluster


def kill_all(environment: dict[str, str], process: subprocess.Popen[str]) -> None:
    """Nothing of a test that failed goes on beside the next one."""
    for pid in marked_commands(environment):
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
    assert marked_commands(environment) == {}
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
        assert any("gcs_server" in command for command in marked_commands(environment).values())
        os.kill(process.pid, number)
        process.communicate(timeout=300)
        left = list(marked_commands(environment).values())
    finally:
        kill_all(environment, process)
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


@pytest.mark.drill
@pytest.mark.timeout(1200)
def test_a_prior_is_built_by_a_job_and_a_second_job_computes_nothing(small_face, tmp_path, monkeypatch):
    """R_syn, shards and prior in an S3 bucket, the build in MLflow, the bits those of one process on this machine."""
    models.save(tmp_path / "r_syn", stand_in(small_face))
    faces = {"n": 400, "heldout": 100, "shard_size": 50}
    compute_prior(PriorConfig(model=str(tmp_path / "r_syn"), **faces), tmp_path / "here", None)
    options = ["--n", "400", "--heldout", "100", "--shard-size", "50", "--storage", "s3://faces/priors"]
    with run_cluster(monkeypatch) as cluster:
        boto3.client("s3").create_bucket(Bucket="faces")
        store = open_store("s3://faces")
        artifact_store.upload(store, tmp_path / "r_syn", "r_syn")
        built = []
        for _ in range(2):
            command = ["--model", "s3://faces/r_syn", "--out", "runs/prior", *options]
            cluster.submit("jobs/misfit_prior.py", command)
            artifact_store.fetch(store, "priors/prior/prior", tmp_path / "prior", priors.PRIOR)
            built.append(priors.load(tmp_path / "prior"))
        runs = runs_in_mlflow()
    here = priors.load(tmp_path / "here" / "prior")
    for prior in built:
        assert all(torch.equal(prior.errors[reading], here.errors[reading]) for reading in here.errors)
        assert prior.info.figures == here.info.figures
    assert [(prior.info.shards_computed, prior.info.shards_kept) for prior in built] == [(10, 0), (0, 10)]
    assert [run.info.status for run in runs] == ["FINISHED"] * len(runs)
    assert runs
    assert marked_processes(cluster.mark) == []


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_an_evaluation_is_a_job_and_reads_its_data_from_a_bucket(small_face, world_face, tmp_path, monkeypatch):
    write_dataset("celebahq", tmp_path / "set", 40, size=32, world=world_face)
    pictures = open_labelled(tmp_path / "set")
    assert predict(Method("ours", stand_in(small_face)), pictures, tmp_path / "ours", None) == []
    asked = build_evaluation_config("segmentation", str(tmp_path / "set"), [str(tmp_path / "ours")], {})
    here = evaluate(asked, tmp_path / "here", None)
    out = tmp_path / "job"
    with run_cluster(monkeypatch) as cluster:
        boto3.client("s3").create_bucket(Bucket="sets")
        store = open_store("s3://sets/celebahq")
        for path in (tmp_path / "set").rglob("*"):
            if path.is_file():
                store.upload(path, path.relative_to(tmp_path / "set").as_posix())
        command = ["segmentation", "--data", "s3://sets/celebahq", "--predictions", str(tmp_path / "ours")]
        cluster.submit("jobs/evaluate.py", [*command, "--out", str(out)])
        (run,) = runs_in_mlflow()
    assert read_rows(out) == here.rows
    assert run.info.status == "FINISHED"
    assert any(name.endswith("occluded/f1") for name in run.data.metrics)
    assert marked_processes(cluster.mark) == []


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_workers_of_a_job_get_the_detectors_weights_from_its_driver(
    mesh_spec: DetectorSpec, small_face, world_face, tmp_path, monkeypatch
):
    """`ray job submit` leaves the weights out: a driver without them refuses `mesh`, and its workers need none."""
    write_dataset("now", tmp_path / "set", 16, size=32, world=world_face)
    (tmp_path / "set" / "dataset.json").unlink()  # which calls the pictures aligned
    for path in (tmp_path / "set" / "iphone_pictures").rglob("*.*"):
        write_picture(path)
    models.save(tmp_path / "model", stand_in(small_face))
    method = Method("ours", models.load(tmp_path / "model"))
    assert predict(method, NowPictures(open_now(tmp_path / "set")), tmp_path / "here", None, detector=mesh_spec) == []
    weights = shutil.copytree(MESH_FOLDER, tmp_path / "weights")
    command = ["predict", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "job"), "--name", "ours"]
    command += ["--model", str(tmp_path / "model"), "--tasks", "1", "--detector", "mesh"]
    with run_cluster(monkeypatch) as cluster:
        with pytest.raises(ClusterError):
            cluster.submit("jobs/evaluate.py", command)
        cluster.submit("jobs/evaluate.py", [*command, "--detector-weights", str(weights)])
    asked = json.loads((tmp_path / "job" / "method.json").read_text())
    assert asked["detector"] == mesh_spec.info.model_dump(mode="json")
    masks = sorted((tmp_path / "here" / "masks").rglob("*.png"))
    assert len(masks) == 16
    for path in masks:
        assert path.read_bytes() == (tmp_path / "job" / path.relative_to(tmp_path / "here")).read_bytes()


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_a_sweep_is_a_job(tmp_path, monkeypatch):
    out = tmp_path / "sweep"
    with run_cluster(monkeypatch) as cluster:
        cluster.submit("jobs/tune.py", ["tune_configs/smoke.yaml", "--out", str(out)])
        runs = runs_in_mlflow()
    results = SweepResults.model_validate_json((out / "results.json").read_bytes())
    assert [one.status for one in results.trials] == 4 * ["done"]
    (parent,) = [run for run in runs if run.data.tags.get("kind") == "sweep"]
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert [run.info.status for run in (parent, *nested)] == 5 * ["FINISHED"]
    assert marked_processes(cluster.mark) == []
