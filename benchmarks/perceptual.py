"""Measures how well each comparison of target and rendering tells outliers from face; prints the area under the ROC.

    python benchmarks/perceptual.py [--model DIR] [--faces 200] [--json FILE]
    python benchmarks/perceptual.py --composites DIR [--size 224] [--recogniser arcface=backbone.pth ...]
    python benchmarks/perceptual.py --people DIR --recogniser arcface=backbone.pth

A pixel's score is the cosine distance of two feature maps there, or the colour residual. 0.5 is chance. Occluded faces
are looked at inside the rendered face, in one pass and after refinement: synthetic validation faces, or photographs
with pasted occluders (`focus-ray data occlude`), these at `--size` px and where ArcFace's aligned crop is, on the same
pixels for all comparisons. `--people` measures the embeddings: of all pairs of pictures, those of one person are the
nearer ones; file names or folders tell the persons, as in training.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from focus_ray import model as models
from focus_ray import presets
from focus_ray.data.align import crop_from_landmarks
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.photo_split import group_by_person
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.face_models.landmarks import five_points
from focus_ray.focus.losses import neighbor_residual
from focus_ray.focus.losses.distances import squared_distance
from focus_ray.focus.networks.alignment import ARCFACE_SIZE, ARCFACE_TEMPLATE, similarity_transform
from focus_ray.focus.networks.face_mesh_network import TEMPLATE as MESH_TEMPLATE
from focus_ray.focus.networks.face_mesh_network import FaceMeshNetwork
from focus_ray.focus.networks.perceptual import ArcFacePerceptual, EncoderPerceptual
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.inference.predictor import Predictor
from focus_ray.recognisers.load import load_recogniser
from focus_ray.training.assemble import world_face

Score = Callable[[Batch, Rendering], Tensor]
BATCH = 50
PEOPLE_SIZE = 224  # px


def feature_score(perceptual: EncoderPerceptual) -> Score:
    """1 - cos of F's shallow maps, location by location, at the size of the picture."""

    def score(batch: Batch, rendering: Rendering) -> Tensor:
        target = perceptual.shallow(batch.images, batch.landmarks)
        drawn = perceptual.shallow(rendering.image, rendering.landmarks)
        distance = 1 - functional.cosine_similarity(target, drawn)
        return functional.interpolate(distance[:, None], batch.images.shape[-1], mode="bilinear")

    return score


def recogniser_score(perceptual: ArcFacePerceptual) -> Score:
    """1 - cos of the shallow maps of the aligned faces, each in its own crop, at the pixels of the target."""
    is_mesh = isinstance(perceptual.network, FaceMeshNetwork)
    template, size = (MESH_TEMPLATE, 192) if is_mesh else (ARCFACE_TEMPLATE, ARCFACE_SIZE)

    def score(batch: Batch, rendering: Rendering) -> Tensor:
        target = perceptual.shallow(batch.images * rendering.mask, batch.landmarks)
        drawn = perceptual.shallow(rendering.image * rendering.mask, rendering.landmarks)
        distance = 1 - functional.cosine_similarity(target, drawn)
        grid = 2 * crop_positions(batch, template) / (size - 1) - 1
        return functional.grid_sample(distance[:, None], grid, align_corners=True)

    return score


def crop_positions(batch: Batch, template: tuple[tuple[float, float], ...]) -> Tensor:
    """Where each pixel of the images lies in the aligned crop, px of the template [B, H, W, 2]."""
    points = five_points(batch.landmarks)
    linear, shift = similarity_transform(points, points.new_tensor(template).expand(len(points), -1, -1))
    steps = torch.arange(batch.images.shape[-1], dtype=points.dtype)
    pixels = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    return pixels @ linear[:, None].mT + shift[:, None, None]


def area_under_roc(scores: Tensor, outlier: Tensor) -> float:
    """The chance that an outlier scores higher than a pixel of the face; ties count half."""
    ranks = rankdata(scores.numpy())
    positive = int(outlier.sum())
    negative = len(outlier) - positive
    return float((ranks[outlier.numpy()].sum() - positive * (positive + 1) / 2) / (positive * negative))


def comparisons(model: models.Model) -> dict[str, Score]:
    """What is compared, by name."""
    found: dict[str, Score] = {}
    if isinstance(model.focus.perceptual, EncoderPerceptual):
        found["warm-up encoder (F)"] = feature_score(model.focus.perceptual)
    random = EncoderPerceptual(models.build_encoder(model.settings))
    after_em = EncoderPerceptual(model.focus.encoder)  # type: ignore[arg-type]
    return found | {
        "encoder after EM": feature_score(after_em),
        "same network, random": feature_score(random),
        "colour residual": lambda batch, rendering: squared_distance(batch.images, rendering.image),
        "neighbour residual": lambda batch, rendering: neighbor_residual(batch.images, rendering.image),
    }


def synthetic_batches(model: models.Model, count: int) -> Iterator[Batch]:
    """The occluded ones of the validation faces."""
    config = presets.embedded()
    laws = config.data.synthetic.model_copy(update={"image_size": model.image_size, "seed": 1})
    faces = SyntheticFaces(world_face(config), laws, "validation")
    for start in range(0, count, BATCH):
        batch = faces.batch(range(start, min(start + BATCH, count)))
        assert batch.occluded is not None
        yield batch.select(batch.occluded.nonzero()[:, 0].tolist())


def composite_batches(folder: Path, count: int, size: int) -> Iterator[Batch]:
    """The first photographs with a pasted occluder, aligned; masks are 0 where the occluder is."""
    composites = CompositeFolder(folder)
    rows = [row for row in composites.rows if not row.is_open][:count]
    for start in range(0, len(rows), BATCH):
        images, landmarks, masks = [], [], []
        for row in rows[start : start + BATCH]:
            picture, points = composites.picture(row), composites.landmarks(row)
            crop = crop_from_landmarks(points, size)
            images.append(crop.warp(picture).astype(np.float32) / 255)
            landmarks.append(crop.to_crop(points).astype(np.float32))
            masks.append(crop.warp((~composites.occluder(row, *picture.shape[:2])).astype(np.float32)) > 0.5)
        yield Batch(
            torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(np.stack(landmarks)),
            masks=torch.from_numpy(np.stack(masks))[:, None].float(),
        )


def measure(
    model: models.Model, batches: Iterator[Batch], scores: dict[str, Score], *, size: int, aligned: bool
) -> dict[str, dict[str, float]]:
    """{comparison: {one_pass, refined}}: areas under the ROC over all pixels, `aligned`: those of the aligned crop."""
    predictor = Predictor(model.focus, model.refine).eval()
    camera = model.settings.camera.model_copy(update={"image_size": size})
    renderer = Renderer(model.focus.face_model, camera)
    found: dict[tuple[str, str], list[Tensor]] = {}
    outliers: dict[str, list[Tensor]] = {"one_pass": [], "refined": []}
    for batch in batches:
        assert batch.masks is not None
        small = resize(batch, model.image_size)
        for kind, steps in (("one_pass", 0), ("refined", None)):
            prediction = predictor(small.images, small.landmarks, steps=steps)
            with torch.no_grad():
                rendering = prediction.rendering if size == model.image_size else renderer(prediction.theta)
                inside = rendering.mask > 0
                if aligned:
                    positions = crop_positions(batch, ARCFACE_TEMPLATE)
                    inside &= ((positions >= 0) & (positions <= ARCFACE_SIZE - 1)).all(dim=-1)[:, None]
                outliers[kind].append(batch.masks[inside] == 0)
                for name, score in scores.items():
                    found.setdefault((name, kind), []).append(score(batch, rendering)[inside])
    return {
        name: {kind: area_under_roc(torch.cat(found[name, kind]), torch.cat(outliers[kind])) for kind in outliers}
        for name in scores
    }


def resize(batch: Batch, size: int) -> Batch:
    """The batch at the size of the encoder; pixel centres are kept."""
    given = batch.images.shape[-1]
    if given == size:
        return batch
    images = functional.interpolate(batch.images, size, mode="bilinear", antialias=True, align_corners=False)
    return replace(batch, images=images, landmarks=(batch.landmarks + 0.5) * (size / given) - 0.5, masks=None)


def same_person_area(perceptual: ArcFacePerceptual, folder: Path) -> tuple[float, int, int]:
    """Area under the ROC of cosines, same person against different ones, and the numbers of both pairs."""
    landmarks = read_landmarks(folder / "landmarks.csv")
    names = list(landmarks)
    embeddings = []
    for name in names:
        crop = crop_from_landmarks(landmarks[name], PEOPLE_SIZE)
        image = torch.from_numpy(crop.warp(read_image(folder / name)).astype(np.float32) / 255).permute(2, 0, 1)
        points = torch.from_numpy(crop.to_crop(landmarks[name]).astype(np.float32))
        with torch.no_grad():
            embeddings.append(perceptual.embedding(image[None].contiguous(), points[None]))
    cosines = torch.cat(embeddings) @ torch.cat(embeddings).mT
    person = torch.zeros(len(names), dtype=torch.long)
    for number, group in enumerate(group_by_person(names)):
        person[group] = number
    first, second = torch.triu_indices(len(names), len(names), 1)
    same = person[first] == person[second]
    return area_under_roc(cosines[first, second], same), int(same.sum()), int((~same).sum())


def read_recognisers(named: list[str]) -> dict[str, ArcFacePerceptual]:
    """KIND=FILE, or KIND alone where the package has the file."""
    found = {}
    for entry in named:
        kind, _, file = entry.partition("=")
        found[entry] = ArcFacePerceptual(load_recogniser(kind, Path(file) if file else None))  # type: ignore[arg-type]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model folder; the shipped one unless given")
    parser.add_argument("--faces", type=int, default=200, help="faces; of the synthetic ones about half are occluded")
    parser.add_argument("--composites", type=Path, help="folder of composites instead of synthetic faces")
    parser.add_argument("--size", type=int, help="px of the compared composites; the model's unless given")
    parser.add_argument("--recogniser", nargs="*", default=[], metavar="KIND[=FILE]", help="as model.perceptual")
    parser.add_argument("--people", type=Path, help="folder of photographs with landmarks.csv, several of a person")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    torch.manual_seed(0)
    recognisers = read_recognisers(options.recogniser)
    if options.people is not None:
        for name, perceptual in recognisers.items():
            area, same, different = same_person_area(perceptual, options.people)
            print(f"  {Path(name).name:40} {area:8.3f}  ({same} pairs of one person, {different} of two)")
        return
    model = models.load(options.model)
    size = options.size or model.image_size
    scores = comparisons(model) | {Path(name).name: recogniser_score(one) for name, one in recognisers.items()}
    if options.composites is None:
        size, batches = model.image_size, synthetic_batches(model, options.faces)
    else:
        batches = composite_batches(options.composites, options.faces, size)
    results = measure(model, batches, scores, size=size, aligned=options.composites is not None)
    print(f"{'area under the ROC, outlier against face':42} one pass  refined")
    for name, areas in results.items():
        print(f"  {name:40} {areas['one_pass']:8.3f} {areas['refined']:8.3f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
