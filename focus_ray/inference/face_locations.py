"""Location of the faces of an image by a detector, given landmarks, a given box, or an already aligned crop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from focus_ray.data.align import Crop, resize_transform
from focus_ray.data.detectors.detection import (
    Detection,
    Detector,
    DetectorInfo,
    bounding_box,
    describe_detector,
)
from focus_ray.data.landmark_check import to_finite_array, validate_landmarks
from focus_ray.errors import ConfigError, ImageError
from focus_ray.inference.self_alignment import (
    DEFAULT_ALIGNMENT,
    AlignedFace,
    AlignmentSettings,
    CropView,
    crop_from_detection,
    self_align,
)

Box = tuple[float, float, float, float]

_MIN_BOX_PX = 8.0  # px of the shorter side of a box


@dataclass(frozen=True, eq=False)
class FaceLocations:
    """An image and the locations of its faces.

    Attributes:
        image: upright RGB.
        faces: the faces, in px of the image.
        source: where the locations are from; "picture" means that the whole image is one aligned crop.
        detector: what detected the faces; None if they were given.
    """

    image: UInt8[np.ndarray, "H W 3"]
    faces: list[Detection]
    source: Literal["detector", "landmarks", "box", "picture"] = "detector"
    detector: DetectorInfo | None = None

    def initial_crop(self, face: Detection, size: int, settings: AlignmentSettings) -> Crop:
        """Return the first guess at the aligned crop of a face.

        Args:
            face: one of `faces`.
            size: side of the crop, px.
            settings: how a box becomes a crop.
        """
        if self.source == "picture":
            return Crop(resize_transform(len(self.image), size), size)
        return crop_from_detection(face, size, settings)

    def alignment_rounds(self, settings: AlignmentSettings) -> int:
        """Return how often the model may move the crop."""
        return {"detector": settings.rounds, "box": settings.box_rounds}.get(self.source, 0)


def locate_faces(
    image: UInt8[np.ndarray, "H W 3"],
    detector: Detector,
    *,
    landmarks: Float[np.ndarray, "68 2"] | None = None,
    box: Box | None = None,
    aligned: bool = False,
) -> FaceLocations:
    """Detect all faces, or return the single face given by landmarks, a box, or an already aligned crop.

    Args:
        image: upright RGB.
        detector: used only if nothing else is given.
        landmarks: 68 iBUG points, px; they take precedence over `box`, and `box` over `aligned`.
        box: x, y, width, height, px.
        aligned: whether the image is an aligned crop of one face.

    Returns:
        The image and its faces; the detector may find none.

    Raises:
        LandmarkError: the landmarks are not those of a face, or lie outside of the image.
        ConfigError: the box is malformed, too small, or lies outside of the image.
        ImageError: the aligned crop is not square or too small.
    """
    if landmarks is not None:
        points = validate_landmarks(landmarks, *image.shape[:2])
        return FaceLocations(image, [Detection(bounding_box(points), landmarks=points)], "landmarks")
    if box is not None:
        return FaceLocations(image, [Detection(_require_overlap(parse_box(box), image))], "box")
    if aligned:
        height, width = image.shape[:2]
        if height != width or width < _MIN_BOX_PX:
            raise ImageError(
                f"the aligned crop of {width} x {height} px is not square or smaller than {_MIN_BOX_PX:g} px; "
                "leave `aligned` out for other pictures"
            )
        return FaceLocations(image, [Detection((0.0, 0.0, float(width), float(height)))], "picture")
    return FaceLocations(image, detector.detect(image), detector=describe_detector(detector))


def align_faces(
    landmark_fn: Callable[[Tensor], Tensor],
    pictures: Sequence[FaceLocations],
    size: int,
    settings: AlignmentSettings = DEFAULT_ALIGNMENT,
) -> list[AlignedFace]:
    """Align each face by its detected or given landmarks, else by those that the model predicts.

    Args:
        landmark_fn: maps crops [B, 3, S, S] to their landmarks [B, 68, 2] in px of the crops.
        pictures: images and the locations of their faces.
        size: side S of the crops, px.
        settings: rounds, views and limits.

    Returns:
        The crops of all faces of all images, in order, with their landmarks.

    Raises:
        LandmarkError: given landmarks are degenerate, so that no crop can be aligned to them.
    """
    aligned: dict[int, AlignedFace] = {}
    views_by_rounds: dict[int, list[tuple[int, CropView]]] = {}  # index among all faces, and the first crop
    for index, (picture, face) in enumerate((one, face) for one in pictures for face in one.faces):
        crop = picture.initial_crop(face, size, settings)
        if face.landmarks is not None:
            aligned[index] = AlignedFace(crop, face.landmarks)
        else:
            view = CropView(picture.image, crop)
            views_by_rounds.setdefault(picture.alignment_rounds(settings), []).append((index, view))
    for rounds, views in views_by_rounds.items():
        found = self_align(landmark_fn, [view for _, view in views], settings.model_copy(update={"rounds": rounds}))
        aligned |= {index: face for (index, _), face in zip(views, found, strict=True)}
    return [aligned[index] for index in sorted(aligned)]


def check_image(image: object) -> None:
    """Check that an image is a uint8 RGB array [H, W, 3].

    Raises:
        ImageError: it is anything else.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"the picture has type {type(image).__name__}; give uint8 RGB, [H, W, 3], for example np.asarray(image)"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"the picture has type {image.dtype} and shape {image.shape}; give uint8 RGB, [H, W, 3]")


def parse_box(box: object) -> Box:
    """Convert a box to x, y, width and height (px) as floats.

    Raises:
        ConfigError: it is not four finite numbers, or a side is shorter than 8 px.
    """
    numbers = to_finite_array(box)
    if numbers is None or numbers.shape != (4,):
        raise ConfigError("the box is not four finite numbers; give x,y,width,height in px")
    x, y, width, height = numbers.tolist()
    if min(width, height) < _MIN_BOX_PX:
        raise ConfigError(
            f"the box of {width:g} x {height:g} px is too small; give x,y,width,height with sides of at least "
            f"{_MIN_BOX_PX:g} px"
        )
    return x, y, width, height


def _require_overlap(box: Box, image: np.ndarray) -> Box:
    x, y, width, height = box
    if x >= image.shape[1] or y >= image.shape[0] or x + width <= 0 or y + height <= 0:
        raise ConfigError(
            f"the box {box} lies outside of the picture of {image.shape[1]} x {image.shape[0]} px; move the box"
        )
    return box
