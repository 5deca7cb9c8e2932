"""Scores of cases: what is fitted is what `reconstruct` fits, and when a fit is wrong."""

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.evaluation.calibration.scoring import ScoredCases, WrongFit, score_cases
from focus_ray.inference.quality import QualityMeasures
from focus_ray.inference.reconstructor import Reconstructor
from focus_ray.model import Model
from tests.evaluation.calibration.composites import TrueFaces

MEASURES = QualityMeasures(crop_scale=0.5, outside=0.0, occlusion=0.1, yaw=0.0, pitch=0.0, first_residual=20.0)


def scored(**columns) -> ScoredCases:
    given = {"nme": [0.01, 0.09, np.inf], "covered": [0.0, 0.2, 0.2], "outlier_iou": [np.nan, 0.2, 0.6]} | columns
    arrays = {name: np.array(values, dtype=np.float64) for name, values in given.items()}
    kinds = ["detected", "detected", "no_face"]
    return ScoredCases(kinds, ["anna", "bert", "anna"], [MEASURES] * 3, **arrays, composites=2, found=2)


def test_geometry_and_mask_are_wrong_separately():
    cases = scored()
    assert cases.wrong_geometry(WrongFit()).tolist() == [False, True, True]
    assert cases.wrong_geometry(WrongFit(nme=0.1)).tolist() == [False, False, True]
    assert cases.wrong_mask(WrongFit()).tolist() == [False, True, False]
    assert cases.wrong_mask(WrongFit(covered=0.3)).tolist() == [False, False, False]
    assert cases.wrong_mask(WrongFit(outlier_iou=0.7)).tolist() == [False, True, True]
    nothing = scored(covered=[0.2, 0.2, 0.2], outlier_iou=[np.nan, 0.2, 0.6])
    assert nothing.wrong_mask(WrongFit()).tolist() == [True, True, False]


def test_some_of_the_cases():
    part = scored().select(np.array([False, True, True]))
    assert (part.kinds, part.persons, len(part)) == (["detected", "no_face"], ["bert", "anna"], 2)
    assert part.nme.tolist() == [0.09, np.inf]
    assert part.detected.tolist() == [True, False]
    assert part.values("first_residual").tolist() == [20.0, 20.0]
    assert np.isnan(part.values("residual")).all()


def test_fits_are_those_of_reconstruct(composites: CompositeFolder, model: Model):
    detector = TrueFaces(composites)
    reconstructor = Reconstructor(model, detector)
    calls = []
    cases = score_cases(reconstructor, composites, 0, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 8) for number in range(1, 9)]
    assert (cases.composites, cases.found) == (8, 8)
    assert cases.detected.sum() == 8
    assert len(cases) > 12
    place = cases.kinds.index("detected")
    row = composites.rows[0]
    image, points = composites.picture(row), composites.landmarks(row)
    ((face, arrays),) = reconstructor.reconstruct(image, landmarks=points + 1.0, refine=0)
    error = np.linalg.norm(np.array(face.landmarks) - points, axis=1).mean()
    assert cases.nme[place] == pytest.approx(error / np.sqrt(np.prod(np.ptp(points, axis=0))), rel=1e-5)
    assert arrays.measures is not None
    assert cases.measures[place].occlusion == pytest.approx(arrays.measures.occlusion, abs=1e-6)
    is_open = np.array([row.is_open for row in composites.rows])
    covered = cases.covered[cases.detected]
    assert (covered[is_open] == 0).all()
    assert (covered[~is_open] > 0).all()
    assert np.isinf(cases.nme[[kind == "no_face" for kind in cases.kinds]]).all()
