"""Measures refinements of the shipped model against the earlier one (50 steps of Adam with its usual betas).

    python benchmarks/refinement.py [--faces 32] [--sizes 64 224] [--portraits FOLDER] [--rounds 3] [--json FILE]

For each: renders, milliseconds per face, their ratio to the earlier one's, and the final loss, relative to the
earlier one's final loss and under its final mask. On synthetic faces also the quality against the truth: vertex error,
F1 and outlier IoU of the mask; on portraits (a folder with landmarks.csv) the distance to the given landmarks, in % of
the distance of the outer eye corners, and the share of the face that the mask keeps.

The methods take turns in one process, on one thread, medians over the rounds: ratios hold on a busy machine, absolute
times do not. At another size than the model's, the encoder and S see the pictures scaled to the model's.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from focus_ray import model as models
from focus_ray.data.photos import PhotoFolder
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.camera import Camera
from focus_ray.focus.metrics import ImageScores, summarise
from focus_ray.focus.refine import (
    FAST_REFINE,
    RefineResult,
    RefineSettings,
    fitting_loss,
    refine,
    trusted_mask,
)
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.training.heldout_scoring import score_fit

EARLIER = "earlier, 50 steps"
METHODS = {
    EARLIER: RefineSettings(),
    "earlier, 24 steps": RefineSettings(steps=24),
    "fast, 12 steps": FAST_REFINE.model_copy(update={"steps": 12}),
    "fast, 20 steps": FAST_REFINE.model_copy(update={"steps": 20}),
    "fast, 24 steps": FAST_REFINE,
    "fast, 30 steps": FAST_REFINE.model_copy(update={"steps": 30}),
    "fast, 50 steps": FAST_REFINE.model_copy(update={"steps": 50}),
}
FIRST_FACE = 1000  # of the held-out synthetic faces; the settings were chosen on faces 0 to 63
BATCH = 8
LEFT_EYE, RIGHT_EYE = 36, 45  # outer corners, iBUG order


class Measurement(NamedTuple):
    """A refined set of faces."""

    fits: list[RefineResult]
    renders: int  # of each batch
    ms_per_face: float


class Pipeline:
    """The networks of the shipped model around a renderer of any size."""

    def __init__(self, focus: Focus, size: int):
        self.focus = focus
        self.renderer = Renderer(focus.face_model, Camera(image_size=size))
        self.network_size = focus.renderer.camera.image_size

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Theta of the encoder, where the refinement begins."""
        return self.focus.encoder(self._scale(images, self.network_size))

    def mask(self, images: Tensor, rendering: Rendering) -> Tensor:
        """Masks of S."""
        seen = (self._scale(picture, self.network_size) for picture in (rendering.image, images))
        return rendering.mask * self._scale(self.focus.segmenter.mask(*seen), images.shape[-1])

    def refine(self, batch: Batch, theta: Tensor, settings: RefineSettings) -> RefineResult:
        """Trusted pixels first, then the masks of S, as in `refine_with_segmenter`."""

        def trusted_pixels(images: Tensor, rendering: Rendering) -> Tensor:
            return trusted_mask(images, rendering, settings.trusting_factor)

        return refine(
            self.renderer,
            self.focus.scales,
            batch.images,
            theta,
            self.mask,
            batch.landmarks,
            settings,
            initial_mask_fn=trusted_pixels,
        )

    def loss(self, batch: Batch, theta: Tensor, mask: Tensor) -> Tensor:
        """Loss of each face under a given mask, with the weights of the defaults."""
        with torch.no_grad():
            return fitting_loss(
                batch.images, self.renderer(theta), mask, theta, batch.landmarks, settings=RefineSettings()
            )

    @staticmethod
    def _scale(pictures: Tensor, size: int) -> Tensor:
        if pictures.shape[-1] == size:
            return pictures
        if size < pictures.shape[-1]:
            return functional.interpolate(pictures, size=(size, size), mode="area")
        return functional.interpolate(pictures, size=(size, size), mode="bilinear")


def measure(pipeline: Pipeline, batches: list[Batch], rounds: int) -> dict[str, Measurement]:
    """Refine all faces by each method in turn."""
    starts = [pipeline.predict(batch.images) for batch in batches]
    faces = sum(len(batch) for batch in batches)
    calls = [0]
    hook = pipeline.renderer.register_forward_pre_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    pipeline.refine(batches[0], starts[0], RefineSettings(steps=2))  # compiles the kernels
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    fits: dict[str, list[RefineResult]] = {}
    renders: dict[str, int] = {}
    for _ in range(rounds):
        for name, settings in METHODS.items():
            calls[0] = 0
            began = perf_counter()
            fits[name] = [pipeline.refine(*faces, settings) for faces in zip(batches, starts, strict=True)]
            times[name].append(perf_counter() - began)
            renders[name] = calls[0] // len(batches)
    hook.remove()
    return {name: Measurement(fits[name], renders[name], 1e3 * median(times[name]) / faces) for name in METHODS}


def describe(pipeline: Pipeline, batches: list[Batch], measured: dict[str, Measurement]) -> dict[str, dict[str, float]]:
    """The row of each method."""
    earlier = measured[EARLIER]

    def losses(one: Measurement) -> Tensor:
        fits = zip(batches, one.fits, earlier.fits, strict=True)
        return torch.cat([pipeline.loss(batch, fit.theta, reference.mask) for batch, fit, reference in fits])

    before = losses(earlier)
    quality = synthetic_quality if batches[0].masks is not None else portrait_quality
    rows = {}
    for name, one in measured.items():
        loss = losses(one)
        rows[name] = {
            "renders": one.renders,
            "ms": one.ms_per_face,
            "time": one.ms_per_face / earlier.ms_per_face,
            "loss": float(loss.mean() / before.mean()),
            "loss_p90": float((loss / before).quantile(0.9)),
        } | quality(pipeline.focus, batches, one.fits)
    return rows


def synthetic_quality(focus: Focus, batches: list[Batch], fits: list[RefineResult]) -> dict[str, float]:
    """Errors against the truth; vertices of unoccluded and occluded faces."""
    scores = ImageScores.merge([score_fit(focus, batch, fit) for batch, fit in zip(batches, fits, strict=True)])
    occluded = torch.tensor([family != "none" for batch in batches for family in batch.families or []])
    everything, hidden, open_ = (summarise(one) for one in (scores, scores.select(occluded), scores.select(~occluded)))
    figures = {
        "mm_open": open_["vertex_mm"],
        "mm_occl": hidden["vertex_mm"],
        "f1_occl": hidden["f1"],
        "iou": everything["outlier_iou"],
        "lm_px": everything["landmark_px"],
    }
    return {name: float("nan") if value is None else float(value) for name, value in figures.items()}


def portrait_quality(_: Focus, batches: list[Batch], fits: list[RefineResult]) -> dict[str, float]:
    """Distance to the given landmarks, and how much the mask keeps."""
    errors, kept = [], []
    for batch, fit in zip(batches, fits, strict=True):
        assert batch.landmarks is not None
        eyes = (batch.landmarks[:, LEFT_EYE] - batch.landmarks[:, RIGHT_EYE]).norm(dim=-1)
        errors.append((fit.rendering.landmarks - batch.landmarks).norm(dim=-1).mean(1) / eyes)
        kept.append((fit.mask > 0.5).float().sum((1, 2, 3)) / fit.rendering.mask.sum((1, 2, 3)).clamp_min(1))
    return {"nme_pct": 100 * float(torch.cat(errors).mean()), "kept": float(torch.cat(kept).mean())}


def split(draw: Callable[[range], Batch], first: int, faces: int) -> list[Batch]:
    """Batches of at most `BATCH` faces."""
    return [draw(range(at, min(at + BATCH, first + faces))) for at in range(first, first + faces, BATCH)]


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n{title}\n{'':20}" + "".join(f"{column:>10}" for column in columns))
    for name, row in rows.items():
        print(f"{name:20}" + "".join(f"{row[c]:>10.0f}" if c == "renders" else f"{row[c]:>10.3f}" for c in columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=32)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--portraits", type=Path, help="folder of photographs with landmarks.csv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    focus = models.load(SHIPPED_MODELS["embedded"]).focus
    world = parametric_face("small", 120, 80, 120)
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for size in options.sizes:
        pipeline = Pipeline(focus, size)
        faces = SyntheticFaces(world, SyntheticConfig(image_size=size), "heldout")
        sets = {"synthetic faces": split(faces.batch, FIRST_FACE, options.faces)}
        if options.portraits:
            photos = PhotoFolder(options.portraits, image_size=size)
            sets["portraits"] = split(photos.batch, 0, min(options.faces, len(photos)))
        for what, batches in sets.items():
            title = f"{what}, {size} px"
            tables[title] = describe(pipeline, batches, measure(pipeline, batches, options.rounds))
            print_table(title, tables[title])
    if options.json:
        options.json.write_text(json.dumps(tables, indent=2) + "\n")


if __name__ == "__main__":
    main()
