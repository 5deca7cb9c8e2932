"""Measures the weights of ARKit's blendshapes: on renders with known weights, and on photographs.

    python benchmarks/arkit.py renders FACE [--number 200] [--first 0] [--size 224] [--fits FILE.npz] [--sparsity S ...]
    python benchmarks/arkit.py photographs FACE FOLDER [--landmarks CSV] [--expression 1.5]

FACE is ict, or the file of a face model with ARKit's shapes. Fits start from the mean face and the
landmarks (`inference.fit_from_landmarks`), not from the truth.

Renders: identity, albedo, pose and light of the held-out synthetic faces, without occluders. A fifth of the shapes has
a weight: both sides of a pair together, uniform in [0.2, 1] with a difference of about 0.1 between the sides. Landmarks
have the noise of a good detector (1.5 px of 224). The error is the mean absolute one; the rank correlation is
Spearman's over the renders, of each of the 20 shapes that move the vertices most. The sparsity of the fit was chosen on
other renders (--first 200 --number 60). One thread is much faster than several: OMP_NUM_THREADS=1.

Photographs: the shapes with the largest weights, of the faces that the detector finds or the file has landmarks of.

--expression is the weight of the expression's prior in the fit, relative to that of the identity.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from scipy.stats import spearmanr

import focus_ray
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import find_landmarks, read_landmarks
from focus_ray.data.picture_folder import list_pictures
from focus_ray.data.synthetic import OcclusionDistributions, SyntheticConfig, SyntheticFaces
from focus_ray.errors import DataError
from focus_ray.face_models.arkit import ARKIT_SHAPES, SPARSITY, ArkitFitter, arkit_expressions
from focus_ray.face_models.by_name import load_face
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import REFERENCE_SIZE, Camera
from focus_ray.focus.parameters import join_theta, split_theta
from focus_ray.focus.render.renderer import Renderer
from focus_ray.inference.face_locations import locate_faces
from focus_ray.inference.fit_from_landmarks import FIT_SETTINGS, LandmarkFit, fit_from_landmarks

SHARE, LEAST, BETWEEN_SIDES = 0.2, 0.2, 0.1
NOISE = 1.5  # px of 224
STRONGEST = 20
BATCH = 4
SHOWN = 5  # shapes of a photograph
EXPRESSION = FIT_SETTINGS.expression / FIT_SETTINGS.identity

FitFaces = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], LandmarkFit]  # images, landmarks, pixels


def known_weights(face: MorphableModel, seed: int) -> np.ndarray:
    """Return weights of the model's own shapes."""
    assert face.expressions is not None
    rng = np.random.default_rng([seed, 53])
    pairs: dict[str, float] = {}
    weights = []
    for name in face.expressions.names:
        stem = name.removesuffix("_L").removesuffix("_R")
        if stem not in pairs:
            pairs[stem] = rng.uniform(LEAST, 1) if rng.random() < SHARE else 0.0
        weights.append(np.clip(pairs[stem] + rng.normal(0, BETWEEN_SIDES), 0, 1) if pairs[stem] else 0.0)
    return np.array(weights)


def fit_renders(fit_faces: FitFaces, face: MorphableModel, indices: list[int], size: int) -> np.ndarray:
    """Render faces with known weights and return the fitted expressions."""
    assert face.expressions is not None
    config = SyntheticConfig(occlusion=OcclusionDistributions(share=0.0))
    drawn = SyntheticFaces(face, config, "heldout").batch(indices)
    assert drawn.theta is not None
    weights = torch.from_numpy(np.stack([known_weights(face, index) for index in indices])).float()
    truth = split_theta(drawn.theta.float())._replace(expression=weights @ face.expressions.coefficients)
    rendering = Renderer(face, Camera(image_size=size))(join_theta(truth))
    noise = np.stack([np.random.default_rng([index, 68]).normal(0, NOISE, (68, 2)) for index in indices])
    points = rendering.landmarks + torch.from_numpy(noise * size / REFERENCE_SIZE).float()
    fit = fit_faces(rendering.image.clamp(0, 1), points, rendering.mask)
    return split_theta(fit.theta).expression.numpy()


def strongest_shapes(face: MorphableModel) -> list[int]:
    """Return ARKit's shapes that move the vertices most."""
    shapes = arkit_expressions(face)
    moved = (shapes.coefficients @ face.shape_basis[face.n_identity :].flatten(1)).norm(dim=1)
    return [ARKIT_SHAPES.index(shapes.names[place]) for place in moved.argsort(descending=True)[:STRONGEST].tolist()]


def report(face: MorphableModel, expressions: np.ndarray, indices: list[int], sparsity: float, *, table: bool) -> None:
    """Print errors and rank correlations."""
    fitter = ArkitFitter(face, sparsity)
    truth = np.stack([fitter.to_arkit(known_weights(face, index)) for index in indices])
    fitted = [fitter.fit(torch.from_numpy(row)) for row in expressions]
    weights = np.stack([one.weights for one in fitted])
    shapes = strongest_shapes(face)
    errors = np.abs(weights - truth).mean(axis=0)
    ranks = {shape: spearmanr(weights[:, shape], truth[:, shape]).statistic for shape in shapes}
    if table:
        for shape in shapes:
            print(f"{ARKIT_SHAPES[shape]:20} error {errors[shape]:.3f}  rank correlation {ranks[shape]:.2f}")
    right = (truth[:, shapes].argmax(axis=1) == weights[:, shapes].argmax(axis=1)).mean()
    print(
        f"{len(truth)} renders, sparsity {sparsity:g}: error {errors[shapes].mean():.3f} of the {STRONGEST} strongest "
        f"shapes (with weights of 0: {truth[:, shapes].mean():.3f}), {errors.mean():.3f} of all "
        f"({truth.mean():.3f}); rank correlation {fmean(ranks.values()):.3f}; largest weight of the {STRONGEST} right "
        f"{right:.0%}; residual {fmean(one.residual_mm for one in fitted):.2f} mm"
    )


def measure_renders(options: argparse.Namespace, face: MorphableModel, fit_faces: FitFaces) -> None:
    """Fit the renders, in parts that are kept in a file, and report."""
    indices = list(range(options.first, options.first + options.number))
    found = np.zeros((0, face.n_expression), np.float32)
    if options.fits is not None and options.fits.is_file():
        found = np.load(options.fits)["expressions"][: len(indices)]
    while len(found) < len(indices):
        part = indices[len(found) : len(found) + BATCH]
        found = np.concatenate([found, fit_renders(fit_faces, face, part, options.size)])
        if options.fits is not None:
            np.savez(options.fits, expressions=found)
    for sparsity in options.sparsity:
        report(face, found, indices, sparsity, table=len(options.sparsity) == 1)


def measure_photographs(options: argparse.Namespace, face: MorphableModel, fit_faces: FitFaces) -> None:
    """Print the strongest shapes of each face."""
    shipped, fitter = focus_ray.load("embedded"), ArkitFitter(face)
    given = {} if options.landmarks is None else read_landmarks(options.landmarks)
    for path in list_pictures(options.folder).pictures:
        try:
            image = read_image(path)
            located = locate_faces(image, shipped.detector, landmarks=find_landmarks(given, path.name))
            (results,) = shipped.fit([located])
        except DataError:
            continue
        for number, (record, arrays) in enumerate(results):
            points = located.faces[number].landmarks
            points = np.array(record.landmarks) if points is None else points
            places = np.column_stack([points, np.ones(68)]) @ arrays.transform.T
            crop = torch.from_numpy(arrays.target).permute(2, 0, 1)[None].float() / 255
            pixels = torch.from_numpy(arrays.soft_mask)[None, None].float()
            fit = fit_faces(crop, torch.from_numpy(places)[None].float(), pixels)
            weights, residual = fitter.fit(split_theta(fit.theta).expression[0])
            shapes = np.argsort(-weights)[:SHOWN]
            listed = ", ".join(f"{ARKIT_SHAPES[shape]} {weights[shape]:.2f}" for shape in shapes)
            print(f"{path.name} face {number}: {listed}; residual {residual:.2f} mm", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    renders = commands.add_parser("renders")
    renders.add_argument("face", help="ict, or a file of `face import`")
    renders.add_argument("--number", type=int, default=200)
    renders.add_argument("--first", type=int, default=0)
    renders.add_argument("--size", type=int, default=224)
    renders.add_argument("--fits", type=Path)
    renders.add_argument("--sparsity", type=float, nargs="+", default=[SPARSITY])
    renders.set_defaults(measure=measure_renders)
    photographs = commands.add_parser("photographs")
    photographs.add_argument("face", help="ict, or a file of `face import`")
    photographs.add_argument("folder", type=Path)
    photographs.add_argument("--landmarks", type=Path)
    photographs.set_defaults(measure=measure_photographs)
    for command in (renders, photographs):
        command.add_argument("--expression", type=float, default=EXPRESSION)
    options = parser.parse_args()
    appearance = focus_ray.load("embedded").model.appearance
    assert appearance is not None
    face = load_face(options.face)
    settings = FIT_SETTINGS.model_copy(update={"expression": options.expression * FIT_SETTINGS.identity})
    options.measure(options, face, partial(fit_from_landmarks, face, appearance, settings=settings))


if __name__ == "__main__":
    main()
