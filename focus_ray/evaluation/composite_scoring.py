"""Fits composites as `reconstruct` does and scores each one: the model's own mask and masks that are not learned.

own                the model's segmenter
all_ones           no outliers: every rendered pixel is face
skin_colour        a Gaussian of skin colours, fitted to synthetic training pictures
colour_histograms  an EM over the colours of each picture

Each mask also guides its own refinement. Outliers in truth are the pasted pixels inside the rendered region; pixels of
the crop outside the picture do not count.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from focus_ray.data.align import Crop
from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.data.detectors.detection import Detection, Detector, bounding_box
from focus_ray.data.landmark_check import validate_landmarks
from focus_ray.data.mask import warp_mask
from focus_ray.errors import LandmarkError
from focus_ray.evaluation.baselines.colour_histograms import ColourHistogramSegmenter
from focus_ray.evaluation.benchmark.method_loader import fit_skin_colour
from focus_ray.evaluation.landmark_error import face_size, match_face
from focus_ray.evaluation.methods import all_ones_mask
from focus_ray.evaluation.skin_tone import typology_angle
from focus_ray.focus.refine import MaskFn
from focus_ray.inference.face_locations import FaceLocations, align_faces
from focus_ray.inference.learn_appearance import skin_tones
from focus_ray.inference.predictor import Prediction, Predictor
from focus_ray.inference.self_alignment import DEFAULT_ALIGNMENT, extract_crops
from focus_ray.model import Model

ONE_PASS, REFINED = "one_pass", "refined"
OWN = "own"
MASKS = (OWN, "all_ones", "skin_colour", "colour_histograms")

BATCH = 8  # pictures

_LEAST_OVERLAP = 0.3  # intersection over union with the true face's box from which a detection is that face
_SKIN_PRESET, _SKIN_PICTURES = "embedded", 200
_WHITE = 255

Variant = tuple[str, str]
"""Pass (one_pass, refined) and mask."""


@runtime_checkable
class Composites(Protocol):
    """Pictures with landmarks and exact masks of what was pasted: see `CompositeFolder`."""

    rows: list[CompositeRow]

    def __len__(self) -> int: ...

    def picture(self, row: CompositeRow) -> UInt8[np.ndarray, "H W 3"]:
        """Read the picture of a row."""
        ...

    def landmarks(self, row: CompositeRow) -> Float[np.ndarray, "68 2"]:
        """Return the landmarks of a row, px of the picture."""
        ...

    def occluder(self, row: CompositeRow, height: int, width: int) -> Bool[np.ndarray, "height width"]:
        """Read where something is pasted."""
        ...


class PictureScores(NamedTuple):
    """Scores of one composite; the counts are of rendered pixels inside the picture."""

    true_outlier: float  # pasted, predicted outlier
    missed_outlier: float  # pasted, predicted face
    false_outlier: float  # face, predicted outlier
    true_face: float  # face, predicted face
    occlusion: float  # occlusion_fraction of `reconstruct`
    nme: float  # mean landmark error, share of the size of the face
    rmse_255: float  # colour error over rendered pixels that are not pasted, 0 to 255; NaN if there are none
    albedo_tone: float  # individual typology angle of the albedo's skin, degrees; NaN if no skin is rendered


@dataclass(frozen=True)
class CompositeScores:
    """Scores of a folder.

    Attributes:
        rows: the composites.
        found: whether each face was located; the scores of the others are NaN.
        scores: by pass and mask, a row of PictureScores for each composite.
    """

    rows: list[CompositeRow]
    found: Bool[np.ndarray, " N"]
    scores: dict[Variant, Float[np.ndarray, "N 8"]]


class _View(NamedTuple):
    """A crop of a composite, and the truth in it."""

    crop: Crop
    image: Float[Tensor, "1 3 S S"]
    pasted: Bool[np.ndarray, "S S"]
    inside: Bool[np.ndarray, "S S"]  # inside the picture


class _CroppedFace(NamedTuple):
    """An aligned face: its crop by size, landmarks for the refinement, and the true ones."""

    views: dict[int, _View]
    anchors: Float[np.ndarray, "68 2"]  # px of the picture
    landmarks: Float[np.ndarray, "68 2"]  # px of the picture, true


class CompositeScorer:
    """Locates, aligns, fits and scores composites."""

    def __init__(
        self, model: Model, refine_steps: int, detector: Detector | None = None, masks: Sequence[str] = MASKS
    ) -> None:
        """Prepare the masks.

        Args:
            model: the model.
            refine_steps: steps of the refined variants; 0: one pass only.
            detector: locates the faces; None: the given landmarks do.
            masks: names of the masks to score, of MASKS.
        """
        self.detector = detector
        self.image_size = model.image_size
        self.passes = {ONE_PASS: 0} | ({REFINED: refine_steps} if refine_steps else {})
        rules = mask_functions(masks)
        self.predictors = {name: Predictor.for_photographs(model, rule).eval() for name, rule in rules.items()}

    @property
    def variants(self) -> list[Variant]:
        """All passes and masks."""
        return [(name, mask) for name in self.passes for mask in self.predictors]

    def score(self, folder: Composites, rows: Sequence[CompositeRow]) -> list[Mapping[Variant, PictureScores] | None]:
        """Score some composites.

        Args:
            folder: their folder.
            rows: the composites.

        Returns:
            Scores by pass and mask; None where the face was not located.

        Raises:
            ImageError: a picture or mask is missing or damaged.
            LandmarkError: landmarks are not those of a face.
        """
        located = [self._locate(folder, row) for row in rows]
        faces = self._align(folder, [pair for pair in zip(rows, located, strict=True) if pair[1] is not None])
        scores: list[dict[Variant, PictureScores]] = [{} for _ in faces]
        if faces:
            images = _stack_views(faces, self.image_size)
            crops = [face.views[self.image_size].crop for face in faces]
            anchors = torch.stack(
                [torch.from_numpy(crop.to_crop(face.anchors)).float() for crop, face in zip(crops, faces, strict=True)]
            )
            for name, mask in self.variants:
                predictor = self.predictors[mask]
                detailed = _stack_views(faces, predictor.fine_size)
                prediction = predictor(images, anchors, self.passes[name], detailed)
                for place, face in enumerate(faces):
                    tone = _albedo_tone(predictor, prediction, place)
                    scores[place][name, mask] = _score_face(face, prediction, place, tone)
        answers = iter(scores)
        return [None if one is None else next(answers) for one in located]

    def _locate(self, folder: Composites, row: CompositeRow) -> FaceLocations | None:
        image = folder.picture(row)
        points = validate_landmarks(folder.landmarks(row), *image.shape[:2])
        if self.detector is None:
            return FaceLocations(image, [Detection(bounding_box(points), landmarks=points)], "landmarks")
        face, _ = match_face(self.detector.detect(image), points, _LEAST_OVERLAP)
        if face is None:
            return None
        locations = FaceLocations(image, [face])
        try:
            locations.initial_crop(face, self.image_size, DEFAULT_ALIGNMENT)
        except LandmarkError:  # detected landmarks without extent
            return None
        return locations

    def _align(
        self, folder: Composites, located: Iterable[tuple[CompositeRow, FaceLocations | None]]
    ) -> list[_CroppedFace]:
        pairs = [(row, one) for row, one in located if one is not None]
        predictor = next(iter(self.predictors.values()))  # all have the same networks
        aligned = align_faces(predictor.landmarks, [one for _, one in pairs], self.image_size)
        faces = []
        for (row, picture), (crop, points, _) in zip(pairs, aligned, strict=True):
            occluder = folder.occluder(row, *picture.image.shape[:2])
            sizes = {self.image_size} | {predictor.fine_size for predictor in self.predictors.values()}
            views = {size: _view(picture.image, crop.resized(size), occluder) for size in sizes}
            faces.append(_CroppedFace(views, points, folder.landmarks(row)))
        return faces


def score_composites(
    scorer: CompositeScorer, folder: Composites, progress: Callable[[int, int], object] | None = None
) -> CompositeScores:
    """Score all composites of a folder.

    Args:
        scorer: scores them.
        folder: the composites.
        progress: called with composites done and composites in all.

    Raises:
        ImageError: a picture or mask is missing or damaged.
        LandmarkError: landmarks are not those of a face.
    """
    found: list[Mapping[Variant, PictureScores] | None] = []
    for start in range(0, len(folder), BATCH):
        found += scorer.score(folder, folder.rows[start : start + BATCH])
        if progress is not None:
            progress(len(found), len(folder))
    unknown = (np.nan,) * len(PictureScores._fields)
    tables = {
        variant: np.array([unknown if one is None else one[variant] for one in found]) for variant in scorer.variants
    }
    return CompositeScores(folder.rows, np.array([one is not None for one in found]), tables)


def mask_functions(names: Sequence[str] = MASKS) -> dict[str, MaskFn | None]:
    """Return the rules of some masks by name; None: the model's segmenter.

    Args:
        names: of MASKS.
    """
    return {name: _MASK_FUNCTIONS[name]() for name in names}


def _view(image: UInt8[np.ndarray, "H W 3"], crop: Crop, occluder: Bool[np.ndarray, "H W"]) -> _View:
    inside = warp_mask(crop, np.ones(occluder.shape, dtype=bool))
    return _View(crop, extract_crops(image, [crop]), warp_mask(crop, occluder), inside)


def _stack_views(faces: Sequence[_CroppedFace], size: int) -> Float[Tensor, "B 3 S S"]:
    return torch.cat([face.views[size].image for face in faces])


def _score_face(face: _CroppedFace, prediction: Prediction, place: int, albedo_tone: float) -> PictureScores:
    view = face.views[prediction.images.shape[-1]]
    region = prediction.region[place, 0].numpy() & view.inside
    outlier = ~prediction.binary_mask[place, 0].numpy()
    visible = region & ~view.pasted
    fitted = view.crop.to_image(prediction.rendering.landmarks[place].double().numpy())
    size = face_size(face.landmarks, "box")
    return PictureScores(
        true_outlier=float((region & view.pasted & outlier).sum()),
        missed_outlier=float((region & view.pasted & ~outlier).sum()),
        false_outlier=float((visible & outlier).sum()),
        true_face=float((visible & ~outlier).sum()),
        occlusion=float(prediction.occlusion[place]),
        nme=float(np.linalg.norm(fitted - face.landmarks, axis=1).mean()) / size,
        rmse_255=_rmse_255(prediction, place, visible),
        albedo_tone=albedo_tone,
    )


def _albedo_tone(predictor: Predictor, prediction: Prediction, place: int) -> float:
    one = slice(place, place + 1)
    face_model, rendering = predictor.focus.face_model, prediction.rendering.rows(one)
    with torch.no_grad():
        _, albedo = skin_tones(face_model, prediction.images[place], rendering, prediction.theta[place])
    return typology_angle(albedo.clamp(0, 1).double().numpy()) if bool(albedo.any()) else float("nan")


def _rmse_255(prediction: Prediction, place: int, visible: Bool[np.ndarray, "S S"]) -> float:
    if not visible.any():
        return float("nan")
    rendered = prediction.rendering.image[place].clamp(0, 1)
    difference = (prediction.images[place] - rendered)[:, torch.from_numpy(visible)]
    return float(_WHITE * difference.double().square().mean().sqrt())


_MASK_FUNCTIONS: dict[str, Callable[[], MaskFn | None]] = {
    OWN: lambda: None,
    "all_ones": lambda: all_ones_mask,
    "skin_colour": lambda: fit_skin_colour(_SKIN_PRESET, _SKIN_PICTURES),
    "colour_histograms": ColourHistogramSegmenter,
}
