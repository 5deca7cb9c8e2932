"""Locate the faces of an image from a detector, given landmarks, a given box, or an already aligned crop."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from focus_ray.data.align import Crop, resize_transform
from focus_ray.data.detect import Detection, Detector
from focus_ray.data.landmark_check import to_finite_array, validate_landmarks
from focus_ray.errors import ConfigError, ImageError
from focus_ray.inference.self_alignment import AlignmentSettings, crop_from_detection

Box = tuple[float, float, float, float]

_MIN_BOX_PX = 8.0  # px a side: less shows no face


@dataclass(frozen=True, eq=False)
class FaceLocations:
    """A picture and where its faces are; everything that a model needs to fit them."""

    image: UInt8[np.ndarray, "H W 3"]
    faces: list[Detection]
    source: Literal["detector", "landmarks", "box", "picture"] = "detector"

    def initial_crop(self, face: Detection, size: int, settings: AlignmentSettings) -> Crop:
        """The first guess at the aligned crop."""
        if self.source == "picture":
            return Crop(resize_transform(len(self.image), size), size)
        return crop_from_detection(face, size, settings)

    def alignment_rounds(self, settings: AlignmentSettings) -> int:
        """How often the model may move the crop."""
        return {"detector": settings.rounds, "box": settings.box_rounds}.get(self.source, 0)


def locate_faces(
    image: UInt8[np.ndarray, "H W 3"],
    detector: Detector,
    *,
    landmarks: Float[np.ndarray, "68 2"] | None = None,
    box: Box | None = None,
    aligned: bool = False,
) -> FaceLocations:
    """Detect all faces, or return the single face given by 68 landmarks [px], a box [px], or `aligned=True`.

    Raises LandmarkError for landmarks, ConfigError for a box, that are none or lie beside the picture, ImageError for
    a crop that is not square.
    """
    if landmarks is not None:
        points = validate_landmarks(landmarks, *image.shape[:2])
        return FaceLocations(image, [Detection(_bounding_box(points), landmarks=points)], "landmarks")
    if box is not None:
        return FaceLocations(image, [Detection(_require_overlap(parse_box(box), image))], "box")
    if aligned:
        height, width = image.shape[:2]
        if height != width or width < _MIN_BOX_PX:
            raise ImageError(
                f"an aligned crop of {width} x {height} px was given; it is square, {_MIN_BOX_PX:g} px or more: "
                "leave `aligned` out for other pictures"
            )
        return FaceLocations(image, [Detection((0.0, 0.0, float(width), float(height)))], "picture")
    return FaceLocations(image, detector.detect(image))


def check_image(image: object) -> None:
    """Raises ImageError for anything but uint8 RGB, [H, W, 3]."""
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"a picture was given as {type(image).__name__}; give uint8 RGB, [H, W, 3], np.asarray(image) for instance"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            f"a picture of type {image.dtype} and shape {image.shape} was given; give uint8 RGB, [H, W, 3]"
        )


def parse_box(box: object) -> Box:
    """x, y, width and height as floats. Raises ConfigError for anything but four numbers of a box of some size."""
    numbers = to_finite_array(box)
    if numbers is None or numbers.shape != (4,):
        raise ConfigError("the box is not four finite numbers; give x,y,width,height in px")
    x, y, width, height = numbers.tolist()
    if min(width, height) < _MIN_BOX_PX:
        raise ConfigError(
            f"the box of {width:g} x {height:g} px is too small; give x,y,width,height, {_MIN_BOX_PX:g} px a side "
            "or more"
        )
    return x, y, width, height


def _require_overlap(box: Box, image: np.ndarray) -> Box:
    x, y, width, height = box
    if x >= image.shape[1] or y >= image.shape[0] or x + width <= 0 or y + height <= 0:
        raise ConfigError(
            f"the box {box} lies outside of the picture of {image.shape[1]} x {image.shape[0]} px; move it"
        )
    return box


def _bounding_box(points: Float[np.ndarray, "68 2"]) -> Box:
    low, high = points.min(axis=0), points.max(axis=0)
    x, y, width, height = np.concatenate([low, high - low]).tolist()
    return x, y, width, height
