"""Callback that writes the run folder: a line for each event, a file for each image."""

from typing import Any

from focus_ray.runtime.callbacks import Callback, ResumeHistory
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.step_record import StepRecord
from focus_ray.storage import atomic


class Recorder(Callback):
    """Writes history.jsonl, evaluations.jsonl, log.jsonl and sheets/ of a run folder."""

    def __init__(self, folder: RunFolder):
        self.folder = folder

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        """Remove the lines of steps from `done` on, which are taken again, and add missing lines of earlier steps."""
        known = {line["step"]: line for line in [*history.recent, *self.folder.history()] if line["step"] < done}
        self.folder.history_file.rewrite([known[step] for step in sorted(known)])
        self.folder.evaluations_file.rewrite(history.evaluations)

    def on_step_end(self, record: StepRecord) -> None:
        self.folder.history_file.append(record.line())

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        self.folder.evaluations_file.append(entry)

    def on_image(self, name: str, png: bytes) -> None:
        atomic.write_file(self.folder.sheets_folder / name, png)

    def on_log(self, entry: dict[str, Any]) -> None:
        self.folder.log_file.append(entry)
