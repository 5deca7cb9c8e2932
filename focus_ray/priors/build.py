"""Builds a misfit prior: shards, task pool, reduction, acceptance test, output folder.

OUT/  config.json  run.json  metrics.json  report.html  sheets/  misfit.glb  prior/  shards/ (or in the object store)
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.data.rendered import RenderedSplit
from focus_ray.errors import ConfigError, FaceModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.misfit import READINGS, WHOLE_FACE, MisfitStats, Reading, root_mean_square, vertex_regions
from focus_ray.model import Model, weights_digest
from focus_ray.numerics.statistics import MergeTree
from focus_ray.prior import PRIOR, ErrorReduction, Pipeline, Prior, PriorInfo
from focus_ray.priors import shard_pool as pools
from focus_ray.priors.gate import run_gate, world_faces, world_resolution
from focus_ray.priors.measure import MeasurementSpec
from focus_ray.priors.prior_config import PriorConfig
from focus_ray.priors.prior_report import write_pictures, write_prior_report
from focus_ray.priors.shard_pool import ShardCounts
from focus_ray.priors.shards import ShardStore
from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.runtime.tasks import PoolSettings, task_cluster
from focus_ray.storage import artifact_store
from focus_ray.storage.object_store import LocalStore, ObjectStore
from focus_ray.storage.open_store import open_store

METRICS_SCHEMA = 1

PhaseProgress = Callable[[str, int, int], object]  # phase, done, total


@dataclass
class ReductionResult:
    """Merged state of a split, and the counts of its computation."""

    state: MisfitStats
    counts: ShardCounts
    seconds: float
    stopped_early: bool


@dataclass
class PriorBuilder:
    """One build: configuration, shard store and task pool."""

    config: PriorConfig
    model: Model
    store: ObjectStore
    settings: PoolSettings | None  # None: in this process, without Ray
    should_stop: Callable[[], bool]
    progress: PhaseProgress

    def build(self) -> tuple[Prior, dict[str, Any]]:
        """Compute the prior and judge it on held-out faces.

        Returns:
            (prior, further keys of metrics.json).
        """
        measured = self.reduce_split("prior", self.config.n, None)
        correction = measured.state.error.mean
        heldout = self.reduce_split("prior_heldout", self.config.heldout, correction)
        computed = measured.counts.computed + heldout.counts.computed
        seconds = measured.seconds + heldout.seconds
        faces = measured.counts.faces + heldout.counts.faces
        info = PriorInfo(
            n=measured.state.count,
            heldout_n=heldout.state.count,
            face_model=self.face.name,
            face_model_digest=self.face.digest,
            pipeline=Pipeline.from_model(self.model, self.config.refine_steps),
            applied=self.config.reading,
            model_version=self.model.version,
            model_digest=weights_digest(self.model.focus),
            seed=self.config.seed,
            laws=self.config.data.rendered.model_dump(mode="json"),
            figures=compute_reductions(measured.state, heldout.state, vertex_regions(self.face)),
            faces_per_s=faces / seconds if computed else None,
            shards_computed=computed,
            shards_kept=measured.counts.kept + heldout.counts.kept,
            stopped_early=measured.stopped_early,
        )
        spread = measured.state.error.standard_error
        errors: dict[Reading, torch.Tensor] = {name: correction[row].float() for row, name in enumerate(READINGS)}
        spreads: dict[Reading, torch.Tensor] = {name: spread[row].float() for row, name in enumerate(READINGS)}
        seconds_by_part = {"prior": measured.seconds, "heldout": heldout.seconds}
        return Prior(errors, spreads, info), {"seconds": seconds_by_part}

    @property
    def face(self) -> MorphableModel:
        return self.model.focus.face_model

    def reduce_split(self, split: RenderedSplit, n: int, correction: torch.Tensor | None) -> ReductionResult:
        """Merge the states of the first `n` faces of a split.

        Without a correction it stops early once the standard error reaches `target_mm`.

        Args:
            split: faces to render.
            n: number of faces, at most.
            correction: signed error [R, V, 3] to subtract, mm; None while the prior itself is measured.

        Returns:
            Merged state, counts and time of the split.
        """
        config = self.config
        work = MeasurementSpec(self.model, config.data.rendered, config.seed, split, config.refine_steps, correction)
        shards = ShardStore(self.store, work.digest, n, config.shard_size)
        tree: MergeTree[MisfitStats] = MergeTree()
        counts, began = ShardCounts(), time.perf_counter()
        name = "faces" if correction is None else "held-out faces"

        def progress(done: int, total: int) -> object:
            return self.progress(name, done, total)

        for branch in self.branches(work, shards, counts, progress):
            tree.add(branch)
            if correction is None and self.is_precise_enough(tree):
                break
        state = tree.total()
        return ReductionResult(state, counts, time.perf_counter() - began, stopped_early=state.count < n)

    def branches(
        self, spec: MeasurementSpec, shards: ShardStore, counts: ShardCounts, progress: Callable[[int, int], object]
    ) -> Iterator[MisfitStats]:
        """Return an iterator over the merged states of all branches, in order.

        Args:
            spec: inputs of the shards.
            shards: store of the finished shards.
            counts: counts of shards, updated in place.
            progress: called with (faces done, faces in all).
        """
        if self.settings is None:
            return pools.run_locally(spec, shards, counts, self.should_stop, progress)
        return pools.ShardPool(spec, shards, self.settings).branches(counts, self.should_stop, progress)

    def is_precise_enough(self, tree: MergeTree[MisfitStats]) -> bool:
        """Return whether the standard error of the mean has reached `target_mm`."""
        if self.config.target_mm is None:
            return False
        standard_error = tree.total().error.standard_error[READINGS.index(self.config.reading)]
        return float(root_mean_square(standard_error)) <= self.config.target_mm


def compute_reductions(
    prior_state: MisfitStats, heldout_state: MisfitStats, regions: dict[str, torch.Tensor]
) -> dict[Reading, ErrorReduction]:
    """Compute how far the prior of `prior_state` reduces the errors of held-out faces.

    Args:
        prior_state: errors of the faces that the prior is the mean of.
        heldout_state: errors of held-out faces, the prior subtracted.
        regions: masks of vertices by name of the region.

    Returns:
        Figures by reading.
    """
    after = heldout_state.error.mean
    before = after + prior_state.error.mean
    found: dict[Reading, ErrorReduction] = {}
    for row, reading in enumerate(READINGS):
        by_region = {
            name: {
                "rms_before_mm": float(root_mean_square(before[row, vertices])),
                "rms_after_mm": float(root_mean_square(after[row, vertices])),
                "distance_before_mm": float(heldout_state.distance.mean[row, column, 0]),
                "distance_after_mm": float(heldout_state.distance.mean[row, column, 1]),
                "improved_share": float(heldout_state.improved.mean[row, column]),
            }
            for column, (name, vertices) in enumerate(regions.items())
        }
        found[reading] = ErrorReduction(
            rms_prior_mm=float(root_mean_square(prior_state.error.mean[row])),
            standard_error_mm=float(root_mean_square(prior_state.error.standard_error[row])),
            heldout_standard_error_mm=float(root_mean_square(heldout_state.error.standard_error[row])),
            by_region=by_region,
            **by_region[WHOLE_FACE],
        )
    return found


def compute_prior(
    config: PriorConfig,
    out: Path,
    settings: PoolSettings | None,
    *,
    storage: str | None = None,
    experiment: str = "focus",
    progress: PhaseProgress = lambda *_: None,
) -> PriorInfo:
    """Build a prior into the folder `out`; a build of the same configuration there is resumed.

    Args:
        config: configuration of the build.
        out: output folder.
        settings: pool of Ray tasks; None: run in this process.
        storage: object store for shards and prior; None: `out`.
        experiment: name of the tracked experiment.
        progress: called with (phase, done, total).

    Returns:
        Content of prior.json.

    Raises:
        ConfigError: `out` holds something else, R_syn has another pipeline than the model that the prior is for, or
            there is no synthetic world for the acceptance test.
        CheckpointError: a model is damaged.
        FaceModelError: the two models fit different face models.
        StorageError: the disk or the object store refuses.
        ClusterError: the Ray cluster cannot be used, or its tasks failed too often.
        Interrupted: the user stopped the build.
    """
    model = models.load_from(config.model)
    target_model = None if config.applied_to is None else models.load_from(config.applied_to)
    if target_model is not None:
        check_same_pipeline(model, target_model, config.refine_steps)
        world_resolution(target_model.focus.face_model)  # for the gate, which runs after hours of measurement
    with (
        graceful_shutdown() as should_stop,
        acquire_run_dir(out, config, experiment, label="prior", storage=storage) as folder,
    ):
        store = LocalStore(out) if storage is None else open_store(storage).at(folder.info().name)
        if storage is not None:
            store.check()
        with task_cluster(settings):
            builder = PriorBuilder(config, model, store, settings, should_stop, progress)
            prior, metrics = builder.build()
        if target_model is not None:
            prior = attach_gate(prior, config, target_model, progress)
        save_prior(prior, folder, store)
        write_pictures(folder.path, prior, model.focus.face_model)
        folder.write_json("metrics.json", {"schema": METRICS_SCHEMA, **metrics, "prior": prior_metrics(prior.info)})
        write_prior_report(folder.path, prior.info)
    return prior.info


def check_same_pipeline(model: Model, target_model: Model, refine_steps: int) -> None:
    """Check that R_syn has the pipeline and the face model of the model that the prior is for.

    Args:
        model: R_syn.
        target_model: model that the prior will correct.
        refine_steps: refinement steps of each fit.

    Raises:
        ConfigError: the pipelines differ.
        FaceModelError: the face models differ.
    """
    one, other = Pipeline.from_model(model, refine_steps), Pipeline.from_model(target_model, refine_steps)
    if one != other:
        raise ConfigError(
            f"R_syn has another pipeline ({one}) than the target model ({other}); "
            "train R_syn with the pipeline of the target model"
        )
    face, target_face = model.focus.face_model, target_model.focus.face_model
    if face.digest != target_face.digest:
        raise FaceModelError(
            f"R_syn fits face model {face.digest[:12]}, the target model {target_face.digest[:12]}; "
            "train R_syn with the face model of the target model"
        )


def attach_gate(prior: Prior, config: PriorConfig, target_model: Model, progress: PhaseProgress) -> Prior:
    """Run the acceptance test with the target model and return the prior with its result."""
    laws = config.gate
    faces = world_faces(target_model.focus.face_model, laws.world, laws.world_modes, target_model.image_size)
    result = run_gate(prior, target_model, faces, laws.faces, lambda done, total: progress("gate", done, total))
    return Prior(prior.errors, prior.standard_errors, prior.info.model_copy(update={"gate": result}))


def save_prior(prior: Prior, folder: RunFolder, store: ObjectStore) -> None:
    """Write the prior's folder beside the report, and into the store if that is a remote one."""
    priors.save(folder.path / PRIOR, prior)
    if not isinstance(store, LocalStore):
        artifact_store.upload(store, folder.path / PRIOR, PRIOR)


def prior_metrics(info: PriorInfo) -> dict[str, Any]:
    """Return the figures of prior.json, and whether the prior is applied by default."""
    tree = info.model_dump(mode="json", exclude={"format", "laws", "pipeline", "seed", "face_model_digest"})
    return tree | {"by_default": info.by_default}
