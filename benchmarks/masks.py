"""What a mask costs: the network at once, or an EM over each picture's colour histogram (the paper's claim of speed).

python benchmarks/masks.py [--pictures 32]    (a minute; nothing else should run)
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from focus_ray import model as models
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.evaluation.baselines.colour_histograms import ColourHistogramSegmenter
from focus_ray.evaluation.methods import Method
from focus_ray.face_models.parametric import parametric_face
from focus_ray.model_location import SHIPPED_MODELS

REFINE_STEPS = 50
BATCH = 8


def main() -> None:
    """The table: milliseconds a picture on one thread, and how many times that of the network's one pass."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=32)
    pictures = parser.parse_args().pictures
    torch.set_num_threads(1)
    model = models.load(SHIPPED_MODELS["embedded"])
    world = parametric_face("small", 120, 80, 120)
    faces = SyntheticFaces(world, SyntheticConfig(image_size=model.image_size), "heldout")
    batches = [faces.batch(range(start, start + BATCH)) for start in range(0, pictures, BATCH)]
    methods = {
        "network": Method("network", model),
        "colour histograms": Method("histograms", model, ColourHistogramSegmenter()),
    }
    first = None
    for steps, what in ((0, "one pass"), (REFINE_STEPS, f"refined, {REFINE_STEPS} steps")):
        for name, method in methods.items():
            seconds = seconds_per_image(method.with_refine_steps(steps), batches)
            first = first or seconds
            print(f"  {name:20} {what:22} {1e3 * seconds:8.1f} ms  {seconds / first:7.1f}")


def seconds_per_image(method: Method, batches: list[Batch]) -> float:
    """Seconds, the first batch left out."""
    method.fit(batches[0].images, batches[0].landmarks)
    begin = time.perf_counter()
    for batch in batches:
        method.fit(batch.images, batch.landmarks)
    return (time.perf_counter() - begin) / (BATCH * len(batches))


if __name__ == "__main__":
    main()
