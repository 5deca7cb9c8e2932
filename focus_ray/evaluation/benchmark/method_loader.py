"""Loads the methods of a seed: trained models, mask rules and the prior."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from focus_ray import model as models
from focus_ray import presets
from focus_ray import prior as priors
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.evaluation.baselines.colour_histograms import ColourHistogramSegmenter
from focus_ray.evaluation.baselines.skin_colour import SkinColourSegmenter
from focus_ray.evaluation.benchmark.benchmark_config import BenchmarkConfig
from focus_ray.evaluation.benchmark.method_specs import FOCUS, METHOD_SPECS, MISFIT
from focus_ray.evaluation.benchmark.train import model_run as training_of
from focus_ray.evaluation.methods import Method, all_ones_mask
from focus_ray.evaluation.tables import REFINED_SUFFIX
from focus_ray.focus.refine import MaskFn
from focus_ray.priors.build import PhaseProgress, compute_prior
from focus_ray.priors.prior_config import GateSettings, PriorConfig
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.runtime.tasks import PoolSettings
from focus_ray.training.assemble import world_face


@dataclass
class MethodLoader:
    """Loads the methods of a benchmark by name, seed and refinement steps."""

    config: BenchmarkConfig
    runs: Path

    def entries(self) -> list[tuple[str, int, int]]:
        """Return (name, seed, refinement steps) of every method to score."""
        found = []
        for name in self.config.methods:
            for seed in self.config.seeds_for(METHOD_SPECS[name].model):
                steps = [one for one in self.config.refinements() if self._prior_available(name, one)]
                found += [(name, seed, one) for one in steps]
        return found

    def load_method(self, name: str, seed: int, steps: int) -> Method:
        """Load a method with its trained model, mask rule and prior.

        Args:
            name: key of METHOD_SPECS.
            seed: seed of the training.
            steps: refinement steps of each fit.

        Raises:
            CheckpointError: the model or the prior is damaged.
        """
        spec = METHOD_SPECS[name]
        model = models.load(self.model_folder(spec.model, seed))
        prior = priors.load(self.prior_folder(seed, steps) / priors.PRIOR) if spec.prior else None
        return Method(name + (REFINED_SUFFIX if steps else ""), model, self._mask_fn(name), prior, steps)

    def model_folder(self, model: str, seed: int) -> Path:
        """Return the folder of a trained model."""
        return RunFolder(training_of(model, self.config, seed, self.runs).folder).model_folder

    def prior_folder(self, seed: int, steps: int) -> Path:
        """Return the folder of the prior for FOCUS of this seed."""
        return self.runs / f"seed-{seed}" / f"prior-{steps}"

    def build_priors(self, settings: PoolSettings | None, progress: PhaseProgress) -> None:
        """Measure the priors that the methods need; finished ones are not computed again.

        Args:
            settings: pool of Ray tasks; None: run in this process.
            progress: called with (phase, done, total).
        """
        for name, seed, steps in self.entries():
            if METHOD_SPECS[name].prior and not (self.prior_folder(seed, steps) / "metrics.json").is_file():
                prior_config = PriorConfig(
                    model=str(self.model_folder(MISFIT, seed)),
                    applied_to=str(self.model_folder(FOCUS, seed)),
                    n=self.config.refined_prior_faces if steps else self.config.prior_faces,
                    heldout=self.config.prior_judges,
                    gate=GateSettings(faces=self.config.prior_judges),
                    refine_steps=steps,
                )
                compute_prior(prior_config, self.prior_folder(seed, steps), settings, progress=progress)

    def _prior_available(self, name: str, steps: int) -> bool:
        return not (METHOD_SPECS[name].prior and steps and not self.config.refined_prior_faces)

    def _mask_fn(self, name: str) -> MaskFn | None:
        match METHOD_SPECS[name].mask_method:
            case "own":
                return None
            case "all_ones":
                return all_ones_mask
            case "skin_colour":
                return fit_skin_colour(self.config.preset, self.config.skin_pictures)
            case "colour_histograms":
                return ColourHistogramSegmenter()


@cache
def fit_skin_colour(preset: str, pictures: int) -> SkinColourSegmenter:
    """Fit the colours of skin and of all else to training pictures with their true masks."""
    config = presets.load(preset)
    laws = config.data.synthetic.model_copy(update={"image_size": config.model.camera.image_size})
    batch = SyntheticFaces(world_face(config), laws, "train").batch(range(pictures))
    assert batch.masks is not None
    assert batch.region is not None
    return SkinColourSegmenter.fit(batch.images, batch.masks, batch.region)
