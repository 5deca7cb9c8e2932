"""A fresh database of MLflow for each test: a copy of the empty one."""

import shutil
from pathlib import Path

import pytest

from tests.tracking.tracked_run import Database


@pytest.fixture
def database(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that runs in tmp_path/runs go to by default."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "runs" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(empty_database, path)
    return Database(path)
