"""Scores detected and fitted landmarks against true ones: for each picture the errors of a detector and of the fits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.detection import Detection, NamedDetector
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_check import estimate_yaw, validate_landmarks
from focus_ray.data.landmark_csv import POINTS
from focus_ray.data.sources.true_landmarks import TrueFace, TrueLandmarks
from focus_ray.errors import DataError, LandmarkError
from focus_ray.evaluation.landmark_error import Normalisation, face_size, match_face
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.reconstructor import Reconstructor
from focus_ray.model import Model, weights_digest
from focus_ray.runtime.result_cache import Arrays, ResultCache, digest, resume_or_run
from focus_ray.runtime.tasks import PoolSettings

DETECTOR, ONE_PASS, REFINED = "detector", "one pass", "refined"

CACHE_VERSION = 1  # increase it when the computation of the scores changes
BATCH = 10  # pictures per piece

_TURNED_AWAY = (
    -0.35
)  # cosine of the largest angle of a true face to the viewer: some of AFLW2000-3D are beyond 90 degrees
_UNKNOWN = float("nan")


@dataclass
class LandmarkScoringJob:
    """Pieces of `score_landmarks`, BATCH pictures each.

    Attributes:
        truth: pictures and their true landmarks.
        detector: detector of the faces.
        model: model of the fits; None: only the detector is scored.
        refine: refinement steps of the refined fit; 0: one pass only.
        normalisation: size that errors are divided by.
        least_overlap: smallest intersection over union of a detection with the true face.
    """

    truth: TrueLandmarks
    detector: DetectorSpec
    model: Model | None
    refine: int
    normalisation: Normalisation
    least_overlap: float
    _detector: NamedDetector | None = field(default=None, repr=False)
    _reconstructor: Reconstructor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.names = list(self.truth.faces)
        one_pass = {} if self.model is None else {ONE_PASS: 0}
        self.fits = one_pass | ({REFINED: self.refine} if one_pass and self.refine else {})

    def __len__(self) -> int:
        return (len(self.names) + BATCH - 1) // BATCH

    @property
    def digest(self) -> str:
        """Digest of the pictures' files, their true landmarks, the detector, the model and the options."""
        files = []
        for name in self.names:
            known = (self.truth.folder / name).stat()
            face = self.truth.faces[name]
            files.append((name, known.st_size, known.st_mtime_ns, face.points.tolist(), face.yaw))
        fitted = None if self.model is None else weights_digest(self.model.focus)
        options = (self.fits, self.normalisation, self.least_overlap)
        return digest(CACHE_VERSION, BATCH, files, self.detector.info.model_dump(mode="json"), fitted, options)

    def prepare(self, device: str) -> None:
        self._detector = self.detector.build()
        if self.model is not None:
            self.model.focus.to(device)
            self._reconstructor = Reconstructor(self.model, self._detector)

    def piece(self, number: int) -> tuple[Arrays, list[str]]:
        """Score the pictures of a piece.

        Returns:
            (scores by name, a row for each picture, NaN where it cannot be scored; a line for each such picture).
        """
        rows, problems = [], []
        for name in self.names[number * BATCH : (number + 1) * BATCH]:
            row = self._blank_row()
            try:
                row |= self._score(self.truth.folder / name, self.truth.faces[name])
            except DataError as error:
                problems.append(f"{name}: {error}")
            rows.append(row)
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}, problems

    def _blank_row(self) -> dict[str, np.ndarray]:
        """Return the scores of a picture that cannot be scored."""
        errors = {method: np.full(POINTS, _UNKNOWN) for method in (DETECTOR, *self.fits)}
        return errors | {key: np.array(_UNKNOWN) for key in ("yaw", "size", "faces", "overlap")}

    def _score(self, path: Path, true_face: TrueFace) -> dict[str, np.ndarray]:
        """Score a picture. Raises ImageError, LandmarkError."""
        image = read_image(path)
        points = validate_landmarks(true_face.points, *image.shape[:2], least_facing=_TURNED_AWAY)
        size = face_size(points, self.normalisation)
        yaw = estimate_yaw(points) if true_face.yaw is None else true_face.yaw
        assert self._detector is not None
        faces = self._detector.detect(image)
        face, overlap = match_face(faces, points, self.least_overlap)
        row = {"yaw": yaw, "size": size, "faces": float(len(faces)), "overlap": overlap}
        found = {} if face is None else self._locate(image, face)
        errors = {method: np.linalg.norm(located - points, axis=1) / size for method, located in found.items()}
        return {key: np.array(value) for key, value in row.items()} | errors

    def _locate(self, image: np.ndarray, face: Detection) -> dict[str, Float[np.ndarray, "68 2"]]:
        """Return the detector's landmarks, if it has any, and those of the fits to the detected face."""
        found = {} if face.landmarks is None else {DETECTOR: face.landmarks}
        for method, steps in self.fits.items():
            assert self._reconstructor is not None
            try:
                ((fitted,),) = self._reconstructor.fit([FaceLocations(image, [face])], steps)
            except LandmarkError:
                break  # the detector's landmarks are degenerate: no crop can be aligned to them
            found[method] = np.array(fitted.face.landmarks)
        return found


@dataclass(frozen=True)
class LandmarkScores:
    """Scores of the pictures in the order of their names, NaN in those that cannot be scored.

    Attributes:
        names: names of the pictures.
        errors: by method, the error of each landmark as a share of the size of the face; NaN if it was not found.
        yaws: yaw of each true face, degrees.
        sizes: size of each true face, px.
        faces: number of detections in each picture.
        overlaps: best intersection over union of a detection with the true face.
        problems: a line for each picture that cannot be scored.
    """

    names: list[str]
    errors: dict[str, Float[np.ndarray, "N 68"]]
    yaws: Float[np.ndarray, " N"]
    sizes: Float[np.ndarray, " N"]
    faces: Float[np.ndarray, " N"]
    overlaps: Float[np.ndarray, " N"]
    problems: list[str]

    @property
    def scored(self) -> list[int]:
        """Numbers of the pictures that can be scored."""
        return np.flatnonzero(np.isfinite(self.sizes)).tolist()


def score_landmarks(
    job: LandmarkScoringJob,
    out: Path,
    settings: PoolSettings | None,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> LandmarkScores:
    """Score all pictures of a job; finished pieces are read from `out`/parts.

    Args:
        job: pictures, detector and model.
        out: folder whose parts/ keeps the finished pieces.
        settings: pool of Ray tasks; None: run in this process.
        should_stop: polled while pieces run.
        progress: called with (pictures done, pictures in all).

    Returns:
        The scores. A detector that gives no landmarks is not among the methods.

    Raises:
        StorageError: the disk refuses.
        ClusterError: the cluster gave up.
        Interrupted: `should_stop` returned true.
    """
    total = len(job.names)
    found, problems = resume_or_run(
        job,
        len(job),
        ResultCache(out / "parts", job.digest),
        settings,
        should_stop,
        lambda known: progress(min(known * BATCH, total), total),
    )
    merged = {key: np.concatenate([found[number][key] for number in range(len(job))]) for key in found[0]}
    errors = {method: merged[method] for method in (DETECTOR, *job.fits)}
    matched = merged["overlap"] >= job.least_overlap
    if matched.any() and not np.isfinite(errors[DETECTOR]).any():
        del errors[DETECTOR]
    return LandmarkScores(
        names=job.names,
        errors=errors,
        yaws=merged["yaw"],
        sizes=merged["size"],
        faces=merged["faces"],
        overlaps=merged["overlap"],
        problems=problems,
    )
