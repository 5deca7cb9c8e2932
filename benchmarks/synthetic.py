"""Times the synthetic faces and measures what they show: ms an image, visible share of each occluder family.

    python benchmarks/synthetic.py [--size 64] [--n 400] [--threads 1] [--json FILE]

CPU time of this process beside wall time: on a busy machine only the first can be compared.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean
from time import perf_counter, process_time
from typing import Any

import torch

from focus_ray.data.sample import UNOCCLUDED
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces, SyntheticSplit
from focus_ray.data.synthetic_folder import WORLD_MODES
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric import parametric_face

BATCH = 32


def measure(world: MorphableModel, config: SyntheticConfig, split: SyntheticSplit, n: int) -> dict[str, Any]:
    """Cost and shares over the first n images of a split."""
    faces = SyntheticFaces(world, config, split)
    faces.batch(range(2))  # compiles or loads the kernels
    shares: dict[str, list[float]] = defaultdict(list)
    covered = 0.0
    cpu, wall = process_time(), perf_counter()
    for start in range(0, n, BATCH):
        batch = faces.batch(range(start, min(start + BATCH, n)))
        visible = batch.masks.sum((1, 2, 3)) / batch.region.sum((1, 2, 3)).clamp_min(1)
        covered += float(batch.region.mean()) * len(batch) / n
        for family, share in zip(batch.families or [], visible.tolist(), strict=True):
            shares[family].append(share)
    cpu, wall = process_time() - cpu, perf_counter() - wall
    occluded = [share for family, values in shares.items() if family != UNOCCLUDED for share in values]
    return {
        "ms_cpu": 1000 * cpu / n,
        "ms_wall": 1000 * wall / n,
        "face_share": covered,
        "occluded": len(occluded) / n,
        "visible": mean(occluded),
        "visible_range": [min(occluded), max(occluded)],
        "families": {family: {"n": len(shares[family]), "visible": mean(shares[family])} for family in sorted(shares)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    world, config = parametric_face("small", *WORLD_MODES), SyntheticConfig(image_size=arguments.size)
    results = {split: measure(world, config, split, arguments.n) for split in ("train", "heldout")}
    for split, figures in results.items():
        print(f"{split}: {figures['ms_cpu']:.2f} ms CPU an image ({figures['ms_wall']:.2f} wall)", end=", ")
        print(f"face {figures['face_share']:.3f} of the image, {figures['occluded']:.2f} occluded", end=", ")
        print(f"visible {figures['visible']:.3f} {[round(x, 2) for x in figures['visible_range']]}")
        for family, values in figures["families"].items():
            print(f"  {family:14s} {values['n']:4d} {values['visible']:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"size": arguments.size, "n": arguments.n, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
