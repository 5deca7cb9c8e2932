"""Run folders to track, made without training, and what MLflow's database holds of them, read without MLflow."""

import json
import math
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from focus_ray.model_location import SHIPPED_MODELS

LOG = 10
RUN_ID = "0123456789abcdef" * 2
STARTED = 1_763_632_800.0  # Unix time of the run, s
CONFIG = {
    "preset": "embedded",
    "seed": 3,
    "face": {"resolution": "small", "world_modes": [120, 80, 120]},
    "em": {"segmentation": {"eta_area": 0.5}, "weights": {}},
    "start_from": None,
    "note": "x" * 600,
    "long": "y" * 7000,
    "cadence": {"log": LOG, "keep": 3},
}


def phase_of(step: int) -> str:
    """A warm-up, an initialisation, then blocks of 25 and 35 steps."""
    if step < 400:
        return "warmup" if step < 205 else "init"
    return "em_seg" if (step - 400) % 60 < 25 else "em_face"


def line(step: int) -> dict[str, Any]:
    """A line of history.jsonl as older versions wrote it, without a time; some losses are null."""
    lost = step % 97 == 5
    loss = {"total": None if lost else 1 / (1 + step), f"{phase_of(step)}_term": 0.25 + step % 7}
    seen = None if phase_of(step) == "warmup" else 0.8
    times = {"seconds": 0.125, "data_seconds": 0.01, "images_per_s": 320.0}
    return {"step": step, "phase": phase_of(step), "loss": loss, "mask_mean": seen, "skipped": lost, **times}


def add_steps(run: Path, steps: Iterable[int], *, timed: bool = True) -> None:
    """More lines of history.jsonl; without their times, as older versions wrote them."""
    with (run / "history.jsonl").open("a") as file:
        for step in steps:
            time = {"time": STARTED + 0.125 * (step + 1)} if timed else {}
            file.write(json.dumps(line(step) | time) + "\n")


def add_evaluation(run: Path, step: int) -> None:
    """One more line of evaluations.jsonl."""
    scores = {"all": {"f1": step / 10_000, "vertex_mm": None, "rmse_255": math.nan}}
    with (run / "evaluations.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "after": phase_of(step - 1), "heldout": scores}) + "\n")


def add_sheet(run: Path, step: int, content: bytes = b"a picture") -> None:
    """A contact sheet."""
    (run / "sheets" / f"step-{step:08d}.png").write_bytes(content)


def begin_run(run: Path, *, run_id: str = RUN_ID, experiment: str = "faces") -> Path:
    """The folder of a run that has taken no step."""
    (run / "sheets").mkdir(parents=True)
    about = {"schema": 1, "run_id": run_id, "name": run.name, "storage": None, "experiment": experiment}
    (run / "run.json").write_text(json.dumps({**about, "created": "2026-11-20T10:00:00+00:00"}))
    (run / "config.json").write_text(json.dumps(CONFIG))
    (run / "history.jsonl").touch()
    return run


def end_run(run: Path, steps: int, version: str | None = "embedded-0123456789ab") -> None:
    """metrics.json, the report and the model; without a version, a guard ended the run."""
    scores = {"focus": {"occluded": {"f1": 0.9, "outlier_precision": None, "n": 220}}}
    metrics = {"schema": 1, "preset": "embedded", "seed": 3, "steps": steps, "model_version": version}
    metrics |= {"seconds": {"waiting for data": 1.5}, "guard_events": [], "heldout": scores}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "report.html").write_text("<p>report</p>")
    if version is not None:
        shutil.copytree(SHIPPED_MODELS["embedded"], run / "model")


def write_run(run: Path, steps: int = 2003, *, timed: bool = True, **names: str) -> Path:
    """A complete run."""
    begin_run(run, **names)
    add_steps(run, range(steps), timed=timed)
    for step in [*range(500, steps, 500), steps]:
        add_evaluation(run, step)
        add_sheet(run, step)
    end_run(run, steps)
    return run


def expected_curve(key: str, steps: int) -> dict[int, float]:
    """A figure of the history as MLflow is to have it: means of up to LOG steps of one phase, by steps taken."""
    curve: dict[int, float] = {}
    window: list[float | None] = []
    for step in range(steps):
        record = line(step)
        window.append(record["loss"].get(key.removeprefix("loss/"), record.get(key)))
        ends = (step + 1) % LOG == 0 or step + 1 == steps or phase_of(step) != phase_of(step + 1)
        if ends:
            kept = [value for value in window if value is not None]
            if kept:
                curve[step + 1] = sum(kept) / len(kept)
            window = []
    return curve


class Database:
    """MLflow's database of the runs in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def runs(self) -> list[tuple[str, str, str]]:
        """Id, name and status of the runs that are not deleted."""
        return self.rows("select run_uuid, name, status from runs where lifecycle_stage = 'active'")

    def curves(self, run: str) -> dict[str, list[tuple[int, float]]]:
        """(step, value) of each metric, in order; what was sent twice stands there twice."""
        found: dict[str, list[tuple[int, float]]] = {}
        for key, step, value in self.rows("select key, step, value from metrics where run_uuid = ? order by step", run):
            found.setdefault(key, []).append((step, value))
        return found

    def tags(self, run: str) -> dict[str, str]:
        return dict(self.rows("select key, value from tags where run_uuid = ?", run))  # pyright: ignore

    def parameters(self, run: str) -> dict[str, str]:
        return dict(self.rows("select key, value from params where run_uuid = ?", run))  # pyright: ignore
