"""What commit 74f2ed2 wrote is read and gone on with: configurations, a run, a sweep; names of HTTP and metrics stay.

74f2ed2.tar.xz holds a run on the ellipsoid face that was stopped in EM and its newest checkpoint (the encoder's large
weights are zeros, so that the file is small), and a sweep whose driver died after its last trial. 74f2ed2.json holds
the fields of each HTTP message and the metrics with their labels. The model folder of that commit is the one in the
package.
"""

import inspect
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from focus_ray import model as models
from focus_ray import presets
from focus_ray.config import RunConfig
from focus_ray.model import ModelSettings
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.serving import metrics, schema
from focus_ray.storage.json_lines import read_json_lines
from focus_ray.training import assemble
from focus_ray.training.in_process import train
from focus_ray.tuning.search import SearchConfig
from tests.conftest import quick_runs
from tests.ellipsoid_face import ellipsoid_face

HERE = Path(__file__).parent
NAMES = json.loads((HERE / "74f2ed2.json").read_text())


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The folder in which run and sweep lie."""
    with tarfile.open(HERE / "74f2ed2.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def keys_of(tree: Any) -> Any:
    """The nested keys of a tree, without its values."""
    return {key: keys_of(value) for key, value in tree.items()} if isinstance(tree, dict) else None


def assert_keys_stay(earlier: dict[str, Any], now: dict[str, Any], path: str = "") -> None:
    """Each key of the earlier tree has its place in the present one."""
    for key, below in earlier.items():
        assert key in now, f"{path}{key}"
        if isinstance(below, dict) and isinstance(now[key], dict):
            assert_keys_stay(below, now[key], f"{path}{key}.")


def test_the_keys_of_a_run_stay(earlier):
    written = json.loads((earlier / "run" / "config.json").read_text())
    config = RunConfig.model_validate(written)
    assert_keys_stay(keys_of(written), keys_of(config.model_dump(mode="json")))
    assert presets.load("embedded", None, ["em.segmentation.eta_bin=2.0"]).em.segmentation.eta_bin == 2.0


def test_a_run_is_gone_on_with(earlier, monkeypatch):
    monkeypatch.setattr(assemble, "world_face", lambda config: ellipsoid_face())
    with quick_runs():
        metrics = train(None, earlier / "run")
    assert [line["step"] for line in read_json_lines(earlier / "run" / "history.jsonl")] == list(range(14))
    assert metrics["steps"] == 14
    assert models.load(earlier / "run" / "model").version == metrics["model_version"]


def test_the_keys_of_a_search_stay(earlier):
    written = json.loads((earlier / "sweep" / "config.json").read_text())
    search = SearchConfig.model_validate(written)
    assert_keys_stay(keys_of(written), keys_of(search.model_dump(mode="json")))


def test_the_keys_of_a_model_stay():
    written = json.loads((SHIPPED_MODELS["embedded"] / "model.json").read_text())
    assert_keys_stay(
        keys_of(written["settings"]), keys_of(ModelSettings.model_validate(written["settings"]).model_dump())
    )
    later = {"photo", "lineage"}
    assert set(written) - later == {"format", "version", "settings", "refine", "face"}
    assert models.load(SHIPPED_MODELS["embedded"]).version == written["version"]


@pytest.mark.drill
@pytest.mark.timeout(600)
def test_a_sweep_is_gone_on_with(earlier, empty_database, python, python_environment):
    """In a process of its own: Ray Data fails in the second session of one process, and other drills begin theirs."""
    shutil.copyfile(empty_database, earlier / "mlflow.db")
    command = [python, "-m", "focus_ray", "tune", "--resume", str(earlier / "sweep")]
    resumed = subprocess.run(command, env=python_environment, capture_output=True, text=True, timeout=500, check=False)
    assert resumed.returncode == 0, resumed.stderr
    results = json.loads((earlier / "sweep" / "results.json").read_text())
    assert sorted(one["id"] for one in results["trials"]) == ["98df6_00000", "98df6_00001"]
    assert {one["status"] for one in results["trials"]} == {"done"}
    outcomes = {path.stem: json.loads(path.read_text()) for path in (earlier / "sweep" / "outcomes").glob("*.json")}
    assert {one["id"]: one["objective"] for one in results["trials"]} == {
        name: outcome["objective"] for name, outcome in outcomes.items()
    }


@pytest.mark.parametrize("fields", NAMES["http"], ids=lambda fields: "-".join(fields[:3]))
def test_the_fields_of_http_stay(fields):
    messages = [each for _, each in inspect.getmembers(schema, inspect.isclass) if issubclass(each, BaseModel)]
    assert any(set(fields) <= set(each.model_fields) for each in messages)


@pytest.mark.parametrize("name", NAMES["metrics"])
def test_metrics_and_their_labels_stay(name):
    assert sorted(metrics.METRICS[name].labels) == NAMES["metrics"][name]
