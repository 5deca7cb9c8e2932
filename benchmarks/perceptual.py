"""Measures how well each comparison of target and rendering tells outliers from face; prints the area under the ROC.

    python benchmarks/perceptual.py [--model DIR] [--faces 200] [--json FILE]

A pixel's score is the cosine distance of two feature maps there, or the colour residual. 0.5 is chance. Occluded
validation faces are looked at inside the rendered face, in one pass and after refinement.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from focus_ray import model as models
from focus_ray import presets
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.focus.losses import neighbor_residual
from focus_ray.focus.losses.distances import squared_distance
from focus_ray.focus.networks.perceptual import EncoderPerceptual
from focus_ray.focus.render.renderer import Rendering
from focus_ray.inference.predictor import Predictor
from focus_ray.training.assemble import world_face

Score = Callable[[Batch, Rendering], Tensor]
BATCH = 50


def feature_score(perceptual: EncoderPerceptual) -> Score:
    """1 - cos of F's shallow maps, location by location, at the size of the picture."""

    def score(batch: Batch, rendering: Rendering) -> Tensor:
        target = perceptual.shallow(batch.images, batch.landmarks)
        drawn = perceptual.shallow(rendering.image, rendering.landmarks)
        distance = 1 - functional.cosine_similarity(target, drawn)
        return functional.interpolate(distance[:, None], batch.images.shape[-1], mode="bilinear")

    return score


def area_under_roc(scores: Tensor, outlier: Tensor) -> float:
    """The chance that an outlier scores higher than a pixel of the face; ties count half."""
    ranks = rankdata(scores.numpy())
    positive = int(outlier.sum())
    negative = len(outlier) - positive
    return float((ranks[outlier.numpy()].sum() - positive * (positive + 1) / 2) / (positive * negative))


def comparisons(model: models.Model) -> dict[str, Score]:
    """What is compared, by name."""
    assert isinstance(model.focus.perceptual, EncoderPerceptual)
    random = EncoderPerceptual(models.build_encoder(model.settings))
    after_em = EncoderPerceptual(model.focus.encoder)  # type: ignore[arg-type]
    return {
        "warm-up encoder (F)": feature_score(model.focus.perceptual),
        "encoder after EM": feature_score(after_em),
        "same network, random": feature_score(random),
        "colour residual": lambda batch, rendering: squared_distance(batch.images, rendering.image),
        "neighbour residual": lambda batch, rendering: neighbor_residual(batch.images, rendering.image),
    }


def measure(model: models.Model, count: int) -> dict[str, dict[str, float]]:
    """{comparison: {one_pass, refined}}: areas under the ROC over all pixels of the occluded faces."""
    config = presets.embedded()
    laws = config.data.synthetic.model_copy(update={"image_size": model.image_size, "seed": 1})
    faces = SyntheticFaces(world_face(config), laws, "validation")
    predictor = Predictor(model.focus, model.refine).eval()
    scores = comparisons(model)
    found: dict[tuple[str, str], list[Tensor]] = {}
    outliers: dict[str, list[Tensor]] = {"one_pass": [], "refined": []}
    for start in range(0, count, BATCH):
        batch = faces.batch(range(start, min(start + BATCH, count)))
        assert batch.occluded is not None
        batch = batch.select(batch.occluded.nonzero()[:, 0].tolist())
        assert batch.masks is not None
        for kind, steps in (("one_pass", 0), ("refined", None)):
            rendering = predictor(batch.images, batch.landmarks, steps=steps).rendering
            inside = rendering.mask > 0
            outliers[kind].append(batch.masks[inside] == 0)
            for name, score in scores.items():
                with torch.no_grad():
                    found.setdefault((name, kind), []).append(score(batch, rendering)[inside])
    return {
        name: {kind: area_under_roc(torch.cat(found[name, kind]), torch.cat(outliers[kind])) for kind in outliers}
        for name in scores
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model folder; the shipped one unless given")
    parser.add_argument("--faces", type=int, default=200, help="validation faces; about half of them are occluded")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    torch.manual_seed(0)
    results = measure(models.load(options.model), options.faces)
    print(f"{'area under the ROC, outlier against face':42} one pass  refined")
    for name, areas in results.items():
        print(f"  {name:40} {areas['one_pass']:8.3f} {areas['refined']:8.3f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
