"""Progress display: live bars with rate and remaining time on a terminal, periodic lines elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn

from focus_ray.runtime.callbacks import Callback, ResumeHistory

if TYPE_CHECKING:  # it imports torch
    from focus_ray.runtime.step_record import StepRecord

SECONDS_BETWEEN_LINES = 15.0
# The rate is measured over the last half minute, as phases differ in speed.
RATE_WINDOW_SECONDS = 30.0


class TerminalProgress(Callback):
    """Progress of a command, as a context manager: bars on a terminal, lines in a log."""

    def __init__(
        self,
        stream: IO[str] | None = None,
        every: float = SECONDS_BETWEEN_LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Choose bars or lines by the stream.

        Args:
            stream: output; None: stderr.
            every: interval between lines if the stream is not a terminal, s.
            clock: monotonic time, s.
        """
        target = sys.stderr if stream is None else stream
        self._live = target.isatty()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=Console(file=target),
            speed_estimate_period=RATE_WINDOW_SECONDS,
            get_time=clock,
            disable=not self._live,
            expand=True,
        )
        self._every = every
        self._clock = clock
        self._printed_at = clock()
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
        if self._run is not None:
            self._bars.remove_task(self._run)
        self._run = self._bars.add_task("training", total=total, completed=done, figures="")
        if not self._live:
            self.on_message(f"training: step {done} of {total}")

    def on_step_end(self, record: "StepRecord") -> None:
        if self._run is None:
            return
        task, phase = self._task(self._run), str(record.position.phase)
        begins = task.description != phase
        self._bars.update(self._run, advance=1, description=phase, figures=format_metrics(record))
        self._print_line(task, f", {format_metrics(record)}", unit="step ", at_once=begins)

    def on_progress(self, name: str, done: int, total: int) -> None:
        begins = name not in self._tasks or (done < total and self._task(self._tasks[name]).finished)
        if begins:
            self._tasks[name] = self._bars.add_task(name, total=total, completed=done, figures="")
        task = self._task(self._tasks[name])
        if task.finished and not begins:
            return
        self._bars.update(task.id, completed=done, total=total, visible=done < total)
        rate = f", {task.speed:.3g}/s" if task.speed else ""
        self._print_line(task, rate, at_once=begins)

    def on_message(self, message: str) -> None:
        self._printed_at = self._clock()
        self._bars.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def _task(self, task_id: TaskID) -> Task:
        return next(task for task in self._bars.tasks if task.id == task_id)

    def _print_line(self, task: Task, figures: str, *, unit: str = "", at_once: bool) -> None:
        """Print the progress of a task if there are no bars: at its start and end, and every `every` seconds."""
        is_due = at_once or task.finished or self._clock() - self._printed_at >= self._every
        if not self._live and is_due:
            left = task.time_remaining
            remaining = f", about {format_duration(left)} left" if left and not task.finished else ""
            self.on_message(f"{task.description}: {unit}{task.completed:.0f} of {task.total:.0f}{figures}{remaining}")


def format_metrics(record: "StepRecord") -> str:
    """Format the loss, the mean mask and the rate (faces/s) of a step as a short text."""
    metrics = record.metrics
    texts = [f"loss {metrics.losses['total']:.4g}"] if "total" in metrics.losses else ["no update"]
    if metrics.mask_mean is not None:
        texts.append(f"mask {metrics.mask_mean:.2f}")
    if metrics.skipped:
        texts.append("skipped")
    return ", ".join([*texts, f"{record.images_per_s:.0f} faces/s"])


def format_duration(seconds: float) -> str:
    """Format a duration as seconds, minutes, or hours and minutes."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
