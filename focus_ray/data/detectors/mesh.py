"""Detector of MediaPipe's networks: BlazeFace proposes faces, the face mesh confirms them and gives their landmarks."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from focus_ray.data.align import Crop, compose, rotated_view
from focus_ray.data.detectors.blazeface import FULL_RANGE, SHORT_RANGE, BlazeFace, FaceCandidate
from focus_ray.data.detectors.detection import Detection, bounding_box, overlap_ratio
from focus_ray.data.detectors.face_mesh import FaceMesh, MeshPoints, view_of_box, view_of_points
from focus_ray.data.detectors.weight_files import FULL_RANGE_FILE, MESH_FILE, SHORT_RANGE_FILE
from focus_ray.settings import Settings

_THUMBNAIL = 384  # px
_CHECK_MARGIN = 1.5  # side of the view that confirms a face, over that of the aligned view


class MeshSettings(Settings):
    """Settings of search and confirmation."""

    least_score: float = Field(default=0.3, ge=0, le=1)  # probability by BlazeFace of a candidate
    least_presence: float = Field(default=0.1, ge=0, le=1)  # probability by the face mesh of a face
    sure_score: float = Field(default=0.7, ge=0, le=1)  # probability by BlazeFace in the view aligned by the mesh
    furthest: float = Field(default=0.2, gt=0)  # of the face's side, from the middle of that view
    turn: float = Field(default=15.0, gt=0)  # degrees of roll in that view
    rounds: int = Field(default=2, ge=1)  # attempts to align a candidate
    # Degrees of roll that are searched one after the other if no face was found.
    turns: tuple[float, ...] = (90.0, 270.0, 180.0, 45.0, 315.0, 135.0, 225.0)
    small_face: float = Field(default=0.15, ge=0, le=1)  # of the longer side: if no face is larger, tiles are searched
    tiles: tuple[int, ...] = (2, 4)  # along the shorter side; the later ones only if no face was found
    least_tile: float = Field(default=160.0, gt=0)  # px: smaller tiles are not searched
    tile_overlap: float = Field(default=0.25, ge=0, lt=1)  # of a tile's side
    overlap: float = Field(default=0.4, ge=0, le=1)  # share of the smaller of two boxes from which they are one face
    candidates: int = Field(default=20, gt=0)  # most candidates that are looked at, in one search


class MeshDetector:
    """BlazeFace of both ranges, and the face mesh of 468 points.

    Both BlazeFace networks search the whole picture. If they find no face, the picture is searched turned; if all faces
    are small or there is none, in overlapping tiles. A candidate is confirmed if the face mesh is present in it, and
    BlazeFace of short range sees the same face, upright, in the view that is aligned by the mesh. The networks have
    scratch memory: use one detector per thread.

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
        found: list[Detection] = []
        thumbnail = whole_view(image, _THUMBNAIL)
        pixels = thumbnail.warp(image)
        for turn in (0.0, *self.settings.turns):
            found = self._search(image, self._look_at_all(image, thumbnail, pixels, turn))
            if found:
                break
        small = not found or found[0].side < self.settings.small_face * max(image.shape)
        for number, tiles in enumerate(self.settings.tiles):
            if (number == 0 and small) or not found:
                found = self._merge([*found, *self._search(image, self._look_at_tiles(image, tiles))])
        return found

    def _search(self, image: UInt8[np.ndarray, "H W 3"], proposed: Iterable[FaceCandidate]) -> list[Detection]:
        """Confirm candidates; the largest face first."""
        kept: list[FaceCandidate] = []
        for candidate in sorted(proposed, key=lambda one: -one.score):
            if all(overlap_ratio(candidate.box, other.box) < self.settings.overlap for other in kept):
                kept.append(candidate)
        faces = [self._confirm_upright(image, candidate) for candidate in kept[: self.settings.candidates]]
        return self._merge([face for face in faces if face is not None])

    def _confirm_upright(self, image: UInt8[np.ndarray, "H W 3"], candidate: FaceCandidate) -> Detection | None:
        """Confirm a candidate. Both networks also see faces upside down: of both ways round, return the surer one."""
        face = self._confirm(image, candidate)
        if face is None:
            return None
        turned = self._look_again(image, view_of_box(candidate.centre, candidate.side, candidate.roll + np.pi))
        flipped = None if turned is None else self._confirm(image, turned)
        return face if flipped is None or flipped.score <= face.score else flipped

    def _confirm(self, image: UInt8[np.ndarray, "H W 3"], candidate: FaceCandidate) -> Detection | None:
        """Locate the points of a candidate; None if it is no face. A misaligned candidate is aligned anew."""
        for _ in range(self.settings.rounds):
            seen = self._mesh.locate(image, view_of_box(candidate.centre, candidate.side, candidate.roll))
            if seen.presence < self.settings.least_presence:
                return None
            aligned = view_of_points(seen.points)
            seen = self._mesh.locate(image, aligned)
            again = self._look_again(image, aligned)
            if again is None or seen.presence < self.settings.least_presence:
                return None
            if again.score >= self.settings.sure_score and self._agree(again, aligned):
                return _to_detection(seen)
            candidate = again
        return None

    def _look_again(self, image: UInt8[np.ndarray, "H W 3"], aligned: Crop) -> FaceCandidate | None:
        """Return the surest candidate in a wider view about the aligned one."""
        side = self._short_range.version.side
        middle = (aligned.size - 1) / 2
        x, y = aligned.to_image(np.array([middle, middle])).tolist()
        zoom = aligned.scale * side / aligned.size / _CHECK_MARGIN
        view = rotated_view(x, y, zoom, -float(np.degrees(aligned.roll)), side)
        return next(iter(self._short_range.propose(view.warp(image), view, self.settings.least_score / 2)), None)

    def _agree(self, candidate: FaceCandidate, aligned: Crop) -> bool:
        """Return whether a candidate lies in the middle of the aligned view, upright."""
        middle = (aligned.size - 1) / 2
        away = np.linalg.norm(aligned.to_crop(candidate.centre) - middle) / (candidate.side * aligned.scale)
        turned = (candidate.roll + aligned.roll + np.pi) % (2 * np.pi) - np.pi
        return bool(away < self.settings.furthest and abs(turned) < np.radians(self.settings.turn))

    def _look_at_all(
        self, image: UInt8[np.ndarray, "H W 3"], thumbnail: Crop, pixels: UInt8[np.ndarray, "S S 3"], turn: float
    ) -> Iterator[FaceCandidate]:
        """Yield the candidates in the whole picture, turned; its pixels are those of a thumbnail, which are few."""
        for network in (self._short_range, self._full_range):
            view = whole_view(image, network.version.side, turn)
            seen = Crop(compose(view.matrix, thumbnail.inverse), view.size).warp(pixels)
            yield from network.propose(seen, view, self.settings.least_score)

    def _look_at_tiles(self, image: UInt8[np.ndarray, "H W 3"], count: int) -> Iterator[FaceCandidate]:
        """Yield the candidates in overlapping squares that cover the picture, `count` along its shorter side."""
        height, width = image.shape[:2]
        overlap, network = self.settings.tile_overlap, self._full_range
        side = min(height, width) / (count - (count - 1) * overlap)
        if side < self.settings.least_tile:
            return
        for y in _tile_centres(height, side, overlap):
            for x in _tile_centres(width, side, overlap):
                view = rotated_view(x, y, network.version.side / side, 0.0, network.version.side)
                yield from network.propose(view.warp(image), view, self.settings.least_score)

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
