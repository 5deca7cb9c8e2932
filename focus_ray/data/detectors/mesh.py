"""Detector of MediaPipe's networks: BlazeFace proposes faces, the face mesh confirms them and gives their landmarks."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from focus_ray.data.align import Crop, rotated_view
from focus_ray.data.detectors.blazeface import FULL_RANGE, SHORT_RANGE, BlazeFace, FaceCandidate
from focus_ray.data.detectors.detection import Detection, bounding_box, overlap_ratio
from focus_ray.data.detectors.face_mesh import FaceMesh, MeshPoints, view_of_box, view_of_points
from focus_ray.data.detectors.weight_files import FULL_RANGE_FILE, MESH_FILE, SHORT_RANGE_FILE
from focus_ray.settings import Settings


class MeshSettings(Settings):
    """Settings of search and confirmation."""

    least_score: float = Field(default=0.3, ge=0, le=1)  # probability by BlazeFace of a candidate
    least_presence: float = Field(default=0.5, ge=0, le=1)  # probability by the face mesh of a face
    turns: tuple[float, ...] = (90.0, 270.0, 180.0)  # degrees of roll that are searched if no upright face is found
    small_face: float = Field(default=0.15, ge=0, le=1)  # of the longer side: if no face is larger, tiles are searched
    tiles: int = Field(default=2, ge=1)  # along the shorter side of the picture
    tile_overlap: float = Field(default=0.25, ge=0, lt=1)  # of a tile's side
    overlap: float = Field(default=0.4, ge=0, le=1)  # share of the smaller of two boxes from which they are one face
    candidates: int = Field(default=40, gt=0)  # most candidates that the face mesh looks at, in one round


class MeshDetector:
    """BlazeFace of both ranges, and the face mesh of 468 points.

    Both BlazeFace networks search the whole picture, which finds faces of any tilt up to about a quarter turn. If they
    find none, the picture is searched turned by quarter turns; if all faces are small or there is none, in overlapping
    tiles. The face mesh looks at each candidate twice, the second time in a view aligned by its own points, and its
    presence score decides. The networks have scratch memory: use one detector per thread.

    Args:
        weights: contents of the three weight files, by name.
        settings: None means the defaults.
    """

    def __init__(self, weights: Mapping[str, bytes], settings: MeshSettings | None = None):
        self.settings = settings or MeshSettings()
        self._short_range = BlazeFace(weights[SHORT_RANGE_FILE], SHORT_RANGE)
        self._full_range = BlazeFace(weights[FULL_RANGE_FILE], FULL_RANGE)
        self._mesh = FaceMesh(weights[MESH_FILE])

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """Detect faces with 68 landmarks and the 468 points of the mesh.

        Args:
            image: upright RGB, 0 to 255.

        Returns:
            Faces, the largest first; the score is the mesh's probability of a face.
        """
        networks = (self._short_range, self._full_range)
        found = self._search(image, [(network, whole_view(image, network.version.side)) for network in networks])
        for turn in self.settings.turns:
            if found:
                break
            views = [(network, whole_view(image, network.version.side, turn)) for network in networks]
            found = self._search(image, views)
        if all(face.side < self.settings.small_face * max(image.shape) for face in found):
            found = self._merge([*found, *self._search(image, list(self._tiles(image)))])
        return found

    def _search(self, image: UInt8[np.ndarray, "H W 3"], views: Iterable[tuple[BlazeFace, Crop]]) -> list[Detection]:
        """Confirm what the networks propose in the views."""
        proposed = [
            candidate
            for network, view in views
            for candidate in network.propose(image, view, self.settings.least_score)
        ]
        kept: list[FaceCandidate] = []
        for candidate in sorted(proposed, key=lambda one: -one.score):
            if all(overlap_ratio(candidate.box, other.box) < self.settings.overlap for other in kept):
                kept.append(candidate)
        faces = [self._confirm(image, candidate) for candidate in kept[: self.settings.candidates]]
        return self._merge([face for face in faces if face is not None])

    def _confirm(self, image: UInt8[np.ndarray, "H W 3"], candidate: FaceCandidate) -> Detection | None:
        """Locate the points of a candidate, then again in the view aligned by them; None if that is no face."""
        seen = self._mesh.locate(image, view_of_box(candidate.centre, candidate.side, candidate.roll))
        if seen.presence >= self.settings.least_presence:
            seen = self._mesh.locate(image, view_of_points(seen.points))
        return _to_detection(seen) if seen.presence >= self.settings.least_presence else None

    def _tiles(self, image: UInt8[np.ndarray, "H W 3"]) -> Iterator[tuple[BlazeFace, Crop]]:
        """Yield overlapping square views that cover the picture."""
        height, width = image.shape[:2]
        settings, network = self.settings, self._full_range
        side = min(height, width) / (settings.tiles - (settings.tiles - 1) * settings.tile_overlap)
        for y in _tile_centres(height, side, settings.tile_overlap):
            for x in _tile_centres(width, side, settings.tile_overlap):
                yield network, rotated_view(x, y, network.version.side / side, 0.0, network.version.side)

    def _merge(self, faces: list[Detection]) -> list[Detection]:
        """Keep one of the detections of each face; the largest face first."""
        kept: list[Detection] = []
        for face in sorted(faces, key=lambda face: -face.side):
            if all(overlap_ratio(face.box, other.box) < self.settings.overlap for other in kept):
                kept.append(face)
        return kept


def whole_view(image: UInt8[np.ndarray, "H W 3"], side: int, turn: float = 0.0) -> Crop:
    """Return the view of the whole picture, in which a face of the given roll is upright.

    Args:
        image: the picture.
        side: side of the view, px.
        turn: degrees, clockwise as seen.
    """
    height, width = image.shape[:2]
    return rotated_view((width - 1) / 2, (height - 1) / 2, side / max(height, width), turn, side)


def _to_detection(seen: MeshPoints) -> Detection:
    landmarks = seen.landmarks
    return Detection(bounding_box(landmarks), score=seen.presence, landmarks=landmarks, mesh=seen.points)


def _tile_centres(length: int, side: float, overlap: float) -> list[float]:
    """Return the centres of tiles along an edge, px; neighbours overlap by at least `overlap` of a side."""
    count = max(1, int(np.ceil((length - side) / (side * (1 - overlap)) + 1 - 1e-6)))
    return np.linspace(side / 2 - 0.5, length - side / 2 - 0.5, count).tolist()
