"""The NoW challenge (Sanyal et al., CVPR 2019) as published: pictures by subject and challenge, a scan a subject.

    imagepathsvalidation.txt, imagepathstest.txt    a line per picture: subject/challenge/name.jpg
    iphone_pictures/subject/challenge/name.jpg      the pictures
    scans/subject/*.obj                             the subject's neutral face, in mm
    scans_lmks_onlypp/subject/*.pp                  seven points on the scan, picked in MeshLab

The folder NoW_Dataset/final_release_version/iphone_pictures of the published archives is found too. Scans of the test
split are not published.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from focus_ray.data.picked_points import read_picked_points
from focus_ray.errors import DataError, LandmarkError, printable
from focus_ray.geometry.mesh_reader import read_limited_bytes, read_mesh

NowSplit = Literal["validation", "test"]

CHALLENGES = ("multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie")
"""The four kinds of pictures, which are the names of their folders."""

LANDMARK_NAMES = (
    "right outer eye corner",
    "right inner eye corner",
    "left inner eye corner",
    "left outer eye corner",
    "nose bottom",
    "right mouth corner",
    "left mouth corner",
)
"""The seven landmarks in NoW's order; sides are the subject's."""
RIGHT_OUTER_EYE, RIGHT_INNER_EYE, LEFT_INNER_EYE, LEFT_OUTER_EYE, NOSE_BOTTOM, RIGHT_MOUTH, LEFT_MOUTH = range(7)

NOW_LANDMARK_INDICES = (36, 39, 42, 45, 33, 48, 54)
"""Indices of the seven landmarks among the 68 iBUG points, 0-based."""

PICTURES, SCANS, SCAN_LANDMARKS = "iphone_pictures", "scans", "scans_lmks_onlypp"
LISTS: dict[NowSplit, str] = {"validation": "imagepathsvalidation.txt", "test": "imagepathstest.txt"}

# Folders of the archives, below the folder that they were unpacked in.
_ARCHIVE_FOLDERS = ("", "final_release_version", "NoW_Dataset", "NoW_Dataset/final_release_version")
_LIST_MEGABYTES = 10.0
_MAX_SHOWN = 80  # letters of a line in a message


class Scan(NamedTuple):
    """Vertices of a scan and its seven landmarks, in mm."""

    vertices: Float[np.ndarray, "N 3"]
    landmarks: Float[np.ndarray, "7 3"]


class NowPicture(NamedTuple):
    """A picture of the list."""

    name: str
    """subject/challenge/name without suffix, also the name of the prediction."""
    subject: str
    challenge: str
    path: Path
    """Path of the picture, which may be missing."""


class NowDataset:
    """The pictures of a split, with the scans of their subjects, read on demand.

    Attributes:
        pictures: all pictures of the list, in its order.
        missing: a line for each item that is missing or cannot be used; the others are used.
    """

    def __init__(self, root: str | Path, split: NowSplit = "validation") -> None:
        """Read the list of a split and find the files of its subjects.

        Args:
            root: folder that the NoW archives were unpacked in.
            split: split of the challenge.

        Raises:
            DataError: the folder, or the split's list in it, is missing, unreadable or without pictures.
        """
        self.root = Path(root)
        self.split: NowSplit = split
        self.missing: list[str] = []
        if not self.root.is_dir():
            raise DataError(
                f"{self.root}: there is no such folder; give the one that the NoW archives were unpacked in"
            )
        self._pictures, self._scans, self._landmarks = (self._find(name) for name in (PICTURES, SCANS, SCAN_LANDMARKS))
        self.pictures = self._read_list(self._find(LISTS[split]))
        self._scan_files = self._find_files(self._scans, "*.obj")
        self._landmark_files = self._drop_unreadable(self._find_files(self._landmarks, "*.pp"))
        self.missing += [f"{one.path}: there is no such picture" for one in self.pictures if not one.path.is_file()]

    @property
    def subjects(self) -> list[str]:
        """The subjects, in the order of the list."""
        return list(dict.fromkeys(picture.subject for picture in self.pictures))

    @property
    def measurable(self) -> list[NowPicture]:
        """The pictures whose subject has a scan with landmarks, so that predictions can be measured."""
        return [one for one in self.pictures if one.subject in self._scan_files and one.subject in self._landmark_files]

    def landmarks(self, subject: str) -> Float[np.ndarray, "7 3"]:
        """Read the seven points on a subject's scan.

        Args:
            subject: name of the subject.

        Returns:
            Points in NoW's order, mm.

        Raises:
            LandmarkError: the points are missing or damaged.
        """
        if subject not in self._landmark_files:
            raise LandmarkError(f"{self._landmarks}: there are no landmarks of {subject}; add {subject}/*.pp")
        return _read_scan_landmarks(self._landmark_files[subject])

    def scan(self, subject: str) -> Scan:
        """Read a subject's scan with its seven points.

        Args:
            subject: name of the subject.

        Raises:
            DataError: the scan is missing or damaged.
            LandmarkError: the points are missing or damaged.
        """
        if subject not in self._scan_files:
            raise DataError(f"{self._scans}: there is no scan of {subject}; add {subject}/*.obj")
        return Scan(read_mesh(self._scan_files[subject]).vertices, self.landmarks(subject))

    def _find(self, name: str) -> Path:
        places = [self.root / place / name for place in _ARCHIVE_FOLDERS]
        return next((place for place in places if place.exists()), places[0])

    def _read_list(self, path: Path) -> list[NowPicture]:
        text = read_limited_bytes(path, _LIST_MEGABYTES).decode("utf-8-sig", "surrogateescape")
        pictures: dict[str, NowPicture] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            picture = self._parse_line(line.strip())
            if picture is None:
                shown = printable(line.strip()[:_MAX_SHOWN])
                self.missing.append(
                    f"{path}, line {number}: {shown!r} does not have the form subject/challenge/name.jpg"
                )
            elif picture.name in pictures:
                self.missing.append(
                    f"{path}, line {number}: {printable(picture.name)} is listed twice; it is used once"
                )
            else:
                pictures[picture.name] = picture
        if not pictures:
            raise DataError(f"{path}: the list contains no pictures; use the list of the challenge")
        return list(pictures.values())

    def _parse_line(self, line: str) -> NowPicture | None:
        """Split a line; it may begin with other folders: the last three parts count, as for the public evaluation."""
        parts = line.replace("\\", "/").split("/")[-3:]
        if len(parts) < 3 or "\0" in line or any(part in ("", ".", "..") for part in parts):
            return None
        subject, challenge, file = parts
        return NowPicture(
            f"{subject}/{challenge}/{Path(file).stem}", subject, challenge, self._pictures / subject / challenge / file
        )

    def _find_files(self, folder: Path, pattern: str) -> dict[str, Path]:
        """Find the file of each subject in a folder; items that are missing are recorded."""
        if not folder.is_dir():
            self.missing.append(f"{folder}: there is no such folder; without it no prediction can be measured")
            return {}
        files: dict[str, Path] = {}
        for subject in self.subjects:
            found = sorted((folder / subject).glob(pattern)) if (folder / subject).is_dir() else []
            if not found:
                self.missing.append(f"{folder / subject}: there is no {pattern} of this subject")
                continue
            files[subject] = found[0]
            if len(found) > 1:
                self.missing.append(f"{folder / subject}: there are {len(found)} {pattern}; {found[0].name} is used")
        return files

    def _drop_unreadable(self, files: dict[str, Path]) -> dict[str, Path]:
        """Drop landmark files that cannot be read; they are small enough to read at once."""
        sound = {}
        for subject, path in files.items():
            try:
                _read_scan_landmarks(path)
            except LandmarkError as error:
                self.missing.append(str(error))
            else:
                sound[subject] = path
        return sound


def _read_scan_landmarks(path: Path) -> Float[np.ndarray, "7 3"]:
    points = read_picked_points(path)
    if len(points) < len(LANDMARK_NAMES):
        raise LandmarkError(f"{path}: {len(points)} points instead of {len(LANDMARK_NAMES)}; use the published file")
    return points[: len(LANDMARK_NAMES)]  # the public evaluation also uses the first seven
