"""Trains all models of a benchmark in parallel: an initialisation for each seed, then all models that start from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from focus_ray import presets
from focus_ray.baselines import apply_baseline
from focus_ray.config import Cadence, HeldoutSettings, RunConfig
from focus_ray.evaluation.benchmark.benchmark_config import BenchmarkConfig
from focus_ray.evaluation.benchmark.method_specs import EM_MODELS, FOCUS, MISFIT, PRETRAINED, required_models
from focus_ray.focus.schedule import Schedule
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.task_pool import run_tasks
from focus_ray.runtime.tasks import PoolSettings
from focus_ray.training import in_process

INITIALISATION = "initialisation"

_CHECKPOINT_STEPS = 250  # as in the embedded preset


@dataclass(frozen=True)
class TrainingRun:
    """Training run of one model."""

    name: str
    folder: Path
    config: RunConfig

    @property
    def done(self) -> bool:
        return (self.folder / "metrics.json").is_file() and RunFolder(self.folder).model_folder.is_dir()

    @property
    def steps_done(self) -> int:
        """Number of steps in the run's history, an incomplete last line included."""
        try:
            with (self.folder / "history.jsonl").open("rb") as lines:
                return min(sum(1 for _ in lines), self.config.schedule.total_steps)
        except OSError:
            return 0


@dataclass
class TrainingJob:
    """Pieces of training: one model each, in process, on one core."""

    trainings: Sequence[TrainingRun]

    def prepare(self, device: str) -> None:
        self.device = device

    def piece(self, number: int) -> str:
        """Train a model, or resume its unfinished run, and return the name of the run."""
        one = self.trainings[number]
        if not one.done:
            begun = RunFolder(one.folder).config_file.is_file()
            in_process.train(None if begun else one.config, one.folder, device=self.device)
        return one.name


def initialisation_run(config: BenchmarkConfig, seed: int, out: Path) -> TrainingRun:
    """Return the run that all models of a seed start from: the warm-up on renders of the face model."""
    base = presets.load(config.preset)
    schedule = Schedule(
        warmup_steps=base.schedule.warmup_steps, init_steps=0, pretrain_seg_steps=0, cycles=0, seg_steps=0, face_steps=0
    )
    return _training_run(INITIALISATION, base, schedule, config, seed, out, None)


def model_run(name: str, config: BenchmarkConfig, seed: int, out: Path) -> TrainingRun:
    """Return the run of a model: from its seed's initialisation, or from Pretrained if only its EM differs."""
    preset = presets.load(config.preset)
    base = model_config(preset, name)
    done = {"warmup_steps": 0} | ({"init_steps": 0, "pretrain_seg_steps": 0} if name in EM_MODELS else {})
    begin = model_run(PRETRAINED, config, seed, out) if name in EM_MODELS else initialisation_run(config, seed, out)
    start = Path(
        "..", begin.folder.name, RunFolder(begin.folder).model_folder.name
    )  # relative, so that the benchmark's folder can be moved
    return _training_run(name, base, base.schedule.model_copy(update=done), config, seed, out, start)


def model_config(preset: RunConfig, name: str) -> RunConfig:
    """Return the configuration of a model of the comparison, derived from the preset."""
    if name == FOCUS:
        return preset
    return presets.misfit_of(preset) if name == MISFIT else apply_baseline(preset, name)


def _training_run(
    name: str,
    base: RunConfig,
    schedule: Schedule,
    config: BenchmarkConfig,
    seed: int,
    out: Path,
    start: Path | None,
) -> TrainingRun:
    shorter = schedule.rescale(max(1, round(schedule.total_steps * config.steps)))
    changes = {
        "seed": seed,
        "schedule": shorter,
        "start_from": start,
        "heldout": HeldoutSettings(size=0),  # all models are scored after training, in the same way
        "cadence": Cadence(checkpoint=_CHECKPOINT_STEPS, keep=1, sheet=10**9, evaluate=10**9),
    }
    return TrainingRun(f"{name}, seed {seed}", out / f"seed-{seed}" / name, base.model_copy(update=changes))


def train_all(
    config: BenchmarkConfig,
    out: Path,
    settings: PoolSettings | None,
    should_stop: Callable[[], bool],
    progress: Callable[[str, int, int], object],
) -> None:
    """Train the models that are not trained yet into `out`/seed-N/NAME.

    Args:
        config: configuration of the benchmark.
        out: folder of the runs.
        settings: pool of Ray tasks; None: run in this process.
        should_stop: polled while models train.
        progress: called with (phase, steps done, steps in all).

    Raises:
        FocusRayError: a training run failed.
        ClusterError: the cluster gave up.
        Interrupted: `should_stop` returned true.
    """
    names = required_models(config.methods)
    wanted = {(name, seed) for name in names for seed in config.seeds_for(name)}
    wanted |= {(PRETRAINED, seed) for name, seed in wanted if name in EM_MODELS}
    first = [initialisation_run(config, seed, out) for seed in sorted({seed for _, seed in wanted})]
    second = [model_run(name, config, seed, out) for name, seed in sorted(wanted) if name not in EM_MODELS]
    third = [model_run(name, config, seed, out) for name, seed in sorted(wanted) if name in EM_MODELS]
    everything = [*first, *second, *third]
    total = sum(one.config.schedule.total_steps for one in everything)

    def look() -> bool:
        progress("training, steps", sum(one.steps_done for one in everything), total)
        return should_stop()

    for trainings in (first, second, third):
        waiting = [number for number, one in enumerate(trainings) if not one.done]
        for _ in run_tasks(TrainingJob(trainings), waiting, settings, look):
            look()
