"""Runs and checks one training job on a small cluster of this machine: S3 server, MLflow and Ray head on loopback.

python infra/demo_cluster.py [--out runs/demo-cluster] [--workers 2] [other options of `focus-ray train`]

The job is submitted as to any cluster. Only the head's environment has credentials and addresses. Afterwards the run in
MLflow and in the store is checked, its model is loaded in a new process, and its folder is downloaded to --out.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from loopback_cluster import Cluster, find_marked

from focus_ray.errors import FocusRayError
from focus_ray.tracking.database_file import sqlite_uri

ROOT = Path(__file__).resolve().parent.parent
BUCKET = "focus-ray"
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".ckpt")
PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
PREDICT_SCRIPT = """
import json, sys
import mlflow, skimage.data
picture = skimage.data.astronaut()  # NASA, public domain
(faces,) = mlflow.pyfunc.load_model(sys.argv[1]).predict(picture)
print(json.dumps([sorted(face) for face in faces]))
"""


class DemoError(FocusRayError):
    """A check of the demonstration failed."""


def expect(condition: object, message: str) -> None:
    """Check a condition.

    Args:
        condition: true or false.
        message: text of the error.

    Raises:
        DemoError: the condition is false.
    """
    if not condition:
        raise DemoError(message)


def echo(message: str) -> None:
    sys.stdout.write(f"demo-cluster: {message}\n")
    sys.stdout.flush()


def check_store(uri: str, out: Path) -> dict[str, Any]:
    """Download the run folder and the model.

    Args:
        uri: the run's prefix in the store.
        out: folder to write.

    Returns:
        Number of objects in the store, and the steps of its checkpoints.

    Raises:
        DemoError: the store has no checkpoint or no report.
    """
    from focus_ray.storage import artifact_store
    from focus_ray.storage.checkpoint import Checkpoints
    from focus_ray.storage.open_store import open_store
    from focus_ray.training.run_folder_sync import restore_run_dir

    store = open_store(uri)
    restore_run_dir(uri, out)
    artifact_store.fetch(store, "model", out / "model", "model")
    checkpoints = Checkpoints(store.at("checkpoints"))
    latest = checkpoints.latest()
    expect(latest is not None, f"{uri} has no checkpoint")
    expect((out / "report.html").is_file(), f"{uri} has no report")
    return {"objects": len(store.list()), "checkpoints": checkpoints.steps()}


def check_mlflow(run_id: str, scratch: Path) -> dict[str, Any]:
    """Find the run in MLflow by its tag, and check its figures, contact sheets and registered model.

    Args:
        run_id: `run_id` of run.json.
        scratch: folder for the downloaded model.

    Returns:
        Counts of metrics, parameters and contact sheets; URI and files of the model.

    Raises:
        DemoError: something is missing, or the model's files include a pickle.
    """
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    client = MlflowClient()
    experiment = client.get_experiment_by_name("focus")
    expect(experiment is not None, "MLflow has no experiment focus")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`focus.run_id` = '{run_id}'")
    expect(len(runs) == 1, f"MLflow has {len(runs)} runs with the tag focus.run_id={run_id}")
    run = runs[0]
    expect(run.info.status == "FINISHED", f"the run's status in MLflow is {run.info.status}")
    metrics = run.data.metrics
    expect(any(key.startswith("heldout/") for key in metrics), "MLflow has no held-out figures")
    pictures = [entry.path for entry in client.list_artifacts(run.info.run_id, "sheets")]
    expect(pictures, "MLflow has no contact sheets")
    versions = client.search_model_versions(f"name = 'focus' and run_id = '{run.info.run_id}'")
    expect(len(versions) == 1, f"MLflow has {len(versions)} registered models of the run")
    uri = f"models:/focus/{versions[0].version}"
    folder = Path(download_artifacts(uri, dst_path=str(scratch / "registered")))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    pickles = [path.name for path in files if path.suffix in PICKLES or path.read_bytes().startswith(PICKLE_STARTS)]
    expect(not pickles, f"the model has pickle files: {pickles}")
    return {
        "run": run.info.run_id,
        "metrics": len(metrics),
        "parameters": len(run.data.params),
        "pictures": len(pictures),
        "model": uri,
        "model_files": [path.relative_to(folder).as_posix() for path in files],
    }


def predict(uri: str, environment: dict[str, str], scratch: Path) -> dict[str, Any]:
    """Load the registered model in a new process and reconstruct a photograph.

    Args:
        uri: the model in MLflow.
        environment: environment of the process.
        scratch: working folder of the process.

    Returns:
        Number of faces, fields of the first face, and the process's seconds.

    Raises:
        DemoError: the process failed or found no face.
    """
    began = time.monotonic()
    command = [sys.executable, "-W", "ignore", "-c", PREDICT_SCRIPT, uri]
    result = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    expect(result.returncode == 0, f"the registered model does not predict: {result.stderr[-500:]}")
    faces = json.loads(result.stdout.splitlines()[-1])
    expect(faces, "the registered model finds no face in the photograph")
    return {"faces": len(faces), "fields": faces[0], "seconds": round(time.monotonic() - began, 1)}


def check_no_secrets(cluster: Cluster, job: str, out: Path) -> None:
    """Check that neither the token nor the secret key is in the job's logs or in files of the run, MLflow or Ray.

    Args:
        cluster: the running cluster.
        job: id of the finished job.
        out: downloaded run folder.

    Raises:
        DemoError: a secret was found.
    """
    responses = {
        f"/api/jobs/{job}{what}": cluster.get(f"{cluster.dashboard}/api/jobs/{job}{what}") for what in ("", "/logs")
    }
    files = [
        path
        for folder in (out, cluster.mlflow_folder, cluster.ray_folder)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    for secret in (cluster.token, cluster.aws_secret):
        found = [name for name, content in responses.items() if secret.encode() in content]
        found += [str(path) for path in files if secret.encode() in path.read_bytes()]
        expect(not found, f"a secret is in {', '.join(found)}")


def run_demo(out: Path, workers: int, arguments: list[str]) -> dict[str, Any]:
    """Start the servers, train, check the results, and stop the servers.

    Args:
        out: folder for the run and MLflow's files.
        workers: workers of the training.
        arguments: further options of `focus-ray train`.

    Returns:
        Content of cluster.json.

    Raises:
        DemoError: a check failed.
        ClusterError: a server did not start, or the job failed.
    """
    uri = f"s3://{BUCKET}/runs"
    train = ["--workers", str(workers), "--storage", uri, "--out", f"runs/{out.name}", *arguments]
    # In the system's temporary folder: the paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="focus-ray-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        echo("starting an S3 server, an MLflow server and a Ray head on 127.0.0.1")
        with cluster.run(workers):
            environment = cluster.base_environment() | cluster.storage_environment()
            os.environ.clear()
            os.environ.update(environment)
            create_bucket()
            echo(f"ray job submit --working-dir . -- python jobs/train.py {' '.join(train)}")
            began = time.monotonic()
            job = cluster.submit("jobs/train.py", train)
            found: dict[str, Any] = {"job": job, "job_seconds": round(time.monotonic() - began, 1), "workers": workers}
            echo("checking the run in the store and in MLflow, and loading its model in a new process")
            found["store"] = check_store(f"{uri}/{out.name}", out)
            run_id = json.loads((out / "run.json").read_text())["run_id"]
            found["mlflow"] = check_mlflow(run_id, cluster.scratch)
            found["prediction"] = predict(found["mlflow"]["model"], environment, cluster.scratch)
            check_no_secrets(cluster, job, out)
        found["processes_left"] = len(find_marked(cluster.mark))
        shutil.move(cluster.mlflow_folder, out / "mlflow")
    return found


def create_bucket() -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket=BUCKET)


def main() -> int:
    """Run the demonstration; return the exit code, 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-cluster"))
    parser.add_argument("--workers", type=int, default=2)
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out: Path = options.out.absolute()
    try:
        expect(not out.exists() or not any(out.iterdir()), f"{out} is not empty; choose another OUT")
        found = run_demo(out, options.workers, arguments)
    except FocusRayError as failure:
        sys.stderr.write(f"error: {failure}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    (out / "cluster.json").write_text(json.dumps(found, indent=2) + "\n")
    echo(f"job {found['job']}: succeeded in {found['job_seconds']} s with {found['workers']} workers")
    echo(f"store: checkpoints of steps {found['store']['checkpoints']}, {found['store']['objects']} objects")
    echo(
        f"MLflow: run {found['mlflow']['run']}, {found['mlflow']['metrics']} metrics, "
        f"{found['mlflow']['pictures']} pictures"
    )
    echo(f"model: {found['mlflow']['model']}, {found['prediction']['faces']} face in the photograph, no pickle files")
    database, files = sqlite_uri(out / "mlflow" / "mlflow.db"), str(out / "mlflow" / "artifacts")
    command = ["mlflow", "server", "--backend-store-uri", database, "--artifacts-destination", files]
    echo(f"to view the run in MLflow: {shlex.join(command)}")
    echo(f"report: {out / 'report.html'}")
    echo(f"model:  {out / 'model'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
