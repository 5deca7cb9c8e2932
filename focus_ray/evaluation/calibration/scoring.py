"""Fits the cases of a folder of composites as `reconstruct` does, and compares each fit with the truth."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from focus_ray.data.align import Crop
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.mask import warp_mask
from focus_ray.evaluation.calibration.cases import DETECTED, CalibrationCase, calibration_cases
from focus_ray.evaluation.landmark_error import face_size
from focus_ray.inference.face_result import FaceArrays, FaceResult
from focus_ray.inference.quality import QualityMeasures
from focus_ray.inference.reconstructor import Reconstructor
from focus_ray.settings import Settings

BATCH = 8  # cases that are fitted together
_WHITE = 255


class WrongFit(Settings):
    """When a fit is wrong. Geometry and mask are judged separately.

    The geometry is wrong if there is no face, or the mean landmark error is larger than `nme`. The mask is wrong if an
    occluder covers at least `covered` of the rendered region and the IoU of the outliers with it is below
    `outlier_iou`.
    """

    nme: float = Field(default=0.08, gt=0)  # of sqrt(width x height) of the box of the true landmarks
    outlier_iou: float = Field(default=0.3, gt=0, le=1)
    covered: float = Field(default=0.1, gt=0, le=1)


@dataclass(frozen=True, eq=False)
class ScoredCases:
    """Scores of some cases; the arrays and lists have an entry for each one.

    Attributes:
        kinds: kind of each case.
        persons: person of each composite.
        measures: what was measured of each fit.
        nme: landmark error of each fit, share of the size of the face; infinite where there is no face.
        covered: share of the rendered region, inside the picture, that the occluder covers.
        outlier_iou: IoU of the mask's outliers with the occluder; NaN where there are neither.
        composites: number of composites.
        found: number of composites whose face the detector found.
    """

    kinds: list[str]
    persons: list[str]
    measures: list[QualityMeasures]
    nme: Float[np.ndarray, " N"]
    covered: Float[np.ndarray, " N"]
    outlier_iou: Float[np.ndarray, " N"]
    composites: int
    found: int

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def detected(self) -> Bool[np.ndarray, " N"]:
        """Whether each case is a face as the detector found it."""
        return np.array([kind == DETECTED for kind in self.kinds], dtype=bool)

    def wrong_geometry(self, wrong: WrongFit) -> Bool[np.ndarray, " N"]:
        """Return whether the geometry of each fit is wrong."""
        return self.nme > wrong.nme

    def wrong_mask(self, wrong: WrongFit) -> Bool[np.ndarray, " N"]:
        """Return whether the mask of each fit is wrong."""
        return (self.covered >= wrong.covered) & (np.nan_to_num(self.outlier_iou) < wrong.outlier_iou)

    def values(self, measure: str) -> Float[np.ndarray, " N"]:
        """Return the values of a measure; NaN where it is not known."""
        found = [getattr(one, measure) for one in self.measures]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    def select(self, members: Bool[np.ndarray, " N"]) -> "ScoredCases":
        """Return some of the cases; the numbers of composites stay those of the folder."""
        lists = {
            name: [value for value, keep in zip(getattr(self, name), members, strict=True) if keep] for name in _LISTS
        }
        arrays = {name: getattr(self, name)[members] for name in _ARRAYS}
        return ScoredCases(**lists, **arrays, composites=self.composites, found=self.found)


_LISTS = ("kinds", "persons", "measures")
_ARRAYS = ("nme", "covered", "outlier_iou")
assert {field.name for field in fields(ScoredCases)} == {*_LISTS, *_ARRAYS, "composites", "found"}


def score_cases(
    reconstructor: Reconstructor,
    folder: CompositeFolder,
    refine_steps: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> ScoredCases:
    """Fit and score the cases of all composites of a folder.

    Args:
        reconstructor: the model and the detector.
        folder: the composites.
        refine_steps: refinement steps; None: the model's own number.
        seed: seed of the displacements.
        progress: called with composites done and composites in all.

    Raises:
        ImageError: a picture or mask is missing or damaged.
        LandmarkError: landmarks are not those of a face.
    """
    cases: list[CalibrationCase] = []
    scores: list[tuple[QualityMeasures, float, float, float]] = []
    kinds, persons, found = [], [], 0
    for index in range(len(folder)):
        made, was_found = calibration_cases(folder, index, reconstructor.detector, seed)
        found += was_found
        cases += made
        kinds += [case.kind for case in made]
        persons += [case.row.person for case in made]
        if len(cases) >= BATCH or index + 1 == len(folder):
            scores += _score(reconstructor, cases, refine_steps)
            cases = []
        if progress is not None:
            progress(index + 1, len(folder))
    columns = [np.array([row[place] for row in scores], dtype=np.float64) for place in (1, 2, 3)]
    return ScoredCases(kinds, persons, [row[0] for row in scores], *columns, composites=len(folder), found=found)


def _score(
    reconstructor: Reconstructor, cases: Sequence[CalibrationCase], refine_steps: int | None
) -> Iterable[tuple[QualityMeasures, float, float, float]]:
    """Fit some cases; yields the measures, landmark error, covered share and outlier IoU of each one."""
    fitted = reconstructor.fit([case.picture for case in cases], refine_steps)
    for case, (result,) in zip(cases, fitted, strict=True):
        assert result.arrays.measures is not None
        yield result.arrays.measures, _landmark_error(case, result), *_score_mask(case, result.arrays)


def _landmark_error(case: CalibrationCase, result: FaceResult) -> float:
    if case.landmarks is None:
        return float("inf")
    distances = np.linalg.norm(np.array(result.face.landmarks) - case.landmarks, axis=1)
    return float(distances.mean()) / face_size(case.landmarks, "box")


def _score_mask(case: CalibrationCase, arrays: FaceArrays) -> tuple[float, float]:
    """Return the covered share of the rendered region inside the picture, and the IoU of the outliers."""
    crop = Crop(arrays.transform, len(arrays.region))
    region = arrays.region & warp_mask(crop, np.ones(case.picture.image.shape[:2], dtype=bool))
    pasted, outlier = region & warp_mask(crop, case.pasted), region & ~arrays.mask
    union = int((pasted | outlier).sum())
    iou = int((pasted & outlier).sum()) / union if union else float("nan")
    return int(pasted.sum()) / max(int(region.sum()), 1), iou
