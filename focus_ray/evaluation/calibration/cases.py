"""Cases that quality limits are chosen on: composites as a detector finds them, and places that users can get wrong.

detected             the face where the detector finds it
displaced_landmarks  landmarks of a detector that are shifted, scaled and turned
displaced_box        a box that a person drew too large, too small or off the face
cut_face             a picture that ends inside the face
no_face              a box or landmarks where there is no face
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.random import Generator

from focus_ray.data.align import rotation_transform, transform_points
from focus_ray.data.composites.composite_folder import CompositeFolder, CompositeRow
from focus_ray.data.detectors.detection import Detection, Detector, bounding_box, overlap_ratio
from focus_ray.data.landmark_check import validate_landmarks
from focus_ray.errors import LandmarkError
from focus_ray.evaluation.landmark_error import match_face
from focus_ray.inference.face_locations import Box, FaceLocations
from focus_ray.inference.self_alignment import DEFAULT_ALIGNMENT

DETECTED, NO_FACE = "detected", "no_face"

LEAST_OVERLAP = 0.3
"""Intersection over union with the box of the true landmarks from which a detection is that face."""

_STREAM = 3  # word of the seed of each composite's random numbers
_SIZE = 64  # px of the crop that tests whether landmarks can be aligned to
_ATTEMPTS = 50

# Shares of the face's size, of the box of the true landmarks.
_SHIFT = (0.0, 0.25)
_ZOOM = (0.8, 1.3)
_TURN = 20.0  # degrees
_CUT = (0.15, 0.6)
_EMPTY_ZOOM = (0.4, 1.0)
_DRAWN = 1.2  # sides of a box that a person draws about the face, over those of the landmarks' box
_MOST_SHARED = 0.25  # of the smaller box: where there is no face


@dataclass(frozen=True, eq=False)
class CalibrationCase:
    """A located face of a composite, and the truth.

    Attributes:
        row: the composite.
        kind: one of KINDS.
        picture: the picture and the one location.
        landmarks: true landmarks, px of the picture; None: there is no face.
        pasted: where the occluder is opaque.
    """

    row: CompositeRow
    kind: str
    picture: FaceLocations
    landmarks: Float[np.ndarray, "68 2"] | None
    pasted: Bool[np.ndarray, "H W"]


@dataclass(frozen=True, eq=False)
class _Scene:
    """A composite and its truth."""

    row: CompositeRow
    image: UInt8[np.ndarray, "H W 3"]
    landmarks: Float[np.ndarray, "68 2"]
    pasted: Bool[np.ndarray, "H W"]
    detector: Detector

    @property
    def size(self) -> float:
        """Size of the face, px."""
        _, _, width, height = bounding_box(self.landmarks)
        return math.sqrt(width * height)

    def case(self, kind: str, located: FaceLocations, *, has_face: bool = True) -> CalibrationCase:
        """Return the case of a location in the picture."""
        return CalibrationCase(self.row, kind, located, self.landmarks if has_face else None, self.pasted)


def calibration_cases(
    folder: CompositeFolder, index: int, detector: Detector, seed: int
) -> tuple[list[CalibrationCase], bool]:
    """Make the cases of one composite: as it is detected, and one of the other kinds in turn.

    Args:
        folder: the composites.
        index: number of the composite.
        detector: locates the faces.
        seed: seed of the displacements.

    Returns:
        (cases, whether the detector found the face).

    Raises:
        ImageError: a picture or mask is missing or damaged.
        LandmarkError: landmarks are not those of a face.
    """
    row = folder.rows[index]
    image = folder.picture(row)
    points = validate_landmarks(folder.landmarks(row), *image.shape[:2])
    scene = _Scene(row, image, points, folder.occluder(row, *image.shape[:2]), detector)
    rng = np.random.default_rng((seed, _STREAM, index))
    makers = list(_PERTURBED.values())
    found = [_detect(scene), makers[index % len(makers)](rng, scene)]
    return [case for case in found if case is not None and _can_be_aligned(case)], found[0] is not None


def _detect(scene: _Scene) -> CalibrationCase | None:
    face = _match(scene.detector.detect(scene.image), scene.landmarks)
    return None if face is None else scene.case(DETECTED, FaceLocations(scene.image, [face]))


def _match(faces: Sequence[Detection], landmarks: Float[np.ndarray, "68 2"]) -> Detection | None:
    return match_face(faces, landmarks, LEAST_OVERLAP)[0]


def _displace_landmarks(rng: Generator, scene: _Scene) -> CalibrationCase | None:
    moved = _displace(rng, scene.landmarks, scene.size, _TURN)
    located = Detection(bounding_box(moved), landmarks=moved)
    return scene.case("displaced_landmarks", FaceLocations(scene.image, [located]))


def _displace_box(rng: Generator, scene: _Scene) -> CalibrationCase | None:
    moved = _displace(rng, scene.landmarks, scene.size, 0.0)
    return scene.case("displaced_box", FaceLocations(scene.image, [Detection(_drawn_box(moved))], "box"))


def _displace(rng: Generator, points: Float[np.ndarray, "68 2"], size: float, turn: float) -> Float[np.ndarray, "68 2"]:
    """Shift, scale and turn landmarks about their middle."""
    middle = points.mean(axis=0)
    direction, distance = rng.uniform(0, 2 * np.pi), size * rng.uniform(*_SHIFT)
    zoom = math.exp(rng.uniform(math.log(_ZOOM[0]), math.log(_ZOOM[1])))
    turned = transform_points(rotation_transform(math.radians(rng.uniform(-turn, turn))), points - middle)
    return middle + zoom * turned + distance * np.array([math.cos(direction), math.sin(direction)])


def _drawn_box(points: Float[np.ndarray, "68 2"]) -> Box:
    """Return a box as a person draws it about a face with these landmarks."""
    x, y, width, height = bounding_box(points)
    edge = (_DRAWN - 1) / 2
    return x - edge * width, y - edge * height, _DRAWN * width, _DRAWN * height


def _cut_face(rng: Generator, scene: _Scene) -> CalibrationCase | None:
    """End the picture inside the face; a face that the detector misses is located by the visible part of its box."""
    x, y, width, height = bounding_box(scene.landmarks)
    side, share = int(rng.integers(4)), rng.uniform(*_CUT)
    left, top, right, bottom = 0, 0, scene.image.shape[1], scene.image.shape[0]
    if side == 0:
        left = round(x + share * width)
    elif side == 1:
        right = round(x + (1 - share) * width)
    elif side == 2:
        top = round(y + share * height)
    else:
        bottom = round(y + (1 - share) * height)
    image = np.ascontiguousarray(scene.image[top:bottom, left:right])
    points = scene.landmarks - [left, top]
    face = _match(scene.detector.detect(image), points)
    if face is not None:
        located = FaceLocations(image, [face])
    else:
        inside = np.clip(points, 0, [image.shape[1] - 1, image.shape[0] - 1])
        located = FaceLocations(image, [Detection(bounding_box(inside))], "box")
    return CalibrationCase(scene.row, "cut_face", located, points, scene.pasted[top:bottom, left:right])


def _no_face(rng: Generator, scene: _Scene) -> CalibrationCase | None:
    """Place landmarks, or a box, beside the face; None if there is no room in the picture."""
    height, width = scene.image.shape[:2]
    true_box = bounding_box(scene.landmarks)
    for _ in range(_ATTEMPTS):
        middle = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        zoom = rng.uniform(*_EMPTY_ZOOM)
        moved = middle + zoom * (scene.landmarks - scene.landmarks.mean(axis=0))
        box = bounding_box(moved)
        inside = min(box[0], box[1], width - box[0] - box[2], height - box[1] - box[3]) >= 0
        if inside and overlap_ratio(box, true_box) < _MOST_SHARED:
            if rng.random() < 0.5:
                drawn = Detection(_drawn_box(moved))
                return scene.case(NO_FACE, FaceLocations(scene.image, [drawn], "box"), has_face=False)
            found = Detection(box, landmarks=moved)
            return scene.case(NO_FACE, FaceLocations(scene.image, [found]), has_face=False)
    return None


def _can_be_aligned(case: CalibrationCase) -> bool:
    """Return whether the location has an extent, as `reconstruct` requires."""
    try:
        case.picture.initial_crop(case.picture.faces[0], _SIZE, DEFAULT_ALIGNMENT)
    except LandmarkError:
        return False
    return True


_PERTURBED: dict[str, Callable[[Generator, _Scene], CalibrationCase | None]] = {
    "displaced_landmarks": _displace_landmarks,
    "displaced_box": _displace_box,
    "cut_face": _cut_face,
    NO_FACE: _no_face,
}

KINDS = (DETECTED, *_PERTURBED)
