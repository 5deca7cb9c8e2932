"""A whole run on one machine: the loop, and around it checkpoints, scores, pictures, the model and the report."""

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from focus_ray import __version__, model
from focus_ray.config import RunConfig
from focus_ray.errors import CheckpointError, GuardStop, Interrupted
from focus_ray.focus.face.morphable_model import MorphableModel
from focus_ray.focus.guard import Guard
from focus_ray.focus.schedule import Phase
from focus_ray.focus.state import TrainState
from focus_ray.storage.checkpoint import Stored
from focus_ray.tracking.report import write_report
from focus_ray.training import scoring
from focus_ray.training.assemble import TrainingData, fitted_face, photo_data, start_focus, synthetic_data, world_face
from focus_ray.training.loop import StepRecord, load_state_tree, state_tree, steps
from focus_ray.training.progress import Progress, Silent
from focus_ray.training.run_folder import RunFolder
from focus_ray.training.sheets import write_sheet
from focus_ray.training.source import Lookahead

METRICS_SCHEMA = 1


@dataclass
class Tally:
    """What a run adds up besides its parameters. Travels in checkpoints."""

    seconds: dict[str, float] = field(default_factory=dict)  # by phase, and by what lies beside the steps
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    pretrained: dict[str, Any] | None = None

    def spend(self, what: str, seconds: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    @property
    def train_seconds(self) -> float:
        return sum(self.seconds.values())


def train(
    config: RunConfig | None,
    out: Path,
    *,
    resume: bool = False,
    data: Path | None = None,
    landmarks: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train into the folder `out`, or with `resume` go on with the run that is there; returns metrics.json.

    `data` and `landmarks`: a folder of photographs and their 68-landmark CSV, in place of synthetic faces.
    Raises Interrupted after Ctrl-C or SIGTERM, wherever the run can be gone on with: between two steps a checkpoint is
    written first. Raises GuardStop where a guard ended the run.
    """
    folder = RunFolder(Path(out))
    if resume:
        config, face = folder.open()
        folder = RunFolder(Path(out), keep=config.cadence.keep)
    elif config is None:
        raise ValueError("a new run needs a configuration")
    else:
        folder = RunFolder(Path(out), keep=config.cadence.keep)
        if data is not None:
            config = config.model_copy(
                update={"photos": data.absolute(), "landmarks": landmarks and landmarks.absolute()}
            )
        face = fitted_face(config)
    run = Run(config, folder, face, progress or Silent())  # before the folder: what cannot begin leaves nothing behind
    try:
        if resume:
            folder.lock()
            run.restore()
        else:
            folder.create(config, face)
        return run.finish() if run.complete else run.to_the_end()
    except GuardStop:
        run.write_metrics({})
        raise
    except KeyboardInterrupt:  # at the start, in the final scoring, or a second one
        if not folder.config.is_file():
            raise
        raise Interrupted(f"stopped; go on with --resume {folder.path}") from None
    finally:
        folder.close()


class Run:
    """One run: its parts, and what happens between two steps."""

    def __init__(self, config: RunConfig, folder: RunFolder, face: MorphableModel, progress: Progress):
        torch.manual_seed(config.seed)
        self.config = config
        self.folder = folder
        self.progress = progress
        self.state = TrainState(start_focus(config, face))
        self.guard = Guard(config.guard)
        self.tally = Tally()
        self.data = self._data()

    def _data(self) -> TrainingData:
        if self.config.photos is not None:
            return photo_data(self.config, self.config.photos, self.config.landmarks)
        return synthetic_data(self.config, world_face(self.config))

    @property
    def complete(self) -> bool:
        return self.state.step >= self.config.schedule.total_steps

    def to_the_end(self) -> dict[str, Any]:
        """Train what is left of the schedule, then score, save the model and report."""
        self.progress.begin(self.config.schedule.total_steps, self.state.step)
        if self.data.left_out is not None:
            self.progress.note(self.data.left_out)
        if self.state.step == 0 and self.data.photos is not None:
            self.score("start")
        with Lookahead(self.data.batch_of, self.config.schedule.total_steps) as source, interruptible() as interrupted:
            for record in steps(self.state, self.config, source.targets, self.guard):
                self.keep(record)
                if interrupted():
                    self.checkpoint()
                    write_report(self.folder.path)
                    raise Interrupted(
                        f"stopped after step {record.step}, a checkpoint is written; "
                        f"go on with --resume {self.folder.path}"
                    )
        return self.finish()

    def keep(self, record: StepRecord) -> None:
        """Whatever the schedule and the cadence ask for after this step."""
        self.folder.append_history(record.line())
        self.tally.spend(record.position.phase, record.seconds - record.data_seconds)
        self.tally.spend("waiting for data", record.data_seconds)
        self.progress.step(record)
        if record.event is not None:
            event = record.event
            kind = event.kind.replace("_", " ")
            self.progress.note(f"guard: masks at {event.mask_mean:.3f} ({kind}), step {event.step}: {event.action}")
        if self.block_ends() or self.state.step % self.config.cadence.evaluate == 0:
            self.score(str(record.position.phase))
            if record.position.phase is Phase.PRETRAIN_SEG:  # overwritten until the phase ends
                self.tally.pretrained = self.tally.evaluations[-1].get("heldout")
        if self.state.step % self.config.cadence.sheet == 0 or self.block_ends():
            self.sheet()
        if self.state.step % self.config.cadence.checkpoint == 0 or self.complete:
            self.checkpoint()

    def block_ends(self) -> bool:
        """Whether the step just taken was the last of its phase or, in EM, of its cycle."""
        if self.complete:
            return True
        position, following = (self.config.schedule.at(step) for step in (self.state.step - 1, self.state.step))
        begins_cycle = following.cycle != position.cycle
        return begins_cycle or (
            following.phase is not position.phase and position.phase not in (Phase.EM_SEG, Phase.EM_FACE)
        )

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time of a block to the tally."""
        started = time.perf_counter()
        yield
        self.tally.spend(what, time.perf_counter() - started)

    def score(self, after: str) -> None:
        """One pass over the held-out faces, or over the photographs themselves, kept with the run."""
        with self.timed("scoring"):
            entry: dict[str, Any] = {"step": self.state.step, "after": after}
            heldout = self.config.heldout
            if self.data.heldout is not None and heldout.size:
                scores = self._score_heldout(("focus",))
                entry["heldout"] = scores["focus"]
            if self.data.photos is not None:
                entry["photos"] = scoring.score_photos(self.state.focus, self.data.photos, len(self.data.photos))
            self.tally.evaluations.append(entry)

    def _score_heldout(self, variants: tuple[str, ...]) -> dict[str, Any]:
        assert self.data.heldout is not None
        heldout = self.config.heldout
        return scoring.score_faces(
            scoring.Scorer(self.state.focus, self.config.refine),
            self.data.heldout,
            heldout.size,
            heldout.batch_size,
            self.data.unseen_families,
            variants,
            lambda done, total: self.progress.task("scoring", done, total),
        )

    def sheet(self) -> None:
        """A contact sheet of the model as it is."""
        with self.timed("pictures"):
            faces = self.data.heldout or self.data.photos
            assert faces is not None
            write_sheet(self.folder.sheets / f"step-{self.state.step:08d}.png", self.state.focus, faces, self.config)

    def checkpoint(self) -> None:
        """Write everything that a resumed run needs."""
        with self.timed("checkpoints"):
            tree = state_tree(self.state, self.guard)
            tree["tally"] = asdict(self.tally)
            tree["lineage"] = {
                "version": __version__,
                "torch": torch.__version__,
                "config": self.config.digest,
                "face": self.state.focus.face_model.digest,
                "data": self.data.digest,
            }
            tree["settings"] = self.config.model_dump(mode="json")
            self.folder.checkpoints.save(self.state.step, tree)

    def restore(self) -> None:
        """Go back to the newest valid checkpoint. Raises CheckpointError where it belongs to another run or face."""
        stored = self.folder.checkpoints.latest()
        if stored is None:
            self.folder.trim_history(0)
            return
        try:
            self._restore_from(stored)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise CheckpointError(
                f"{stored.folder} does not fit this version of the program ({reason}); resume it with the version "
                f"that wrote it, {written_by(stored.state)}, or start a new run"
            ) from None
        self.folder.trim_history(self.state.step)

    def _restore_from(self, stored: Stored) -> None:
        """Take over a stored state. What it raises besides CheckpointError says that it has another layout."""
        tree = stored.state
        for part, ours, what in (
            ("face", self.state.focus.face_model.digest, "another face model"),
            ("config", self.config.digest, "another configuration"),
            ("data", self.data.digest, "other photographs or landmarks"),
        ):
            if tree["lineage"][part] != ours:
                raise CheckpointError(
                    f"{stored.folder} was written for {what}; put the run folder's own files back, or start a new run"
                )
        if type(tree["step"]) is not int or not 0 <= tree["step"] <= self.config.schedule.total_steps:
            raise ValueError(f"step {tree['step']} is outside the schedule")
        load_state_tree(self.state, self.guard, self.config, tree)
        self.tally = Tally(**tree["tally"])

    def finish(self) -> dict[str, Any]:
        """Save the model, score it in every way, write metrics.json and the report."""
        bundle = self.model()
        model.save(self.folder.model, bundle)
        heldout: dict[str, Any] = {}
        with self.timed("scoring"):
            if self.data.heldout is not None and self.config.heldout.size:
                self.progress.note("scoring the held-out faces: one pass, refined, and what they are compared with")
                refined = scoring.REFINED if self.config.heldout.refine else ()
                heldout = self._score_heldout((*scoring.ONE_PASS, *refined))
                if self.tally.pretrained is not None:
                    heldout["pretrained"] = self.tally.pretrained
        return self.write_metrics(heldout, bundle.version)

    def write_metrics(self, heldout: dict[str, Any], version: str | None = None) -> dict[str, Any]:
        """metrics.json and the report; without figures and version where the run did not end well."""
        metrics = self.metrics(version, heldout)
        self.folder.write_json("metrics.json", metrics)
        write_report(self.folder.path)
        return metrics

    def model(self) -> model.Model:
        """The networks as a model that others can use, its version a digest of its weights."""
        focus = self.state.focus
        digest = hashlib.sha256()
        for network in (focus.encoder, focus.segmenter):
            for tensor in network.state_dict().values():
                digest.update(tensor.cpu().numpy().tobytes())
        version = f"{self.config.preset}-{digest.hexdigest()[:12]}"
        return model.Model(focus, self.config.model, self.config.refine, version)

    def metrics(self, version: str | None, heldout: dict[str, Any]) -> dict[str, Any]:
        """What metrics.json holds."""
        return {
            "schema": METRICS_SCHEMA,
            "preset": self.config.preset,
            "seed": self.config.seed,
            "steps": self.state.step,
            "model_version": version,
            "train_seconds": round(self.tally.train_seconds, 3),
            "seconds": {what: round(seconds, 3) for what, seconds in self.tally.seconds.items()},
            "nonfinite_steps": self.guard.nonfinite_total,
            "guard_events": [asdict(event) for event in self.guard.events],
            "left_out": self.data.left_out,
            "mask_coverage": heldout.get("focus", {}).get("all", {}).get("mask_coverage"),
            "heldout": heldout,
            "evaluations": self.tally.evaluations,
        }


def written_by(tree: dict[str, Any]) -> str:
    """The version of the program that wrote a checkpoint, as far as the checkpoint says."""
    lineage = tree.get("lineage")
    version = lineage.get("version") if isinstance(lineage, dict) else None
    return version if isinstance(version, str) else "of unknown number"


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask instead of ending the process, the second one ends it. Yields whether one came."""
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():  # somebody else answers signals then
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        for number in numbers:
            signal.signal(number, before[number])
