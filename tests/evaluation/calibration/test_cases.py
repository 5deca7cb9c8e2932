"""Cases beside the composites: where each one puts the face, and what it says the truth is."""

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.detection import Detection, bounding_box, overlap_ratio
from focus_ray.evaluation.calibration.cases import DETECTED, KINDS, NO_FACE, CalibrationCase, calibration_cases
from tests.evaluation.calibration.composites import TrueFaces


@pytest.fixture(scope="module")
def cases(composites: CompositeFolder) -> dict[str, list[tuple[int, CalibrationCase]]]:
    """Number of the composite and case, by kind."""
    detector = TrueFaces(composites)
    made: dict[str, list[tuple[int, CalibrationCase]]] = {}
    for seed in range(3):
        for index in range(len(composites)):
            found, was_found = calibration_cases(composites, index, detector, seed)
            assert was_found
            for case in found:
                made.setdefault(case.kind, []).append((index, case))
    return made


def test_each_composite_has_its_detected_case_and_another_one_in_turn(cases):
    assert set(cases) <= set(KINDS)
    assert set(cases) >= {DETECTED, "displaced_landmarks", "displaced_box", "cut_face"}
    assert len(cases[DETECTED]) == 24
    assert {index % 4 for index, _ in cases["displaced_box"]} == {1}


def test_detected_faces_are_where_the_detector_found_them(composites: CompositeFolder, cases):
    for index, case in cases[DETECTED]:
        row = composites.rows[index]
        assert case.row == row
        np.testing.assert_allclose(case.picture.faces[0].landmarks, composites.landmarks(row) + 1.0)
        np.testing.assert_array_equal(case.landmarks, composites.landmarks(row))
        assert case.pasted.any() == (not row.is_open)


def test_displaced_landmarks_and_boxes_keep_the_truth(composites: CompositeFolder, cases):
    for index, case in cases["displaced_landmarks"]:
        (face,) = case.picture.faces
        true = composites.landmarks(composites.rows[index])
        assert np.linalg.norm(face.landmarks.mean(axis=0) - true.mean(axis=0)) < np.ptp(true, axis=0).max()
        assert not np.allclose(face.landmarks, true)
        np.testing.assert_array_equal(case.landmarks, true)
    for _, case in cases["displaced_box"]:
        assert case.picture.source == "box"
        assert case.picture.faces[0].landmarks is None


def test_a_cut_picture_ends_inside_the_face_and_its_truth_moves_with_it(composites: CompositeFolder, cases):
    for index, case in cases["cut_face"]:
        row = composites.rows[index]
        whole, part = composites.picture(row), case.picture.image
        assert part.shape[0] < whole.shape[0] or part.shape[1] < whole.shape[1]
        assert case.pasted.shape == part.shape[:2]
        points = case.landmarks
        assert ((points < 0) | (points > np.array(part.shape[1::-1]) - 1)).any()
        left, top = np.rint(composites.landmarks(row) - points)[0].astype(int)
        np.testing.assert_array_equal(whole[top : top + part.shape[0], left : left + part.shape[1]], part)
        x, y, width, height = case.picture.faces[0].box
        assert x >= 0
        assert y >= 0
        assert x + width <= part.shape[1]
        assert y + height <= part.shape[0]


def test_where_there_is_no_face_the_location_is_beside_it(composites: CompositeFolder, cases):
    for index, case in cases.get(NO_FACE, []):
        assert case.landmarks is None
        true = bounding_box(composites.landmarks(composites.rows[index]))
        assert overlap_ratio(case.picture.faces[0].box, true) < 0.25


class Nothing:
    def detect(self, image: np.ndarray) -> list[Detection]:
        return []


def test_a_face_that_is_not_found_has_only_the_other_case(composites: CompositeFolder):
    made, found = calibration_cases(composites, 1, Nothing(), 0)
    assert not found
    assert [case.kind for case in made] == ["displaced_box"]


class Point:
    """Landmarks without extent at the true place."""

    def __init__(self, composites: CompositeFolder) -> None:
        self.points = composites.landmarks(composites.rows[0])

    def detect(self, image: np.ndarray) -> list[Detection]:
        collapsed = np.tile(self.points.mean(axis=0), (68, 1))
        return [Detection(bounding_box(self.points), landmarks=collapsed)]


def test_locations_without_extent_are_left_out(composites: CompositeFolder):
    made, found = calibration_cases(composites, 0, Point(composites), 0)
    assert found
    assert [case.kind for case in made] == ["displaced_landmarks"]
    # The other case needs no detector.
    assert made[0].landmarks is not None


def test_the_same_seed_gives_the_same_cases(composites: CompositeFolder):
    detector = TrueFaces(composites)
    one, again, other = (calibration_cases(composites, 1, detector, seed)[0][1] for seed in (5, 5, 6))
    assert one.picture.faces[0].box == again.picture.faces[0].box
    assert one.picture.faces[0].box != other.picture.faces[0].box
