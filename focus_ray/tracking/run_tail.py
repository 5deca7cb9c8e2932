"""Follows a growing run folder: new lines of history and evaluations, changed files."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from focus_ray.storage.manifest import file_digest
from focus_ray.tracking.mlflow_keys import NumericLeaves, numeric_leaves

Line = dict[str, Any]


@dataclass
class Window:
    """Consecutive steps of one phase as one point of a curve: means over the steps that have the figure."""

    phase: str | None
    end_step: int = 0  # steps taken at its end
    time_ms: int = 0
    nonfinite: int = 0  # losses that were not finite
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """One more step."""
        self.end_step = line["step"] + 1
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
        """The figures by key."""
        return {key: value / self.counts[key] for key, value in self.sums.items()}


class HistoryReader:
    """history.jsonl in windows of up to `log_every` steps that end at multiples of it and at the end of a phase.

    The file may be replaced by a shorter one meanwhile: it is then read from its beginning again.
    """

    def __init__(self, path: Path, log_every: int, times: dict[int, int] | None = None) -> None:
        """`times`: steps taken to ms since the epoch, for the windows that were read before. Their times stay: what is
        sent a second time is then the same in every bit, and MLflow keeps it once.
        """
        self.path = path
        self.log_every = max(log_every, 1)
        self.times = {} if times is None else times
        self._file: BinaryIO | None = None
        self._offset = 0  # where the first line begins that was in no window yet

    def windows(self, sent: int, *, flush: bool) -> Iterator[Window]:
        """The windows beyond the first `sent` steps; with `flush`, also one that may still grow.

        A step's time is what its line says. Lines of older runs do not say it: there it is told from the file's last
        change and the seconds of the steps after it.
        """
        file = self._open_current()
        if file is None:
            return
        status = os.fstat(file.fileno())
        end, seconds = self._measure(file)
        clock = status.st_mtime - seconds
        window: Window | None = None
        for line, begin, after in _read_steps(file, self._offset, end):
            if window is not None and window.phase != line.get("phase"):
                yield from self._end_window(window, begin, sent)
                window = None
            window = window or Window(line.get("phase"))
            window.add(line)
            told = _number(line, "time")
            clock = clock + _number(line, "seconds") if told <= 0 else told
            window.time_ms = max(int(clock * 1000), 0)
            if window.end_step % self.log_every == 0 or window.end_step == sent:
                yield from self._end_window(window, after, sent)
                window = None
        if window is not None and flush:
            yield from self._end_window(window, end, sent)

    def _end_window(self, window: Window, offset: int, sent: int) -> Iterator[Window]:
        self._offset = offset
        window.time_ms = self.times.setdefault(window.end_step, window.time_ms)
        if window.end_step > sent:
            yield window

    def _open_current(self) -> BinaryIO | None:
        """The file that has the name now. The one before stays open until then: its number cannot be another's."""
        try:
            now = os.stat(self.path)
            if self._file is not None:
                held = os.fstat(self._file.fileno())
                if (held.st_dev, held.st_ino) == (now.st_dev, now.st_ino) and now.st_size >= self._offset:
                    return self._file
                self.close()
            self._file = self.path.open("rb")
        except FileNotFoundError:
            return None
        self._offset = 0
        return self._file

    def _measure(self, file: BinaryIO) -> tuple[int, float]:
        """Where the last whole line ends that is a step, and the seconds of all steps up to there."""
        end, seconds = self._offset, 0.0
        for line, _, after in _read_steps(file, self._offset, None):
            end, seconds = after, seconds + _number(line, "seconds")
        return end, seconds

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True)
class EvaluationEntry:
    """One line of evaluations.jsonl."""

    step: int
    leaves: NumericLeaves


def read_new_evaluations(path: Path, sent: int) -> list[EvaluationEntry]:
    """The evaluations after step `sent`, up to the first torn line."""
    if not path.is_file():
        return []
    found = []
    with path.open("rb") as file:
        for line, _, _ in _read_steps(file, 0, None):
            if line["step"] > sent:
                kept = {key: value for key, value in line.items() if key not in ("step", "after")}
                found.append(EvaluationEntry(line["step"], numeric_leaves(kept, "eval/")))
    return found


TRACKED_FILES = (
    *("config.json", "metrics.json", "report.html"),
    *("misfit.glb", "results.json", "problems.txt", "tables.md", "tables.tex", "tables.json"),
)
"""Files in a run folder that belong to it in MLflow, of whatever kind it is."""


class RunFiles:
    """The files of a run that belong to it in MLflow, each with a digest that is taken anew when the file changed."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._digests: dict[Path, tuple[tuple[int, int], str]] = {}

    def iter_changed(self, sent: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Path in the run folder and digest of each file that MLflow does not have as it is now."""
        for path in self._list_files():
            name = path.relative_to(self.run_dir).as_posix()
            try:
                digest = self._digest(path)
            except OSError:  # gone between two looks
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
    """A JSON object, or None where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read_steps(file: BinaryIO, begin: int, end: int | None) -> Iterator[tuple[Line, int, int]]:
    """Each whole line that is a step, with the offsets of its beginning and end; stops at the first that is none."""
    file.seek(begin)
    while end is None or begin < end:
        content = file.readline()
        if not content.endswith(b"\n"):
            return
        try:
            line = json.loads(content)
        except (ValueError, RecursionError):
            return
        if not isinstance(line, dict) or type(line.get("step")) is not int:
            return
        after = begin + len(content)
        yield line, begin, after
        begin = after


def _number(line: Line, key: str) -> float:
    """A finite number of the line; 0 where it has none."""
    value = line.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) else 0.0
