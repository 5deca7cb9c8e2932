"""Compares face models at equal numbers of modes: how well each explains people, and the renders of the other.

    python benchmarks/face_models.py --face parametric --face ict --portraits FOLDER --split report \\
        --photos FOLDER --renders 16 [--modes 80,64,80] [--limit N] [--steps N] [--json FILE]

All faces are fitted without an encoder (focus_ray.inference.fit_from_landmarks) to the same crops of 224 px, with the
same terms, priors and steps. A face is `parametric`, `ict`, or NAME=FILE of an imported one.

Pictures: every other block of 8 x 8 px of the face and the even landmarks are fitted; the figures are of the others.
The face is the convex hull of the landmarks, with the forehead up to a third of the distance from brows to chin; of
photographs, what the shipped model's mask keeps of it. Colour: root mean square of all channels over the held-out
pixels that all faces render, of 255. Landmarks: mean distance, % of the distance of the outer eye corners; "centred"
after the mean offset of each landmark in the other pictures is subtracted, as annotations and faces put some landmarks
at other places. Identity: root mean square of the coefficients, standard deviations. Coverage: share of the face that
is rendered. Intervals are of the paired difference from the first face, over pictures.

Renders: each face's random people, fitted by each face from all pixels and landmarks; mean distance of the true
vertices that are drawn within the hull of the landmarks from the fitted surface, after the similarity of least
distance, mm. Vertices: mean distance of these vertices from their fitted places after a similarity, where both are of
one face.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from focus_ray import model as models
from focus_ray.data.align import as_float, crop_from_landmarks
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.portraits import read_portrait_list
from focus_ray.evaluation.now.refinement import refine_alignment
from focus_ray.evaluation.now.similarity import procrustes
from focus_ray.evaluation.now.surface import Surface
from focus_ray.evaluation.vertex_error import vertex_errors
from focus_ray.face_models import by_name
from focus_ray.face_models.landmarks import INNER_POINTS
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.appearance import AppearancePrior
from focus_ray.focus.camera import REFERENCE_SIZE, Camera
from focus_ray.focus.parameters import THETA_MODES, join_theta, split_theta
from focus_ray.focus.photo_fit import landmark_weights
from focus_ray.focus.render.renderer import Renderer
from focus_ray.geometry.mesh_reader import TriangleMesh
from focus_ray.inference.fit_from_landmarks import FIT_SETTINGS, LandmarkFit, fit_from_landmarks
from focus_ray.inference.landmark_fit import with_theta_modes
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.numerics.bootstrap import GroupBootstrap, weighted_mean

SIZE, BLOCK, BATCH = REFERENCE_SIZE, 8, 8
FOREHEAD = 1 / 3  # of the distance from brows to chin
OUTER_EYES = (36, 45)
EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
FEW_IDENTITY, SPREAD = 0.8, 0.5  # standard deviations of the identity, and of expression and albedo, of the renders
BACKGROUND = 0.5


class Pictures(NamedTuple):
    """Aligned crops with landmarks, and the pixels of the face."""

    names: list[str]
    images: Tensor  # [N, 3, S, S]
    landmarks: Tensor  # [N, 68, 2]
    face: Tensor  # [N, 1, S, S], 0 or 1

    def part(self, rows: Sequence[int]) -> "Pictures":
        """Return some of the pictures."""
        chosen = list(rows)
        names = [self.names[row] for row in chosen]
        return Pictures(names, self.images[chosen], self.landmarks[chosen], self.face[chosen])


def load_face(text: str) -> tuple[str, MorphableModel]:
    """Return name and model of an argument."""
    name, _, file = text.partition("=")
    if name == "parametric" and not file:
        return name, parametric_face("full", *THETA_MODES)
    return name, by_name.load_face(file or name)


def hull(landmarks: Tensor) -> Tensor:
    """Return the face's pixels [1, S, S] by its landmarks [68, 2]."""
    points = landmarks.numpy()
    brows = points[17:27]
    top = brows + FOREHEAD * (brows.mean(axis=0) - points[8])
    outline = cv2.convexHull(np.concatenate((points, top)).astype(np.float32)).round().astype(np.int32)
    filled = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(filled, outline, 1)
    return torch.from_numpy(filled)[None].float()


def load_pictures(folder: Path, table: Path, names: Sequence[str]) -> Pictures:
    """Read the pictures of a landmark file."""
    given = read_landmarks(str(table))
    images, landmarks = [], []
    for name in names:
        crop = crop_from_landmarks(given[name], SIZE)
        images.append(torch.from_numpy(as_float(crop.warp(read_image(folder / name)))))
        landmarks.append(torch.from_numpy(crop.to_crop(given[name])).float())
    return Pictures(list(names), torch.stack(images), torch.stack(landmarks), torch.stack([hull(p) for p in landmarks]))


def load_portraits(folder: Path, split: str, limit: int) -> Pictures:
    """Return the first portraits of a split, in the order of the file."""
    splits = {portrait.name: portrait.split for portrait in read_portrait_list()}
    table = folder / "landmarks.csv"
    names = [name for name in read_landmarks(str(table)) if splits.get(Path(name).name) == split]
    return load_pictures(folder, table, names[:limit])


def load_photos(folder: Path, limit: int) -> Pictures:
    """Return photographs, without what the shipped model's mask calls outliers in one pass."""
    table = folder / "landmarks68.csv"
    pictures = load_pictures(folder, table, list(read_landmarks(str(table)))[:limit])
    focus = models.load(SHIPPED_MODELS["embedded"]).focus
    small = torch.nn.functional.interpolate(pictures.images, size=(focus.renderer.camera.image_size,) * 2, mode="area")
    with torch.no_grad():
        rendering = focus.renderer(focus.encoder(small))
        outlier = rendering.mask * (focus.mask(small, rendering) < 0.5)
    outlier = torch.nn.functional.interpolate(outlier, size=(SIZE, SIZE))
    return pictures._replace(face=pictures.face * (1 - outlier))


def checkerboard() -> Tensor:
    """Return which pixels [1, S, S] are fitted."""
    blocks = torch.arange(SIZE) // BLOCK
    return ((blocks[:, None] + blocks) % 2 == 0).float()[None]


def fit_all(
    face: MorphableModel, prior: AppearancePrior, pictures: Pictures, pixels: Tensor, steps: int, weights: Tensor
) -> list[LandmarkFit]:
    """Fit one face to all pictures, in batches."""
    settings = FIT_SETTINGS.with_steps(steps)
    fits = []
    for rows in torch.arange(len(pictures.names)).split(BATCH):
        part = pictures.part(rows.tolist())
        fits.append(fit_from_landmarks(face, prior, part.images, part.landmarks, pixels[rows], settings, weights))
    return fits


def score_pictures(
    faces: Mapping[str, MorphableModel], prior: AppearancePrior, pictures: Pictures, steps: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return the figures of each picture by face."""
    weights, board = landmark_weights(), checkerboard()
    weights[ODD] = 0
    fits = {name: fit_all(face, prior, pictures, pictures.face * board, steps, weights) for name, face in faces.items()}
    drawn = {name: torch.cat([fit.rendering.mask for fit in parts]) for name, parts in fits.items()}
    seen = pictures.face * (1 - board) * torch.stack(list(drawn.values())).amin(dim=0)
    eyes = (pictures.landmarks[:, OUTER_EYES[0]] - pictures.landmarks[:, OUTER_EYES[1]]).norm(dim=1)
    scores = {}
    for name, parts in fits.items():
        images = torch.cat([fit.rendering.image for fit in parts]).clamp(0, 1)
        theta = split_theta(torch.cat([fit.theta for fit in parts]))
        points = torch.cat([fit.rendering.landmarks for fit in parts])
        offset = 100 * (points - pictures.landmarks) / eyes[:, None, None]
        error, centred = offset.norm(dim=2), leave_one_out(offset).norm(dim=2)
        inner = torch.tensor([point for point in INNER_POINTS if point % 2])
        squared = (seen * (images - pictures.images).square()).mean(dim=1).sum(dim=(1, 2))
        scores[name] = {
            "colour": 255 * (squared / seen.sum(dim=(1, 2, 3))).sqrt().numpy(),
            "held-out landmarks": error[:, ODD].mean(dim=1).numpy(),
            "centred": centred[:, ODD].mean(dim=1).numpy(),
            "inner centred": centred[:, inner].mean(dim=1).numpy(),
            "fitted landmarks": error[:, EVEN].mean(dim=1).numpy(),
            "identity": theta.identity.square().mean(dim=1).sqrt().numpy(),
            "coverage": ((pictures.face * drawn[name]).sum((1, 2, 3)) / pictures.face.sum((1, 2, 3))).numpy(),
        }
    return scores


def leave_one_out(offsets: Tensor) -> Tensor:
    """Subtract from the offsets [N, 68, 2] of each picture the mean of the others."""
    count = len(offsets)
    return offsets - (offsets.sum(dim=0) - offsets) / max(count - 1, 1)


def people(face: MorphableModel, prior: AppearancePrior, count: int) -> Tensor:
    """Return theta of random people, with poses, expressions and lights as in portraits."""
    generator = torch.Generator().manual_seed(0)
    parts = split_theta(torch.zeros(count, sum(THETA_MODES) + 27 + 6))
    draw = {name: torch.randn(getattr(parts, name).shape, generator=generator) for name in parts._fields}
    spread = torch.linalg.inv(prior.light_whitening).T
    theta = parts._replace(
        identity=FEW_IDENTITY * draw["identity"],
        expression=SPREAD * draw["expression"],
        albedo=SPREAD * draw["albedo"],
        light=prior.light_mean + 0.5 * draw["light"] @ spread.T,
        rotation=draw["rotation"] * torch.tensor((0.1, 0.3, 0.03)),
        translation=torch.zeros(count, 3),
    )
    return join_theta(theta)


def score_renders(
    faces: Mapping[str, MorphableModel], prior: AppearancePrior, count: int, steps: int
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return surface and vertex errors, mm, by the face that was rendered and the one that was fitted."""
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    for shown, face in faces.items():
        full = with_theta_modes(face)
        with torch.no_grad():
            truth = Renderer(full, Camera(image_size=SIZE))(people(full, prior, count))
        images = torch.where(truth.mask > 0, truth.image.clamp(0, 1), torch.tensor(BACKGROUND))
        outline = torch.stack([hull(points) for points in truth.landmarks])
        names = [f"{shown} {number}" for number in range(count)]
        pictures = Pictures(names, images, truth.landmarks, outline * truth.mask)
        table[shown] = {}
        for fitted, other in faces.items():
            fits = fit_all(other, prior, pictures, pictures.face, steps, landmark_weights())
            row: dict[str, list[float]] = {"surface": [], "vertices": [], "colour": []}
            for number in range(count):
                fit, place = fits[number // BATCH], number % BATCH
                vertices = fit.rendering.vertices[place].double().numpy()
                true = truth.vertices[number].double().numpy()
                inside = visible_vertices(truth.triangle_ids[number], outline[number, 0], full.faces, len(true))
                ends = [
                    model.landmarks(torch.from_numpy(points)[None].to(model.mean))[0].double().numpy()
                    for model, points in ((fit.face_model, vertices), (full, true))
                ]
                row["surface"].append(surface_distance(vertices, fit.face_model.faces.numpy(), *ends, true[inside]))
                both = pictures.face[number] * fit.rendering.mask[place]
                squared = (both * (fit.rendering.image[place] - images[number]).square()).mean(dim=0).sum() / both.sum()
                row["colour"].append(255 * float(squared.sqrt()))
                if shown == fitted:
                    row["vertices"].append(float(vertex_errors(vertices, true)[inside].mean()))
            table[shown][fitted] = row
    return table


def visible_vertices(ids: Tensor, outline: Tensor, triangles: Tensor, count: int) -> np.ndarray:
    """Return which vertices [V] have a triangle that is drawn within the outline of the face."""
    drawn = ids[(ids >= 0) & (outline > 0)].unique()
    inside = np.zeros(count, dtype=bool)
    inside[triangles[drawn].unique().numpy()] = True
    return inside


def surface_distance(
    vertices: np.ndarray, triangles: np.ndarray, ends: np.ndarray, true_ends: np.ndarray, points: np.ndarray
) -> float:
    """Return the mean distance of true points to a fitted surface after the best similarity, mm."""
    coarse = procrustes(ends, true_ends)
    moved = coarse(vertices)
    fine = refine_alignment(points, Surface(TriangleMesh(moved, triangles)))
    return float(Surface(TriangleMesh(fine(moved), triangles)).distances(points).mean())


def summarize(scores: dict[str, dict[str, np.ndarray]], names: Sequence[str]) -> dict[str, Any]:
    """Return means by face, and the paired differences from the first face with their intervals."""
    bootstrap, everyone = GroupBootstrap(list(names)), np.ones(len(names), dtype=bool)
    first = next(iter(scores.values()))
    return {
        name: {
            key: {
                "mean": float(np.nanmean(values)),
                "difference": bootstrap.interval(weighted_mean((values - first[key]).astype(np.float64)), everyone),
            }
            for key, values in figures.items()
        }
        for name, figures in scores.items()
    }


def print_pictures(title: str, summary: dict[str, Any]) -> None:
    """Print a table of pictures."""
    keys = list(next(iter(summary.values())))
    print(f"\n{title}\n| | {' | '.join(keys)} |")
    for name, figures in summary.items():
        cells = []
        for key in keys:
            cell = f"{figures[key]['mean']:.3g}"
            change = figures[key]["difference"]
            if name != next(iter(summary)) and change.low is not None:
                cell += f" ({change.value:+.2f}, {change.low:+.2f} to {change.high:+.2f})"
            cells.append(cell)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_renders(table: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    """Print the table of renders."""
    print("\n| rendered | fitted | surface, mm | vertices, mm | colour |")
    for shown, rows in table.items():
        for fitted, row in rows.items():
            vertices = f"{np.mean(row['vertices']):.2f}" if row["vertices"] else "-"
            print(f"| {shown} | {fitted} | {np.mean(row['surface']):.2f} | {vertices} | {np.mean(row['colour']):.1f} |")


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--face", action="append", required=True, help="parametric, or NAME=FILE; the first is compared"
    )
    parser.add_argument("--modes", default="80,64,80", help="identity, expression and albedo modes")
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--split", default="report")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--renders", type=int, default=0)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=FIT_SETTINGS.steps)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    modes = [int(number) for number in given.modes.split(",")]
    faces = {name: face.truncate(*modes) for name, face in map(load_face, given.face)}
    prior = models.load(SHIPPED_MODELS["embedded"]).appearance
    assert prior is not None
    result: dict[str, Any] = {"modes": modes, "steps": given.steps}
    sets = {}
    if given.portraits:
        sets["portraits"] = load_portraits(given.portraits, given.split, given.limit)
    if given.photos:
        sets["photographs"] = load_photos(given.photos, given.limit)
    for title, pictures in sets.items():
        summary = summarize(score_pictures(faces, prior, pictures, given.steps), pictures.names)
        print_pictures(f"{len(pictures.names)} {title}, {given.modes} modes, {given.steps} steps", summary)
        result[title] = summary
    if given.renders:
        result["renders"] = score_renders(faces, prior, given.renders, given.steps)
        print_renders(result["renders"])
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
