"""Scores of detected and fitted landmarks, with a detector that is told what to find."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray.cloudpickle
import skimage.data
from PIL import Image

from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.detection import Detection, DetectorInfo, NamedDetector, bounding_box
from focus_ray.data.landmark_check import MEAN_LANDMARKS
from focus_ray.data.sources.true_landmarks import TrueFace, TrueLandmarks
from focus_ray.errors import Interrupted
from focus_ray.evaluation import landmark_scoring
from focus_ray.evaluation.landmark_error import face_size
from focus_ray.evaluation.landmark_scoring import LandmarkScores, LandmarkScoringJob, score_landmarks

FACE = MEAN_LANDMARKS[:, :2] * [0.6, -0.6] + [223.0, 125.0]  # of scikit-image's astronaut (NASA, public domain)


class Finds:
    """A detector that finds what it is told to, and counts its calls."""

    def __init__(self, faces: list[Detection]):
        self.faces = faces
        self.calls = 0

    def detect(self, image: np.ndarray) -> list[Detection]:
        self.calls += 1
        return self.faces


@dataclass(frozen=True)
class Told(DetectorSpec):
    """The specification of such a detector."""

    finder: Finds | None = None

    def build(self) -> NamedDetector:
        assert self.finder is not None
        return NamedDetector(self.finder, self.info)


def told(*faces: Detection) -> Told:
    return Told(DetectorInfo(name="told", version="1"), finder=Finds(list(faces)))


def detection(points: np.ndarray) -> Detection:
    return Detection(bounding_box(points), landmarks=points)


@pytest.fixture
def truth(tmp_path: Path) -> TrueLandmarks:
    """The astronaut twice, with true landmarks."""
    for name in ("a.png", "b.png"):
        Image.fromarray(skimage.data.astronaut()).save(tmp_path / name, compress_level=1)
    return TrueLandmarks(tmp_path, {"a.png": TrueFace(FACE), "b.png": TrueFace(FACE, 75.0)})


def score(truth: TrueLandmarks, spec: DetectorSpec, out: Path, model=None, **options) -> LandmarkScores:
    settings = {"refine": 0, "normalisation": "box", "least_overlap": 0.3, **options}
    return score_landmarks(LandmarkScoringJob(truth, spec, model, **settings), out, None)


def test_the_errors_of_the_detection_that_overlaps_best(truth: TrueLandmarks, tmp_path: Path):
    scores = score(truth, told(detection(FACE + 100), detection(FACE + np.array([3, 4]))), tmp_path / "out")
    assert list(scores.errors) == ["detector"]
    np.testing.assert_allclose(scores.errors["detector"], 5 / face_size(FACE, "box"))
    np.testing.assert_allclose(scores.yaws, [0.0, 75.0], atol=1)
    assert scores.faces.tolist() == [2, 2]
    assert (scores.scored, scores.problems) == ([0, 1], [])


def test_the_fits_of_a_detector_without_landmarks(truth: TrueLandmarks, tmp_path: Path, untrained):
    scores = score(truth, told(Detection(bounding_box(FACE))), tmp_path / "out", untrained, refine=2)
    assert list(scores.errors) == ["one pass", "refined"]
    one_pass, refined = (scores.errors[method].mean() for method in scores.errors)
    assert 0 < one_pass < 0.5
    assert 0 < refined < 0.5
    assert not np.array_equal(scores.errors["one pass"], scores.errors["refined"])


def test_a_face_that_is_not_found_has_no_errors(truth: TrueLandmarks, tmp_path: Path, untrained):
    scores = score(truth, told(detection(FACE + 60)), tmp_path / "out", untrained)
    assert all(np.isnan(errors).all() for errors in scores.errors.values())
    assert scores.scored == [0, 1]
    assert (scores.overlaps < 0.3).all()
    assert (scores.overlaps > 0).all()


def test_degenerate_landmarks_of_a_detector_have_no_fit(truth: TrueLandmarks, tmp_path: Path, untrained):
    point = Detection(bounding_box(FACE), landmarks=np.full((68, 2), 200.0))
    scores = score(truth, told(point), tmp_path / "out", untrained)
    assert np.isfinite(scores.errors["detector"]).all()
    assert np.isnan(scores.errors["one pass"]).all()


def test_pictures_that_cannot_be_scored_are_problems(truth: TrueLandmarks, tmp_path: Path):
    (tmp_path / "c.png").write_text("no picture")
    Image.new("RGB", (50, 50)).save(tmp_path / "d.png")
    truth.faces |= {"c.png": TrueFace(FACE), "d.png": TrueFace(FACE)}
    scores = score(truth, told(detection(FACE)), tmp_path / "out")
    assert scores.scored == [0, 1]
    assert [problem.partition(":")[0] for problem in scores.problems] == ["c.png", "d.png"]
    assert "the landmarks lie outside the picture of 50 x 50 px" in scores.problems[1]


def test_an_interrupted_evaluation_computes_only_what_is_missing(truth, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(landmark_scoring, "BATCH", 1)
    spec = told(detection(FACE))
    assert spec.finder is not None
    job = LandmarkScoringJob(truth, spec, None, 0, "box", 0.3)
    with pytest.raises(Interrupted):
        score_landmarks(job, tmp_path / "out", None, should_stop=lambda: spec.finder.calls == 1)
    shown = []
    score_landmarks(job, tmp_path / "out", None, progress=lambda *counts: shown.append(counts))
    assert spec.finder.calls == 2
    assert shown == [(2, 2)]
    other = LandmarkScoringJob(truth, spec, None, 0, "interocular", 0.3)
    score_landmarks(other, tmp_path / "out", None)
    assert spec.finder.calls == 4


def test_a_job_can_be_sent_to_another_process(truth: TrueLandmarks, untrained):
    job = LandmarkScoringJob(truth, told(detection(FACE)), untrained, 0, "box", 0.3)
    copy = ray.cloudpickle.loads(ray.cloudpickle.dumps(job))
    job.prepare("cpu")
    copy.prepare("cpu")
    (arrays, _), (copied, _) = job.piece(0), copy.piece(0)
    assert arrays.keys() == copied.keys()
    assert all(np.array_equal(arrays[key], copied[key]) for key in arrays)
