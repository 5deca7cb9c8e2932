"""The model that a run registered with a real MLflow server is what an endpoint loads, through the server."""

import shutil
from pathlib import Path

import pytest

from focus_ray.serving.model_source import fetch_model, load_reconstructor, resolve, resolve_prior
from focus_ray.tracking.mlflow_tracker import TrackingSettings, track
from tests.system.mlflow_server import MlflowServer
from tests.tracking.tracked_run import write_run


def test_a_registered_model_is_served(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch):
    """Fetched while the server is there, it starts again without it."""
    home, cache = tmp_path / "server", tmp_path / "cache"
    home.mkdir()
    shutil.copyfile(empty_database, home / "server.db")
    run = write_run(tmp_path / "runs" / "one", 20)
    with MlflowServer(home) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert track(run, TrackingSettings(), promote=True).model == "1"
        source = resolve("models:/focus@production")
        assert (source.uri, source.registered) == ("models:/focus/1", "focus/1")
        folder = fetch_model(source, cache)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in (run / "model").iterdir())
    served = load_reconstructor(source, resolve_prior("none"), cache)
    assert served.model.version.startswith("embedded-")
    assert served.prior is None
