"""Servers that the tests of whole processes share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.faulty_proxy import FaultyProxy
from tests.system.servers import new_bucket, use_s3


@pytest.fixture
def proxy(s3_url: str) -> Iterator[FaultyProxy]:
    """A proxy in front of the S3 service, without faults so far."""
    with FaultyProxy(s3_url) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3_url: str, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://bucket, new and empty; this process, and those that it starts, reach it through the proxy."""
    use_s3(monkeypatch, proxy.url)
    return f"s3://{new_bucket(s3_url)}"


@pytest.fixture
def bucket_environment(bucket: str) -> dict[str, str]:
    """What a process needs in its environment to reach the bucket through the proxy."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@pytest.fixture(scope="module")
def python_environment_of_module(project_root: Path) -> dict[str, str]:
    """The environment of processes that run this checkout, one thread each; no cluster and no MLflow server named."""
    path = os.pathsep.join([str(project_root), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")}
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> None:
    """MLflow's database lies beside the folders of a test's runs."""
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
