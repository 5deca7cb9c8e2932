"""A fresh database of MLflow for each test that asks: its migrations take seconds, so it is made once and copied."""

import shutil
from pathlib import Path

import pytest

from focus_ray.tracking.mlflow_client import Server
from tests.tracking.tracked_run import Database


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Server(f"sqlite:///{path}").find_run("none", "none")
    return path


@pytest.fixture
def mlflow(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that MLFLOW_TRACKING_URI names."""
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(empty_mlflow, path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return Database(path)
