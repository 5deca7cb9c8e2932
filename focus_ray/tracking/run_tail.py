"""Reads what is new in a growing run folder: lines of the history, evaluations, changed files."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from focus_ray.storage.manifest import file_digest
from focus_ray.tracking.history import read_history
from focus_ray.tracking.mlflow_keys import NumericLeaves, numeric_leaves

Line = dict[str, Any]

_BLOCK_BYTES = 1 << 16  # of history.jsonl, read first from its end


@dataclass
class Window:
    """Consecutive steps of one phase as one point of a curve.

    Each figure is the mean over the steps that have it.
    """

    phase: str | None
    end_step: int = 0  # number of steps taken at its end
    time_ms: int = 0  # Unix time of its end
    nonfinite: int = 0  # number of figures that were not finite
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Add one more step."""
        self.end_step, self.time_ms = line["step"] + 1, max(int(line["time"] * 1000), 0)
        loss = line.get("loss")
        self.nonfinite += sum(value is None for value in loss.values()) if isinstance(loss, dict) else 0
        kept = {key: value for key, value in line.items() if key not in ("step", "phase", "time")}
        kept["skipped"] = int(bool(line.get("skipped")))
        found, nonfinite = numeric_leaves(kept, "train/")
        self.nonfinite += nonfinite
        for key, value in found.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
            self.counts[key] = self.counts.get(key, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the mean of each figure by key."""
        return {key: value / self.counts[key] for key, value in self.sums.items()}


def iter_windows(lines: Iterable[Line], log_every: int, *, flush: bool) -> Iterator[Window]:
    """Group steps into windows that end at multiples of `log_every` and at the end of a phase.

    Args:
        lines: consecutive lines of the history, see `read_steps`.
        log_every: largest number of steps of a window.
        flush: whether to yield the last window although it may still grow.
    """
    window: Window | None = None
    for line in lines:
        if window is not None and window.phase != line.get("phase"):
            yield window
            window = None
        window = window or Window(line.get("phase"))
        window.add(line)
        if window.end_step % log_every == 0:
            yield window
            window = None
    if window is not None and flush:
        yield window


def read_steps(path: Path, first: int) -> list[Line]:
    """Read the lines of history.jsonl from step `first` on, without reading the whole file.

    Lines that an older version wrote have no time. Theirs is the time of the next line that has one, or else of the
    file's last change, minus the seconds of the steps in between.

    Returns:
        The lines up to the first that is torn or not a step, each with its end as "time", Unix seconds; none if there
        is no file.
    """
    try:
        with path.open("rb") as file:
            size, block = file.seek(0, 2), _BLOCK_BYTES
            while True:
                start = max(size - block, 0)
                file.seek(start)
                content = file.read(size - start)
                if start:
                    content = content.partition(b"\n")[2]
                lines = _parse_steps(content)
                if not start or (lines and lines[0]["step"] <= first):
                    break
                block *= 4
        clock = path.stat().st_mtime
    except FileNotFoundError:
        return []
    lines = [line for line in lines if line["step"] >= first]
    for line in reversed(lines):
        clock = line["time"] = _number(line, "time") or clock
        clock -= _number(line, "seconds")
    return lines


def _parse_steps(content: bytes) -> list[Line]:
    """Parse whole lines up to the first that is not a step."""
    lines = []
    for text in content.split(b"\n")[:-1]:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict) or type(line.get("step")) is not int:
            break
        lines.append(line)
    return lines


def _number(line: Line, key: str) -> float:
    """Return a positive finite number of a line; 0 if it has none."""
    value = line.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) and value > 0 else 0.0


@dataclass(frozen=True)
class EvaluationEntry:
    """One line of evaluations.jsonl."""

    step: int
    leaves: NumericLeaves


def read_new_evaluations(path: Path, sent: int) -> list[EvaluationEntry]:
    """Return the evaluations after step `sent`, up to the first torn line."""
    found = []
    for line in read_history(path):
        if line["step"] > sent:
            kept = {key: value for key, value in line.items() if key not in ("step", "after")}
            found.append(EvaluationEntry(line["step"], numeric_leaves(kept, "eval/")))
    return found


TRACKED_FILES = (
    *("config.json", "metrics.json", "report.html"),
    *("misfit.glb", "results.json", "problems.txt", "tables.md", "tables.tex", "tables.json"),
)
"""Files of a run folder of any kind that are sent to MLflow."""


class RunFiles:
    """The files of a run that are sent to MLflow, each with a digest that is computed again when the file changes."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._digests: dict[Path, tuple[tuple[int, int], str]] = {}

    def iter_changed(self, sent: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Yield the files whose present content was not sent.

        Args:
            sent: path in the run folder to digest of the content that was sent.

        Yields:
            (path in the run folder, digest).
        """
        for path in self._list_files():
            name = path.relative_to(self.run_dir).as_posix()
            try:
                digest = self._digest(path)
            except OSError:  # deleted meanwhile
                continue
            if sent.get(name) != digest:
                yield name, digest

    def _list_files(self) -> list[Path]:
        named = [self.run_dir / name for name in TRACKED_FILES]
        folders = [*sorted((self.run_dir / "sheets").glob("*.png")), *sorted((self.run_dir / "prior").glob("*.*"))]
        return [path for path in (*named, *folders) if path.is_file()]

    def _digest(self, path: Path) -> str:
        status = path.stat()
        mark = (status.st_mtime_ns, status.st_size)
        if path not in self._digests or self._digests[path][0] != mark:
            self._digests[path] = mark, file_digest(path)
        return self._digests[path][1]


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if the file is missing or holds anything else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
