"""A training run: the loop with checkpoints, scores, contact sheets and the final model."""

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from focus_ray import __version__, model
from focus_ray.config import RunConfig
from focus_ray.errors import CheckpointError, FocusRayError, Interrupted, StorageError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.guard import Guard
from focus_ray.focus.networks.sync_batchnorm import convert_sync_batchnorm
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup
from focus_ray.focus.schedule import Phase
from focus_ray.focus.state import TrainState
from focus_ray.runtime.callbacks import Callback, ResumeHistory
from focus_ray.runtime.step_record import StepRecord
from focus_ray.storage.checkpoint import StoredCheckpoint
from focus_ray.tracking.history import look_up
from focus_ray.training import heldout_scoring
from focus_ray.training.assemble import build_focus, training_data, training_lineage
from focus_ray.training.batch_source import BatchSource, PrefetchSource
from focus_ray.training.loop import load_state_tree, state_tree, train_steps
from focus_ray.training.sheets import draw_sheet
from focus_ray.training.unlabelled import score_unlabelled

METRICS_SCHEMA = 1
# Steps of history before the last checkpoint that a checkpoint contains. Workers train, and write checkpoints, for a
# while after their driver was killed; the resumed run needs their history.
HISTORY_OVERLAP_STEPS = 1000

logger = logging.getLogger(__name__)


@dataclass
class RunTotals:
    """Totals of a run besides its parameters, stored in checkpoints."""

    seconds: dict[str, float] = field(default_factory=dict)  # by phase, and by work between the steps
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    pretrained: dict[str, Any] | None = None
    best: float | None = None  # figure of the best evaluation (cadence.best)
    recent: list[dict[str, Any]] = field(default_factory=list)  # history, at least since the last checkpoint

    def add_seconds(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def train_seconds(self) -> float:
        return sum(self.seconds.values())


@runtime_checkable
class CheckpointSink(Protocol):
    """Storage of a run's checkpoints and model. Every rank calls it; rank 0's result is used."""

    last_saved_step: int  # step of the newest state that is known to be stored; 0: none

    def save(self, step: int, tree: dict[str, Any], *, best: bool, last: bool) -> None:
        """Store the state of a step. The tree may change after the call.

        Args:
            step: number of steps taken.
            tree: state.
            best: whether it is the best checkpoint so far.
            last: whether to return only when the state is stored.
        """
        ...

    def latest(self) -> StoredCheckpoint | None:
        """Return the newest valid state, or None if there is none.

        Raises:
            CheckpointError: all stored states are damaged.
        """
        ...

    def save_model(self, bundle: model.Model) -> None:
        """Store the finished model."""
        ...


class Trainer:
    """A run on one rank: its networks and data, and the work between two steps."""

    def __init__(
        self,
        config: RunConfig,
        face: MorphableModel,
        checkpoint_sink: CheckpointSink,
        callback: Callback,
        *,
        replicas: ReplicaGroup = SINGLE_PROCESS,
        device: torch.device | str = "cpu",
        source: BatchSource | None = None,
        run_dir: str = "RUN",
        should_stop: Callable[[], bool] = lambda: False,
    ):
        """Assemble the run; nothing is written.

        Args:
            config: the run's configuration.
            face: face model that is fitted.
            checkpoint_sink: storage of checkpoints and model.
            callback: receives the events of the run.
            replicas: rank and number of the replicas.
            device: device of the networks.
            source: source of the batches; None: a thread of this process.
            run_dir: folder of the run, for relative start models and for messages on how to resume.
            should_stop: polled after each step; true on any rank: stop with a checkpoint.

        Raises:
            ConfigError: the configuration cannot be used.
            DataError: the photographs cannot be used.
            CheckpointError: a file of weights does not fit.
        """
        torch.manual_seed(config.seed)
        self.config = config
        self.checkpoint_sink = checkpoint_sink
        self.callback = callback
        self.replicas = replicas
        self.source = source
        self.run_dir = run_dir
        self.should_stop = should_stop
        focus = build_focus(config, face, Path(run_dir)).to(device)
        focus.renderer.set_backend(config.rasterizer)
        if replicas.world_size > 1 and config.compute.synchronise_batchnorm:
            convert_sync_batchnorm(focus.encoder)
            convert_sync_batchnorm(focus.segmenter)
        self.state = TrainState(focus, process_group=replicas, accumulation_steps=config.compute.accumulate)
        self.guard = Guard(config.guard)
        self.totals = RunTotals()
        self.data = training_data(config, replicas, Path(run_dir), face)
        self.lineage = training_lineage(config, self.data, Path(run_dir))

    @property
    def complete(self) -> bool:
        return self.state.step >= self.config.schedule.total_steps

    def run(self) -> dict[str, Any]:
        """Train the remaining steps of the schedule, then score and store the model.

        Returns:
            The content of metrics.json; empty on ranks other than 0.

        Raises:
            GuardStop: a guard ended the run.
            Interrupted: a stop was requested, and a checkpoint is written.
            StorageError: a stop was requested, and the last checkpoint was lost; or too many checkpoints were lost.
        """
        total = self.config.schedule.total_steps
        self.callback.on_train_begin(
            total, self.state.step, ResumeHistory(list(self.totals.recent), list(self.totals.evaluations))
        )
        if self.data.left_out is not None:
            self.callback.on_message(self.data.left_out)
        for line in [] if self.data.photos is None else self.data.photos.notes:
            self.callback.on_message(line)
        if self.state.step == 0 and self.data.photos is not None:
            self.score("start")
        first = self.replicas.shard(self.config.batch_size).start
        with self.source or PrefetchSource(self.data.batch_of, total, first) as source:
            for record in train_steps(self.state, self.config, source.targets, self.guard):
                self.after_step(record)
                if not self.complete and self.replicas.all_reduce_any(self.should_stop(), self.state.device):
                    self.checkpoint(last=True)
                    raise self.stop_error()
        return self.finish()

    def stop_error(self) -> FocusRayError:
        """Return the error of a run after a stop request: Interrupted; StorageError if the last checkpoint was lost."""
        step, saved = self.state.step, self.checkpoint_sink.last_saved_step
        if saved < step:
            newest = f"the newest is that of step {saved}" if saved else "there is no other"
            return StorageError(
                f"stopped after step {step - 1}, its checkpoint could not be stored, {newest}; fix the store, then "
                f"resume {self.run_dir} to continue"
            )
        return Interrupted(f"stopped after step {step - 1}, a checkpoint is written; resume {self.run_dir} to continue")

    def after_step(self, record: StepRecord) -> None:
        """Score, draw a contact sheet and write a checkpoint, each if it is due after this step."""
        self.totals.recent.append(record.line())
        self.totals.add_seconds(record.position.phase, record.seconds - record.data_seconds)
        self.totals.add_seconds("waiting for data", record.data_seconds)
        self.callback.on_step_end(record)
        self.log_step(record)
        ends = self.is_block_end()
        best = False
        if ends or self.state.step % self.config.cadence.evaluate == 0:
            best = self.replicas.all_reduce_any(self.score(str(record.position.phase)), self.state.device)
            if record.position.phase is Phase.PRETRAIN_SEG and self.replicas.is_main:  # the phase's last one remains
                self.totals.pretrained = self.totals.evaluations[-1].get("heldout")
        if ends or self.state.step % self.config.cadence.sheet == 0:
            self.save_sheet()
        if best or self.state.step % self.config.cadence.checkpoint == 0 or self.complete:
            self.checkpoint(best=best, last=self.complete)

    def log_step(self, record: StepRecord) -> None:
        """Log the start of a phase, a skipped step and an intervention of the guard."""
        if record.position.in_block == 0:
            logger.info("phase %s begins, cycle %d", record.position.phase, record.position.cycle)
        if record.metrics.skipped:
            logger.warning("the step is skipped: its loss or its gradient is not finite")
        if record.event is not None:
            event = record.event
            kind = event.kind.replace("_", " ")
            message = f"guard: masks at {event.mask_mean:.3f} ({kind}), step {event.step}: {event.action}"
            logger.warning(message)
            self.callback.on_message(message)

    def is_block_end(self) -> bool:
        """Return whether the last step was the last one of its phase or, in EM, of its cycle."""
        if self.complete:
            return True
        position, following = (self.config.schedule.at(step) for step in (self.state.step - 1, self.state.step))
        begins_cycle = following.cycle != position.cycle
        return begins_cycle or (
            following.phase is not position.phase and position.phase not in (Phase.EM_SEG, Phase.EM_FACE)
        )

    @contextmanager
    def measure_time(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to the totals under `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.totals.add_seconds(name, time.perf_counter() - started)

    def score(self, after: str) -> bool:
        """Score the held-out faces or photographs, and record the figures.

        If no photograph is held out, training photographs are scored, and `photos.heldout` is false. Rank 0 scores;
        the other ranks return at once and wait in the next collective operation.

        Args:
            after: phase before the evaluation, or "start".

        Returns:
            Whether the figures are the best so far; False on ranks other than 0.
        """
        if not self.replicas.is_main:
            return False
        with self.measure_time("scoring"):
            entry: dict[str, Any] = {"step": self.state.step, "after": after}
            heldout = self.config.heldout
            if self.data.heldout is not None and heldout.size:
                scores = self._score_heldout(("focus",))
                entry["heldout"] = scores["focus"]
            if self.data.photos is not None:
                photos = self.data.photos
                scores = heldout_scoring.score_photos(self.state.focus, photos.scored, len(photos.scored))
                entry["photos"] = scores | {"heldout": len(photos.heldout) > 0}
            if heldout.unlabelled and (self.data.photos is not None or heldout.size):
                entry["unlabelled"] = self._score_unlabelled()
            self.totals.evaluations.append(entry)
            self.callback.on_evaluate(entry)
        return self._is_best(entry)

    def _is_best(self, entry: dict[str, Any]) -> bool:
        """Return whether this is the best evaluation so far. Best checkpoints are chosen only during EM."""
        figure = look_up(entry, self.config.cadence.best)
        if figure is None or self.state.step <= self.config.schedule.em_start:
            return False
        sign = 1 if self.config.cadence.best_is == "highest" else -1
        if self.totals.best is not None and sign * figure <= sign * self.totals.best:
            return False
        self.totals.best = figure
        return True

    def _score_heldout(self, variants: tuple[str, ...]) -> dict[str, Any]:
        assert self.data.heldout is not None
        heldout = self.config.heldout
        return heldout_scoring.score_faces(
            heldout_scoring.Scorer(self.state.focus, self.config.refine),
            self.data.heldout,
            heldout.size,
            heldout.batch_size,
            self.data.unseen_families,
            variants,
            lambda done, total: self.callback.on_progress("scoring", done, total),
        )

    def _score_unlabelled(self) -> dict[str, float | None]:
        photos = self.data.photos
        if photos is not None:
            return score_unlabelled(self.state.focus, photos.scored, len(photos.scored))
        faces, count = self.data.heldout, self.config.heldout.size
        assert faces is not None
        return score_unlabelled(self.state.focus, faces, count)

    def save_sheet(self) -> None:
        """Draw a contact sheet with the current networks, on rank 0."""
        if not self.replicas.is_main:
            return
        with self.measure_time("pictures"):
            faces = self.data.heldout if self.data.photos is None else self.data.photos.shown
            assert faces is not None
            png = io.BytesIO()
            draw_sheet(self.state.focus, faces, self.config).save(png, "PNG")
            self.callback.on_image(f"step-{self.state.step:08d}.png", png.getvalue())

    def checkpoint(self, *, best: bool = False, last: bool = False) -> None:
        """Store everything that a resumed run needs.

        Args:
            best: whether it is the best checkpoint so far.
            last: whether to wait until it is stored.
        """
        with self.measure_time("checkpoints"):
            oldest = self.checkpoint_sink.last_saved_step - HISTORY_OVERLAP_STEPS
            self.totals.recent = [line for line in self.totals.recent if line["step"] >= oldest]
            tree = state_tree(self.state, self.guard)
            tree["tally"] = asdict(self.totals)
            tree["lineage"] = {
                "version": __version__,
                "torch": torch.__version__,
                "config": self.config.digest,
                "face": self.state.focus.face_model.digest,
                "data": self.data.digest,
            }
            tree["settings"] = self.config.model_dump(mode="json")
            self.checkpoint_sink.save(self.state.step, tree, best=best, last=last)

    def restore(self) -> None:
        """Load the newest valid checkpoint, if there is one.

        Raises:
            CheckpointError: it belongs to another configuration, face model or data, or to an incompatible version.
        """
        stored = self.checkpoint_sink.latest()
        if stored is None:
            return
        try:
            self._restore_from(stored)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise CheckpointError(
                f"{stored.folder} does not fit this version of the program ({reason}); resume it with the version "
                f"that wrote it ({writer_version(stored.state)}), or start a new run"
            ) from None
        logger.info("going on from the checkpoint of step %d", self.state.step)

    def _restore_from(self, stored: StoredCheckpoint) -> None:
        """Load a stored state. An error other than CheckpointError means that the state has another layout."""
        tree = stored.state
        for part, ours, what in (
            ("face", self.state.focus.face_model.digest, "another face model"),
            ("config", self.config.digest, "another configuration"),
            ("data", self.data.digest, "other photographs or landmarks"),
        ):
            if tree["lineage"][part] != ours:
                raise CheckpointError(
                    f"{stored.folder} was written for {what}; restore the run folder's own files, or start a new run"
                )
        if type(tree["step"]) is not int or not 0 <= tree["step"] <= self.config.schedule.total_steps:
            raise ValueError(f"step {tree['step']} is outside the schedule")
        load_state_tree(self.state, self.guard, self.config, tree)
        self.totals = RunTotals(**tree["tally"])

    def finish(self) -> dict[str, Any]:
        """Store the model and score all variants, on rank 0.

        Returns:
            The content of metrics.json; empty on ranks other than 0.
        """
        if not self.replicas.is_main:
            return {}
        bundle = self.export_model()
        self.checkpoint_sink.save_model(bundle)
        heldout: dict[str, Any] = {}
        with self.measure_time("scoring"):
            if self.data.heldout is not None and self.config.heldout.size:
                self.callback.on_message("scoring the held-out faces: one pass, refined, and the baselines")
                refined = heldout_scoring.REFINED if self.config.heldout.refine else ()
                heldout = self._score_heldout((*heldout_scoring.ONE_PASS, *refined))
                if self.totals.pretrained is not None:
                    heldout["pretrained"] = self.totals.pretrained
        return self.metrics(bundle.version, heldout)

    def export_model(self) -> model.Model:
        """Return the networks as a model. Its version is the preset and a digest of its weights."""
        focus = self.state.focus
        version = f"{self.config.preset}-{model.weights_digest(focus)[:12]}"
        return model.Model(focus, self.config.model, self.config.refine, version, lineage=self.lineage)

    def metrics(self, version: str | None, heldout: dict[str, Any]) -> dict[str, Any]:
        """Return the content of metrics.json.

        Args:
            version: version of the model; None if a guard ended the run.
            heldout: figures by variant and subset; empty if a guard ended the run.
        """
        return {
            "schema": METRICS_SCHEMA,
            "preset": self.config.preset,
            "seed": self.config.seed,
            "steps": self.state.step,
            "model_version": version,
            "train_seconds": round(self.totals.train_seconds, 3),
            "seconds": {what: round(seconds, 3) for what, seconds in self.totals.seconds.items()},
            "nonfinite_steps": self.guard.nonfinite_total,
            "guard_events": [asdict(event) for event in self.guard.events],
            "left_out": self.data.left_out,
            "mask_coverage": heldout.get("focus", {}).get("all", {}).get("mask_coverage"),
            "heldout": heldout,
            "evaluations": self.totals.evaluations,
        }


def writer_version(tree: dict[str, Any]) -> str:
    """Return the version of the program that wrote a checkpoint, for messages."""
    lineage = tree.get("lineage")
    version = lineage.get("version") if isinstance(lineage, dict) else None
    return version if isinstance(version, str) else "unknown"
