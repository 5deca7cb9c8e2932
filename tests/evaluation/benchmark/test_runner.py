"""A benchmark from nothing, in miniature."""

import json
from pathlib import Path

import pytest

from focus_ray.errors import ConfigError, Interrupted
from focus_ray.evaluation.benchmark import runner
from focus_ray.evaluation.benchmark.benchmark_config import BenchmarkConfig, DataSizes
from focus_ray.evaluation.rows import read_rows
from tests.conftest import quick_runs

CONFIG = BenchmarkConfig(
    seeds=(3,),
    methods=("Deep3D-style", "FOCUS", "FOCUS-MP"),
    steps=0.0006,
    refine_steps=2,
    prior_faces=50,
    prior_judges=50,
    skin_pictures=20,
    data=DataSizes(now=16, ar=12, celebahq=12),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    with quick_runs():
        runner.run_benchmark(CONFIG, folder, None)
    return folder


def test_all_tables_come_out(place):
    assert {path.name for path in place.iterdir()} >= {
        "config.json",
        "results.json",
        "metrics.json",
        "tables.md",
        "tables.tex",
        "tables.json",
        "report.html",
        "sheets",
    }
    assert (place / "problems.txt").read_text() == ""
    tables = {one["name"]: one for one in json.loads((place / "tables.json").read_text())}
    assert list(tables) == ["table-1", "table-2", "table-3", "table-4", "table-5", "seeds"]
    for name, one in tables.items():
        ours = [line for line in one["lines"] if line["source"].startswith("ours")]
        assert ours, name
        assert "synthetic" in one["caption"]
    spread = [line for line in tables["seeds"]["lines"] if line["method"] == "FOCUS"]
    assert [line["source"] for line in spread] == ["ours, one pass, 1 seed", "ours, refined, 1 seed"]
    assert "–" not in spread[0]["cells"]


def test_rows_of_every_method_seed_and_kind(place):
    rows = read_rows(place)
    assert not any(row.partial for row in rows)
    assert {row.table for row in rows} == {"segmentation", "photometric", "now", "exact"}
    methods = {row.method for row in rows if "all-ones" not in row.method}
    assert methods == {
        "Deep3D-style",
        "Deep3D-style, refined",
        "FOCUS",
        "FOCUS, refined",
        "FOCUS-MP",
    }  # no prior for it
    assert {row.seed for row in rows} == {3}
    keys = [row.key for row in rows]
    assert len(set(keys)) == len(keys)
    assert any(row.metric == "spearman" and row.value is not None for row in rows)


def test_pictures_of_every_kind(place):
    drawn = {path.name for path in (place / "sheets").iterdir()}
    assert {"cumulative.png", "vertex-errors.png", "figure-3-celebahq-occluded.png", "figure-5-ar-scarf.png"} <= drawn


def test_the_same_command_goes_on_and_says_the_same(place, monkeypatch):
    before, printed = read_rows(place), (place / "tables.md").read_text()
    for path in sorted((place / "predictions").rglob("faces/*.json"))[:30]:
        path.unlink()  # as if the evaluation had been killed
    (place / "results.json").unlink()
    monkeypatch.setattr("focus_ray.training.in_process.train", lambda *_, **__: pytest.fail("trained again"))
    runner.run_benchmark(CONFIG, place, None)
    assert read_rows(place) == before
    assert (place / "tables.md").read_text() == printed
    with pytest.raises(ConfigError, match="another benchmark \\(refine_steps differ\\)"):
        runner.run_benchmark(CONFIG.model_copy(update={"refine_steps": 3}), place, None)


def test_somebody_may_ask_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "graceful_shutdown", lambda: _Asked())
    with pytest.raises(Interrupted, match="run the same command to resume"):
        runner.run_benchmark(CONFIG, tmp_path / "out", None)


class _Asked:
    """From the first question on."""

    def __enter__(self):
        return lambda: True

    def __exit__(self, *_):
        return None
