"""Progress display: live bars with rate and remaining time on a terminal, periodic lines elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import IO, Protocol, cast, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from focus_ray.runtime.callbacks import NoOpCallback, ResumeHistory
from focus_ray.runtime.step_record import StepRecord

SECONDS_BETWEEN_LINES = 15.0
# The rate is that of the last half minute: phases differ in speed.
RATE_WINDOW_SECONDS = 30.0
# The first steps compile kernels and fill caches: no time left is told from them.
STEPS_BEFORE_ESTIMATE = 5


@runtime_checkable
class Stream(Protocol):
    """What is written to: stderr, a file, a buffer."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


def progress(stream: Stream | None = None) -> "TerminalProgress | LineProgress":
    """Bars on a terminal, a line now and then elsewhere; to stderr unless told otherwise. Use it in a `with` block."""
    target: Stream = sys.stderr if stream is None else stream
    return TerminalProgress(target) if target.isatty() else LineProgress(target)


class TerminalProgress(NoOpCallback):
    """Live bars: one for the run, one for whatever else is under way."""

    def __init__(self, stream: Stream) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=Console(file=cast(IO[str], stream)),
            speed_estimate_period=RATE_WINDOW_SECONDS,
            expand=True,
        )
        self._run: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        """Training starts, or starts again, at step `done` of `total`."""
        if self._run is not None:
            self._bars.remove_task(self._run)
        self._run = self._bars.add_task("training", total=total, completed=done, figures="")

    def on_step_end(self, record: StepRecord) -> None:
        """A step was taken."""
        if self._run is not None:
            phase = str(record.position.phase).replace("_", " ")
            self._bars.update(self._run, advance=1, description=phase, figures=format_metrics(record))

    def on_progress(self, name: str, done: int, total: int) -> None:
        """Work beside the steps got to `done` of `total`."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, figures="")
        self._bars.update(self._tasks[name], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(name))

    def on_message(self, message: str) -> None:
        """Something worth a line."""
        self._bars.console.print(message, highlight=False, markup=False)


class LineProgress(NoOpCallback):
    """The same in lines, for logs: one when something begins or ends, one every `every` seconds between."""

    def __init__(
        self,
        stream: Stream,
        every: float = SECONDS_BETWEEN_LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._every = every
        self._clock = clock
        self._last = clock()
        self._done = self._total = self._first_step = 0
        self._window: deque[tuple[float, int]] = deque()  # when how many steps were done, as far back as the rate looks
        self._phase = ""
        self._tasks: dict[str, tuple[float, int]] = {}  # when each was first told of, and how far it was then
        self._finished_tasks: set[str] = set()  # those told to have ended: who goes on saying so is not repeated

    def __enter__(self) -> "LineProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        """Training starts, or starts again, at step `done` of `total`."""
        self._total, self._done, self._first_step = total, done, done
        self.on_message(f"training: step {done} of {total}")

    def on_step_end(self, record: StepRecord) -> None:
        """A step was taken."""
        self._done += 1
        left = self._seconds_left()
        phase = str(record.position.phase)
        if phase != self._phase or self._done == self._total or self._is_due():
            self._phase = phase
            told = "" if left is None else f", about {format_duration(left)} left"
            self.on_message(f"{phase}: step {self._done} of {self._total}, {format_metrics(record)}{told}")

    def on_progress(self, name: str, done: int, total: int) -> None:
        """Work beside the steps got to `done` of `total`."""
        if done < total:
            self._finished_tasks.discard(name)
        elif name in self._finished_tasks:
            return
        if name not in self._tasks or done >= total or self._is_due():
            since, first = self._tasks.setdefault(name, (self._clock(), done))
            seconds = self._clock() - since
            told = ""
            if done > first and seconds > 0:
                rate = (done - first) / seconds
                left = f", about {format_duration((total - done) / rate)} left" if done < total else ""
                told = f", {rate:.3g}/s{left}"
            self.on_message(f"{name}: {done} of {total}{told}")
        if done >= total:
            self._tasks.pop(name, None)
            self._finished_tasks.add(name)

    def on_message(self, message: str) -> None:
        """Something worth a line."""
        self._last = self._clock()
        self._stream.write(message + "\n")
        self._stream.flush()

    def _is_due(self) -> bool:
        return self._clock() - self._last >= self._every

    def _seconds_left(self) -> float | None:
        """At the rate of the last steps; None while too few were taken to tell."""
        now = self._clock()
        if self._done - self._first_step < STEPS_BEFORE_ESTIMATE:
            self._window = deque([(now, self._done)])
            return None
        self._window.append((now, self._done))
        while len(self._window) > 2 and now - self._window[1][0] > RATE_WINDOW_SECONDS:
            self._window.popleft()
        then, done = self._window[0]
        return (now - then) / max(self._done - done, 1) * (self._total - self._done)


def format_metrics(record: StepRecord) -> str:
    """The loss, the mean mask and the rate of a step, in one short text."""
    metrics = record.metrics
    texts = [f"loss {metrics.losses['total']:.4g}"] if "total" in metrics.losses else ["resting"]
    if metrics.mask_mean is not None:
        texts.append(f"mask {metrics.mask_mean:.2f}")
    if metrics.skipped:
        texts.append("skipped")
    return ", ".join([*texts, f"{record.images_per_s:.0f} faces/s"])


def format_duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
