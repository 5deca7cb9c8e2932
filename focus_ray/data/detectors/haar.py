"""Face detector on OpenCV's cascades, without a download: several tilts, every candidate verified."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from jaxtyping import UInt8

from focus_ray.data.align import Crop, rotated_view
from focus_ray.data.detectors.detection import Detection, suppress_overlaps
from focus_ray.errors import ConfigError
from focus_ray.settings import Settings


class HaarSettings(Settings):
    """Settings of HaarDetector's search and check, chosen on 24 photographs (18 of them with faces)."""

    search_side: int = 400  # longer side of the picture in the search, px
    smallest_face: float = 0.06  # of the longer side
    search_step: float = 1.2  # between two scales of the search
    tilts: tuple[float, ...] = (0.0, 25.0, -25.0)  # degrees of roll that are searched
    quarter_turns: tuple[float, ...] = (90.0, 270.0, 180.0)  # searched if no upright face is found
    diagonal_turns: tuple[float, ...] = (45.0, -45.0, 135.0, -135.0)  # searched if these find no face either
    fine_side: int = 1000  # longer side in the last search, for small upright faces, px
    fine_smallest_face: float = 0.025  # of the longer side, in the last search
    check_side: int = 64  # px: a candidate's width in the check
    check_margin: float = 0.5  # of a candidate's width, around it
    check_step: float = 1.05
    check_tilts: tuple[float, ...] = (0.0, 12.0, -12.0, 24.0, -24.0)
    size_range: tuple[float, float] = (0.65, 1.45)  # of a candidate's width
    least_support: float = 150.0  # neighbours pooled over the check's cascades and tilts
    sure_support: float = 600.0  # from this support on eyes are not required (sunglasses)
    eye_side: int = 200  # px: a face's width in the search for eyes
    eye_sizes: tuple[float, float] = (0.15, 0.4)  # of the face's width
    eye_band: tuple[float, float] = (0.275, 0.55)  # of the face's height, where an eye's centre may lie
    eye_tilts: tuple[float, ...] = (0.0, 8.0, -8.0)
    least_eyes: float = 60.0  # neighbours pooled over both eye cascades and the tilts
    overlap: float = 0.4  # share of the smaller of two boxes from which on they count as one face
    candidates: int = 40  # most candidates checked
    last_candidates: int = 10  # the same for diagonal turns and small faces: textures give dozens of false ones


_FRONTAL = ("haarcascade_frontalface_default", "haarcascade_frontalface_alt", "haarcascade_frontalface_alt2")
_PROFILE = "haarcascade_profileface"
_EYES = ("haarcascade_eye", "haarcascade_eye_tree_eyeglasses")
CASCADES = (*_FRONTAL, _PROFILE, *_EYES)


@dataclass(frozen=True)
class _Hit:
    """One grouped detection of one cascade, in px of the picture."""

    x: float
    y: float
    side: float
    roll: float  # degrees
    neighbours: int
    frontal: bool


class HaarDetector:
    """Viola-Jones cascades of OpenCV, over tilts and quarter turns, with a second search of each candidate.

    The score of a detection is its neighbours: the number of windows at nearby places and scales that agree. The search
    runs three frontal cascades and one for profiles (also mirrored) over a small picture; every candidate is then cut
    out, brought to one size and searched again, finely, at several tilts. It is kept if the neighbours pooled over that
    second search are many, or are some and the eye cascades find eyes in the upper half. The second search uses the
    same cascades and is not an independent check; the eye cascades are independent, but of the same kind. Objects that
    both mistake for a face are returned, and a face turned aside or heavily covered is missed. Quarter turns, then
    diagonal ones, then faces of 2.5 to 6 % of the longer side are searched only if nothing was found before, so of a
    picture with faces of several kinds only those of the first are returned. A cascade has scratch memory: use one
    detector per thread.

    Args:
        settings: settings of search and check; None means the defaults.
    """

    def __init__(self, settings: HaarSettings | None = None):
        self.settings = settings or HaarSettings()

    @cached_property
    def _cascades(self) -> list[tuple[cv2.CascadeClassifier, bool, bool]]:
        """Classifier, whether frontal, whether to run on the mirrored picture."""
        frontal = [(load_cascade(name), True, False) for name in _FRONTAL]
        profile = load_cascade(_PROFILE)
        return [*frontal, (profile, False, False), (profile, False, True)]

    @cached_property
    def _eye_cascades(self) -> list[cv2.CascadeClassifier]:
        return [load_cascade(name) for name in _EYES]

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces by descending score, the pooled number of neighbours.
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        options = self.settings
        few = min(options.candidates, options.last_candidates)
        usual, fine = (options.search_side, options.smallest_face), (options.fine_side, options.fine_smallest_face)
        for turns, sizes, candidates in (
            (options.tilts, usual, options.candidates),
            (options.quarter_turns, usual, options.candidates),
            (options.diagonal_turns, usual, few),
            ((0.0,), fine, few),
        ):
            faces = self._confirm(grey, self._search(grey, turns, *sizes), candidates)
            if faces:
                return faces
        return []

    def _confirm(self, grey: np.ndarray, hits: Iterable[_Hit], candidates: int) -> list[Detection]:
        faces = []
        for group in group_hits(hits)[:candidates]:
            face = self._check(grey, _merge(group))
            if face is not None:
                faces.append(face)
        return suppress_overlaps(faces, self.settings.overlap)

    def _search(self, grey: np.ndarray, turns: Sequence[float], max_side: int, min_face: float) -> list[_Hit]:
        """Hits at these turns, in a picture of `max_side` px at the longer side, from faces of `min_face` of it on."""
        height, width = grey.shape
        zoom = min(1.0, max_side / max(height, width))
        side = math.ceil(math.hypot(height, width) * zoom)
        least = min_face * max(height, width) * zoom
        hits = []
        for turn in turns:
            view = rotated_view((width - 1) / 2, (height - 1) / 2, zoom, turn, side)
            hits += self._hits(grey, view, turn, (least, float(side)), self.settings.search_step)
        return hits

    def _check(self, grey: np.ndarray, candidate: _Hit) -> Detection | None:
        options = self.settings
        zoom = options.check_side / candidate.side
        side = round(options.check_side * (1 + 2 * options.check_margin))
        sizes = (options.check_side * options.size_range[0], options.check_side * options.size_range[1])
        hits = []
        for tilt in options.check_tilts:
            roll = candidate.roll + tilt
            view = rotated_view(candidate.x, candidate.y, zoom, roll, side)
            hits += self._hits(grey, view, roll, sizes, options.check_step)
        groups = group_hits(hits)
        face = _merge(groups[0]) if groups else None
        if face is None or face.neighbours < options.least_support:
            return None
        if face.neighbours < options.sure_support and self._eyes(grey, face) < options.least_eyes:
            return None
        corner = (face.x - face.side / 2, face.y - face.side / 2)
        return Detection((*corner, face.side, face.side), math.radians(face.roll), float(face.neighbours))

    def _eyes(self, grey: np.ndarray, face: _Hit) -> int:
        """Neighbours of eyes in the band of the face where eyes are, over both cascades and some tilts."""
        options = self.settings
        least, most = (round(options.eye_side * share) for share in options.eye_sizes)
        top, bottom = (options.eye_side * share for share in options.eye_band)
        found = 0
        for tilt in options.eye_tilts:
            view = rotated_view(face.x, face.y, options.eye_side / face.side, face.roll + tilt, options.eye_side)
            seen = view.warp(grey)
            for cascade in self._eye_cascades:
                boxes, neighbours = cascade.detectMultiScale2(
                    seen, scaleFactor=options.check_step, minNeighbors=1, minSize=(least, least), maxSize=(most, most)
                )
                for (_, y, _, height), count in zip(boxes, np.ravel(neighbours), strict=True):
                    found += int(count) if top < y + height / 2 < bottom else 0
        return found

    def _hits(self, grey: np.ndarray, view: Crop, turn: float, sizes: tuple[float, float], step: float) -> list[_Hit]:
        seen = view.warp(grey)
        hits = []
        for cascade, frontal, mirrored in self._cascades:
            picture = np.ascontiguousarray(seen[:, ::-1]) if mirrored else seen
            least, most = (max(1, round(size)) for size in sizes)
            boxes, neighbours = cascade.detectMultiScale2(
                picture, scaleFactor=step, minNeighbors=1, minSize=(least, least), maxSize=(most, most)
            )
            for (x, y, box_side, _), count in zip(boxes, np.ravel(neighbours), strict=True):
                middle = (box_side - 1) / 2
                centre = np.array([view.size - 1 - (x + middle) if mirrored else x + middle, y + middle])
                x_image, y_image = view.to_image(centre).tolist()
                hits.append(_Hit(x_image, y_image, float(box_side) / view.scale, turn, int(count), frontal))
        return hits


def load_cascade(name: str) -> cv2.CascadeClassifier:
    """Load a cascade classifier of the OpenCV package.

    Args:
        name: file name of the cascade, without suffix.

    Raises:
        ConfigError: the file is missing from the OpenCV package.
    """
    return cv2.CascadeClassifier(str(cascade_file(name)))


def cascade_file(name: str) -> Path:
    """Return the path of a cascade's file. Raises ConfigError if the OpenCV package lacks it."""
    path = Path(cv2.data.haarcascades) / f"{name}.xml"
    if not path.is_file():
        raise ConfigError(f"{path} is missing from the OpenCV package; install opencv-python 4.12 or a later 4.x")
    return path


_SAME_PLACE = 0.35  # share of the larger side: hits nearer than this count as one face
_SAME_SIZE = 2.0


def group_hits(hits: Iterable[_Hit]) -> list[list[_Hit]]:
    """Group hits at about the same place and size, the group with the most neighbours first."""
    groups: list[list[_Hit]] = []
    for hit in sorted(hits, key=lambda hit: -hit.neighbours):
        home = next((group for group in groups if _is_same_face(group[0], hit)), None)
        if home is None:
            groups.append([hit])
        else:
            home.append(hit)
    return sorted(groups, key=lambda group: -sum(hit.neighbours for hit in group))


def _is_same_face(one: _Hit, other: _Hit) -> bool:
    large, small = max(one.side, other.side), min(one.side, other.side)
    return math.hypot(one.x - other.x, one.y - other.y) < _SAME_PLACE * large and large < _SAME_SIZE * small


def _merge(group: Sequence[_Hit]) -> _Hit:
    """Mean of a group, weighted by neighbours; of its frontal hits only if it has any: profile boxes lie elsewhere."""
    deciding = [hit for hit in group if hit.frontal] or list(group)
    weights = np.array([hit.neighbours for hit in deciding], dtype=float)
    mean = weights @ np.array([[hit.x, hit.y, hit.side, hit.roll] for hit in deciding]) / weights.sum()
    return _Hit(
        *mean.tolist(), neighbours=sum(hit.neighbours for hit in group), frontal=any(hit.frontal for hit in group)
    )
