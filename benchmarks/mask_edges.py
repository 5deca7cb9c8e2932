"""What the guided filter does to masks at the picture's resolution, on composites with exact masks.

focus-ray data occlude PHOTOS --n 60 --open-share 0 --out COMPOSITES
python benchmarks/mask_edges.py COMPOSITES [--part odd] [--radius 1 2 4] [--regularisation 3e-4]    (a minute)

Outlier IoU inside the rendered region, pooled over the pixels, of the network's mask and of the true mask in the few
pixels of the crop: interpolated bilinearly, before or after the threshold, and by the filter.
"""

import argparse
import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

import focus_ray
from focus_ray.data.align import Crop
from focus_ray.data.composites.composite_folder import OCCLUDERS, CompositeFolder
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.inference import Reconstructor, matte
from focus_ray.inference.face_rendering import FaceRendering, render_face
from focus_ray.inference.face_result import FaceArrays
from focus_ray.inference.image_window import warp_to_window
from focus_ray.inference.matte import compute_matte


class Case(NamedTuple):
    """A composite and its face, with the network's mask and with the true one."""

    image: np.ndarray
    occluder: np.ndarray
    rendering: FaceRendering
    masks: dict[str, FaceArrays]


def main() -> None:
    """One line for each way of interpolation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("composites", type=Path)
    parser.add_argument("--part", choices=("all", "even", "odd"), default="all")
    parser.add_argument("--radius", type=float, nargs="+", default=[matte._RADIUS])
    parser.add_argument("--regularisation", type=float, nargs="+", default=[matte._REGULARISATION])
    options = parser.parse_args()
    torch.set_num_threads(1)
    step = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}[options.part]
    cases = read_cases(options.composites, step)
    for name, threshold_first in (("bilinear, of the binary mask", True), ("bilinear, of M", False)):
        print(f"{name:32}", *(f"{mask} {bilinear_iou(cases, mask, threshold_first):.4f}" for mask in cases[0].masks))
    for radius, regularisation in itertools.product(options.radius, options.regularisation):
        matte._RADIUS, matte._REGULARISATION = radius, regularisation
        begin = time.perf_counter()
        ious = [f"{mask} {filtered_iou(cases, mask):.4f}" for mask in cases[0].masks]
        milliseconds = 1e3 * (time.perf_counter() - begin) / (2 * len(cases))
        print(f"{f'guided, r = {radius:g}, eps = {regularisation:g}':32}", *ious, f"{milliseconds:.0f} ms")


def read_cases(folder: Path, step: slice) -> list[Case]:
    """The composites of a folder, reconstructed by their landmarks with the embedded model."""
    reconstructor, points = focus_ray.load("embedded"), read_landmarks(folder / "landmarks.csv")
    return [
        read_case(reconstructor, folder, row.picture, points[row.picture]) for row in CompositeFolder(folder).rows[step]
    ]


def read_case(reconstructor: Reconstructor, folder: Path, picture: str, landmarks: np.ndarray) -> Case:
    image = read_image(folder / picture)
    occluder = read_image(folder / OCCLUDERS / Path(picture).name)[..., 0] > 127
    (result,) = reconstructor.reconstruct(image, landmarks=landmarks)
    focus, arrays = reconstructor.model.focus, result.arrays
    visible = Crop(arrays.transform, len(arrays.mask)).warp((~occluder).astype(np.float32)) * arrays.region
    true = replace(arrays, soft_mask=visible.astype(np.float32), mask=visible > 0.5)
    rendering = render_face(result, focus.face_model, focus.renderer.camera)
    return Case(image, occluder, rendering, {"network": arrays, "true mask": true})


def filtered_iou(cases: list[Case], mask: str) -> float:
    mattes = [compute_matte(case.image, case.masks[mask], case.rendering) for case in cases]
    return pooled_iou(
        [(case.occluder[one.window], one.mask, one.region) for case, one in zip(cases, mattes, strict=True)]
    )


def bilinear_iou(cases: list[Case], mask: str, threshold_first: bool) -> float:
    triples = []
    for case in cases:
        arrays = case.masks[mask]
        one = compute_matte(case.image, arrays, case.rendering)
        values = arrays.mask.astype(np.float32) if threshold_first else matte._extend(arrays)
        found = warp_to_window(values, Crop(arrays.transform, len(values)), one.window) > 0.5
        triples.append((case.occluder[one.window], found, one.region))
    return pooled_iou(triples)


def pooled_iou(triples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Of occluder, mask and region of each face."""
    counts = np.array(
        [[(occluder & ~mask & region).sum(), ((occluder | ~mask) & region).sum()] for occluder, mask, region in triples]
    )
    both, either = counts.sum(axis=0)
    return float(both / either)


if __name__ == "__main__":
    main()
