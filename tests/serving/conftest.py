"""A fresh database of MLflow for each test that asks: a copy of the empty one."""

import shutil
from pathlib import Path

import pytest

from tests.tracking.tracked_run import Database


@pytest.fixture
def mlflow(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that MLFLOW_TRACKING_URI names."""
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(empty_database, path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return Database(path)
