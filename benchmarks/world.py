"""Measures how hard the synthetic world is for the model that is fitted; prints figures of the held-out faces.

    python benchmarks/world.py [--faces 400] [--json FILE]

The true parameters are rendered with the fitted model: what colour error is left is what the model cannot express
(noise, blur, gamma, paint, shadows), and how much of the rendered face is visible is what an all-ones mask gets right.
"""

import argparse
import json
from pathlib import Path

import torch

from focus_ray import model as models
from focus_ray import presets
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.focus.metrics import ImageScores, summarise
from focus_ray.focus.parameters import THETA_MODES
from focus_ray.focus.refine import RefineResult
from focus_ray.training.assemble import world_face
from focus_ray.training.heldout_scoring import score_fit, subsets

BATCH = 50


def measure(count: int) -> dict[str, dict[str, float | int | None]]:
    """Figures of the true parameters under an all-ones mask, by subset."""
    config = presets.embedded()
    world = world_face(config)
    focus = models.build(config.model, world.truncate(*THETA_MODES), perceptual=False)
    laws = config.data.synthetic.model_copy(update={"seed": config.heldout.seed})
    faces = SyntheticFaces(world, laws, "heldout")
    scores, families = [], []
    for start in range(0, count, BATCH):
        batch = faces.batch(range(start, min(start + BATCH, count)))
        assert batch.theta is not None
        assert batch.families is not None
        with torch.no_grad():
            rendering = focus.renderer(batch.theta)
        scores.append(score_fit(focus, batch, RefineResult(batch.theta, rendering, rendering.mask)))
        families += batch.families
    chosen = subsets(families, frozenset(laws.unseen_families))
    return {name: summarise(ImageScores.merge(scores).select(rows)) for name, rows in chosen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=400)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    results = measure(options.faces)
    print(f"{'true parameters, all-ones mask':32} faces  visible share     F1  rmse_255")
    for name, figures in results.items():
        share, f1, rmse = (figures[key] for key in ("accuracy", "f1", "rmse_255"))
        print(f"  {name:30} {figures['n']:5}  {share:13.3f}  {f1:.3f}  {rmse:8.1f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
