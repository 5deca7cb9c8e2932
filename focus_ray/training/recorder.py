"""The run folder as a watcher: what a run tells is written down, line by line and picture by picture."""

from typing import Any

from focus_ray.runtime.callbacks import NoOpCallback, ResumeHistory
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.step_record import StepRecord
from focus_ray.storage import atomic


class Recorder(NoOpCallback):
    """Keeps history.jsonl, evaluations.jsonl, log.jsonl and sheets/ of a run folder."""

    def __init__(self, folder: RunFolder):
        self.folder = folder

    def begin(self, total: int, done: int, past: ResumeHistory) -> None:
        """Steps from `done` on will be taken again: what is known of them goes, what is missing before them comes."""
        known = {line["step"]: line for line in [*past.recent, *self.folder.history()] if line["step"] < done}
        self.folder.history_file.rewrite([known[step] for step in sorted(known)])
        self.folder.evaluations_file.rewrite(past.evaluations)

    def step(self, record: StepRecord) -> None:
        self.folder.history_file.append(record.line())

    def evaluated(self, entry: dict[str, Any]) -> None:
        self.folder.evaluations_file.append(entry)

    def picture(self, name: str, png: bytes) -> None:
        atomic.write_file(self.folder.sheets / name, png)

    def log(self, entry: dict[str, Any]) -> None:
        self.folder.log_file.append(entry)
