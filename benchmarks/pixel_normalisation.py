"""Measures under which normalisation of L_pixel and L_reg the paper's weights fit a face; prints a row for each.

    python benchmarks/pixel_normalisation.py [--faces 24] [--steps 120] [--json FILE]

theta of synthetic unoccluded faces is fitted from the mean face by Adam on L_R without L_per, every rendered pixel
counted. Vertices in mm after similarity alignment; identity as the root mean square of its 80 coefficients in sigmas,
1 in truth; depth as the standard deviation of t_z in mm, 30 in truth. 64 px, the small face.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from focus_ray import model as models
from focus_ray import presets
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.face_models.landmarks import N_LANDMARKS
from focus_ray.focus import losses
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.camera import REFERENCE_SIZE
from focus_ray.focus.losses import ReconstructionWeights
from focus_ray.focus.metrics import summarise
from focus_ray.focus.parameters import THETA_MODES, split_theta
from focus_ray.focus.reconstruction_terms import reconstruction_terms
from focus_ray.focus.refine import RefineResult
from focus_ray.focus.state import Targets
from focus_ray.training.assemble import world_face
from focus_ray.training.heldout_scoring import score_fit

LR = 0.12  # of Adam, in units of the head's scales: that of the refinement

FACE_COEFFICIENTS = sum(THETA_MODES)
COORDINATES = 2 * N_LANDMARKS


def normalisations(pixels: float) -> dict[str, ReconstructionWeights]:
    """The weights by name; sums are divided by the number of a face's pixels at 224 px, which leaves Adam as it is."""
    sums = ReconstructionWeights(lambda_reg=0.1 / pixels, regularizer_coefficients=FACE_COEFFICIENTS)
    return {
        "Eq. 5, 7, 8 as sums": sums.model_copy(update={"lambda_lm": 5e-4 * COORDINATES / pixels}),
        "Eq. 5, 8 as sums, L_lm a mean": sums,
        "mean of squares, L_reg / 224": ReconstructionWeights(regularizer_form="release"),
        "mean distance, L_reg / 224": ReconstructionWeights(pixel_norm="l21", regularizer_form="release"),
        "preset embedded": presets.embedded().em.reconstruction,
    }


def fit_theta(focus: Focus, batch: Batch, weights: ReconstructionWeights, steps: int) -> Tensor:
    """theta [B, 257] after so many steps of Adam down L_R from the mean face."""
    offset, scale = focus.scales.vectors()
    code = torch.zeros(len(batch), len(offset), requires_grad=True)
    optimizer = torch.optim.Adam([code], lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    targets = Targets(batch.images, batch.landmarks)
    for _ in range(steps):
        theta = offset + scale * code
        rendering = focus.renderer(theta)
        terms = reconstruction_terms(focus, targets, theta, rendering, rendering.mask, weights)
        total = losses.reconstruction_total({name: term.ratio() for name, term in terms.items()}, weights)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    return (offset + scale * code).detach()


def measure(focus: Focus, batch: Batch, weights: ReconstructionWeights, steps: int) -> dict[str, float]:
    """What the fits under these weights are like."""
    theta = fit_theta(focus, batch, weights, steps)
    with torch.no_grad():
        rendering = focus.renderer(theta)
    scores = summarise(score_fit(focus, batch, RefineResult(theta, rendering, rendering.mask)))
    parts = split_theta(theta)
    return {
        "vertex_mm": float(scores["vertex_mm"] or 0),
        "identity_sigma": float(parts.identity.square().mean().sqrt()),
        "depth_mm": float(parts.translation[:, 2].std()),
        "rmse_255": float(scores["rmse_255"] or 0),
    }


def unoccluded_faces(count: int) -> tuple[Focus, Batch]:
    """The model that is fitted, with the head's scales of the embedded preset, and held-out faces for it."""
    config = presets.embedded()
    world = world_face(config)
    laws = config.data.synthetic
    laws = laws.model_copy(update={"occlusion": laws.occlusion.model_copy(update={"share": 0.0})})
    focus = models.build(config.model, world.truncate(*THETA_MODES), perceptual=False)
    return focus, SyntheticFaces(world, laws, "heldout").batch(range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=24)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    focus, batch = unoccluded_faces(options.faces)
    assert batch.region is not None
    pixels = float(batch.region.mean()) * REFERENCE_SIZE**2
    results = {}
    print(f"{'':30} vertex mm  identity sigma  depth mm  rmse of 255")
    for name, weights in normalisations(pixels).items():
        results[name] = measure(focus, batch, weights, options.steps)
        vertex, identity, depth, rmse = results[name].values()
        print(f"{name:30} {vertex:9.2f}  {identity:14.2f}  {depth:8.1f}  {rmse:11.1f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
