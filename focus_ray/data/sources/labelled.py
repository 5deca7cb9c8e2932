"""Pictures with masks of the visible face, for scores of segmentation and colour."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import describe_unused_lines, find_landmarks, read_landmarks
from focus_ray.data.mask import binarise_mask
from focus_ray.data.picture_source import PictureSource
from focus_ray.data.sources.description import Layout, read_description
from focus_ray.data.sources.files import bare_name
from focus_ray.data.sources.subset_lists import OVERALL, read_names
from focus_ray.errors import DataError, ImageError, printable

logger = logging.getLogger(__name__)

LANDMARKS = "landmarks.csv"


@dataclass(frozen=True)
class LabelFiles:
    """Files of a picture; the face is visible where one of `face` is set and none of `hiding`.

    Attributes:
        picture: file of the picture.
        face: mask files by part of the face.
        hiding: mask files by part that hides the face.
    """

    picture: str
    face: Mapping[str, str]
    hiding: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class LabelledPictures:
    """Pictures with masks, in a folder or below s3://bucket/prefix; files are read on demand.

    Attributes:
        layout: layout of the data set.
        source: folder or store of the files.
        labels: files by name.
        subsets: names by subset.
        missing: a line for each item that is missing or cannot be used; the others are used.
        aligned: whether the pictures are aligned crops.
        points: landmarks by name, px.
        names: names relative to the folder of pictures, without suffix, in their order.
    """

    layout: Layout
    source: PictureSource
    labels: dict[str, LabelFiles]
    subsets: dict[str, list[str]]
    missing: list[str]
    aligned: bool
    points: Mapping[str, Float[np.ndarray, "68 2"]] = field(default_factory=dict, repr=False)
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = list(self.labels)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def root(self) -> str:
        """The place of the set as a user writes it."""
        return str(self.source)

    def picture(self, name: str) -> UInt8[np.ndarray, "H W 3"]:
        """Read a picture.

        Args:
            name: one of `names`.

        Returns:
            RGB, 0 to 255.

        Raises:
            ImageError: the picture is missing or damaged.
            DataError: the name is not in the set.
        """
        return self._read([self._label_files(name).picture])[0]

    def mask(self, name: str) -> Bool[np.ndarray, "H W"]:
        """Read the mask of the visible face, in the picture's own pixels.

        Masks of another size are scaled to the nearest pixel.

        Args:
            name: one of `names`.

        Returns:
            True where the face is visible.

        Raises:
            ImageError: the picture or a mask is missing or damaged, a mask holds 0 and 1 only, or the masks have two
                sizes.
            DataError: the name is not in the set.
        """
        parts, labels = self.parts(name), self._label_files(name)
        seen = np.logical_or.reduce([parts[part] for part in labels.face])
        hidden = np.logical_or.reduce([np.zeros_like(seen), *(parts[part] for part in labels.hiding)])
        return _resize_mask(seen & ~hidden, *self.picture(name).shape[:2])

    def parts(self, name: str) -> dict[str, Bool[np.ndarray, "H W"]]:
        """Read the marked parts of a picture.

        Args:
            name: one of `names`.

        Returns:
            Masks by part, in the masks' own pixels.

        Raises:
            ImageError: a mask is missing or damaged or holds 0 and 1 only, or the masks have two sizes.
            DataError: the name is not in the set.
        """
        labels = self._label_files(name)
        files = {**labels.face, **labels.hiding}
        pictures = zip(files.values(), self._read(list(files.values())), strict=True)
        masks = [binarise_mask(picture.max(axis=2), self.source.location(file)) for file, picture in pictures]
        if len({mask.shape for mask in masks}) > 1:
            place = self.source.location(labels.picture)
            raise ImageError(f"{place}: the masks of this picture have different sizes; use the published ones")
        return dict(zip(files, masks, strict=True))

    def landmarks(self, name: str) -> Float[np.ndarray, "68 2"] | None:
        """Return the 68 landmarks of a picture.

        Args:
            name: one of `names`.

        Returns:
            px, iBUG order; None if landmarks.csv has none.
        """
        return find_landmarks(self.points, name)

    def _label_files(self, name: str) -> LabelFiles:
        if name not in self.labels:
            raise DataError(f"{self.source}: there is no picture {printable(name)!r} in the set; use one of its names")
        return self.labels[name]

    def _read(self, files: Sequence[str]) -> list[UInt8[np.ndarray, "H W 3"]]:
        return [read_image(content(), name=self.source.location(file)) for file, content in self.source.contents(files)]


def build_labelled_pictures(
    layout: Layout,
    source: PictureSource,
    folder: str,
    labels: Mapping[str, LabelFiles],
    subsets: Mapping[str, Sequence[str]],
    missing: Sequence[str],
    listed: bool = True,
) -> LabelledPictures:
    """Build a set with its landmarks; if there is an overall.txt, only the pictures that it names are kept.

    Args:
        layout: layout of the data set.
        source: folder or store of the files.
        folder: folder of the pictures, which names are relative to.
        labels: files by name.
        subsets: names by subset; pictures that are not kept are removed.
        missing: a line for each item that is missing.
        listed: False: overall.txt is ignored.

    Raises:
        DataError: no picture is left, or a list or dataset.json is damaged.
        LandmarkError: landmarks.csv is damaged.
    """
    problems, known = list(missing), list(labels)
    if listed and source.holds(OVERALL):
        named = read_names(f"{source}/{OVERALL}", folder)
        problems += [
            f"{source}/{OVERALL}: {printable(name)} has no picture or no mask" for name in named if name not in labels
        ]
        labels = {name: labels[name] for name in named if name in labels}
    if not labels:
        first = f"; first: {problems[0]}" if problems else ""
        raise DataError(f"{source}: there is no picture with a mask{first}; check the folder and its layout")
    described = read_description(source)
    points = read_landmarks(f"{source}/{LANDMARKS}") if source.holds(LANDMARKS) else {}
    points = {bare_name(name, folder): one for name, one in points.items()}
    unused = describe_unused_lines(points, known)
    if unused is not None:
        logger.warning("%s: %s", source, unused)
    return LabelledPictures(
        layout,
        source,
        dict(labels),
        {subset: [name for name in names if name in labels] for subset, names in subsets.items()},
        problems,
        described is not None and described.aligned,
        points,
    )


def _resize_mask(mask: Bool[np.ndarray, "h w"], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
