"""Deep3D's alignment: a face is turned upright, scaled and shifted to the five points of a standard face.

Training, evaluation and reconstruction cut their crops by `crop_from_landmarks` and `crop_from_five_points`.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8

from focus_ray.errors import LandmarkError
from focus_ray.face_models.landmarks import five_points

# The five standard points (eye centres, nose tip, mouth corners) in units of about 100 mm, y up: method section 8.2.
STANDARD_POINTS = np.array(
    [
        [-0.311487, 0.290361, 0.133780],
        [0.309799, 0.289720, 0.131795],
        [0.003253, -0.046179, 0.552442],
        [-0.252169, -0.381339, 0.224057],
        [0.248466, -0.381282, 0.222358],
    ]
)
REFERENCE_SIZE = 224  # px: side of the crop that the two constants below refer to
REFERENCE_SCALE = 102.0  # px to a unit of the standard points
REFERENCE_CENTRE = 112.0  # px: where the standard face's origin lies

_BORDER = 2  # px of the crop kept around the region that is warped, for the interpolation at its edge


@dataclass(frozen=True)
class Crop:
    """A square crop of a picture, given by one affine transform.

    Attributes:
        matrix: transform from px of the picture to px of the crop; pixel centres at integers.
        size: side of the crop, px.
    """

    matrix: Float[np.ndarray, "2 3"]
    size: int

    @property
    def inverse(self) -> Float[np.ndarray, "2 3"]:
        """The transform from px of the crop to px of the picture."""
        return cv2.invertAffineTransform(self.matrix)

    @property
    def scale(self) -> float:
        """Number of crop px per picture px."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:, :2]))))

    @property
    def roll(self) -> float:
        """Rotation of the picture by the crop [rad]; positive turns x towards y, clockwise as seen."""
        return math.atan2(float(self.matrix[1, 0]), float(self.matrix[0, 0]))

    def to_crop(self, points: Float[np.ndarray, "*N 2"]) -> Float[np.ndarray, "*N 2"]:
        """Transform points of the picture to the crop.

        Args:
            points: px of the picture.

        Returns:
            px of the crop.
        """
        return transform_points(self.matrix, points)

    def to_image(self, points: Float[np.ndarray, "*N 2"]) -> Float[np.ndarray, "*N 2"]:
        """Transform points of the crop to the picture.

        Args:
            points: px of the crop.

        Returns:
            px of the picture.
        """
        return transform_points(self.inverse, points)

    def then(self, matrix: Float[np.ndarray, "2 3"]) -> "Crop":
        """Return the crop with another transform applied after its own.

        Args:
            matrix: transform from px of the crop to px of the new crop.

        Returns:
            The new crop, of the same size.
        """
        return Crop(compose(matrix, self.matrix), self.size)

    def resized(self, size: int) -> "Crop":
        """Return the same crop with another number of pixels.

        Args:
            size: side of the new crop, px.
        """
        return self if size == self.size else Crop(compose(resize_transform(self.size, size), self.matrix), size)

    def warp(self, image: Shaped[np.ndarray, "H W *C"]) -> Shaped[np.ndarray, "S S *C"]:
        """Sample a picture in the crop; shrinking averages over areas.

        Args:
            image: picture with any channels.

        Returns:
            The crop of the picture, zero outside the picture.
        """
        return _warp(image, self.matrix, self.size)

    def to_image_mask(
        self, mask: Float[np.ndarray, "S S"], height: int, width: int
    ) -> Float[np.ndarray, "height width"]:
        """Transform a mask of the crop to the picture, bilinearly.

        Args:
            mask: mask in px of the crop.
            height: height of the picture, px.
            width: width of the picture, px.

        Returns:
            Mask in px of the picture, zero outside the crop.
        """
        flags = cv2.INTER_LINEAR
        return cv2.warpAffine(np.ascontiguousarray(mask), self.inverse, (width, height), flags=flags, borderValue=0)


def crop_from_landmarks(landmarks: Float[np.ndarray, "68 2"], size: int) -> Crop:
    """Compute the aligned crop of a face from 68 landmarks, the face turned upright.

    Args:
        landmarks: px of the picture, iBUG order.
        size: side of the crop, px.

    Returns:
        The aligned crop.

    Raises:
        LandmarkError: the landmarks do not span a face.
    """
    return crop_from_five_points(five_points(torch.from_numpy(landmarks)).numpy(), size)


def crop_from_five_points(points: Float[np.ndarray, "5 2"], size: int) -> Crop:
    """Compute the aligned crop of a face from its five points, the face turned upright.

    Args:
        points: eye centres, nose tip and mouth corners (the subject's right first), px of the picture.
        size: side of the crop, px.

    Returns:
        The aligned crop.

    Raises:
        LandmarkError: the points do not span a face.
    """
    return align(points, size, face_roll(points))


def align(points: Float[np.ndarray, "5 2"], size: int, roll: float = 0.0) -> Crop:
    """Compute the crop of a face from its five points.

    A weak-perspective camera is fitted to the points (POS: least squares of a 2x4 affine camera). Its mean row length
    is the scale and its offset the centre: p -> s (p - t) + 112 at 224 px; pixel centres are kept at other sizes.

    Args:
        points: eye centres, nose tip and mouth corners (the subject's right first), px of the picture.
        size: side of the crop, px.
        roll: rotation of the face in the picture, rad, clockwise as seen; it is removed before the fit.

    Returns:
        The aligned crop.

    Raises:
        LandmarkError: the points do not span a face.
    """
    upright = rotation_transform(-roll)
    scale, origin = weak_perspective(transform_points(upright, points))
    zoom = REFERENCE_SCALE / scale
    to_reference = np.array([[zoom, 0.0, 0.0], [0.0, zoom, 0.0]])
    to_reference[:, 2] = REFERENCE_CENTRE - zoom * origin
    return Crop(compose(resize_transform(REFERENCE_SIZE, size), compose(to_reference, upright)), size)


def weak_perspective(points: Float[np.ndarray, "5 2"]) -> tuple[float, Float[np.ndarray, " 2"]]:
    """Fit a weak-perspective camera to the five points (POS).

    Args:
        points: eye centres, nose tip and mouth corners, px.

    Returns:
        (scale, origin): px per unit of STANDARD_POINTS, and the image of their origin, px.

    Raises:
        LandmarkError: the points are not finite, or coincide.
    """
    if not np.isfinite(points).all():
        raise LandmarkError("the five points are not finite numbers; correct the landmarks")
    model = np.hstack([STANDARD_POINTS * [1.0, -1.0, 1.0], np.ones((5, 1))])  # y down, as in the picture
    camera = np.linalg.lstsq(model, np.asarray(points, dtype=np.float64), rcond=None)[0].T
    scale = float(np.linalg.norm(camera[:, :3], axis=1).mean())
    if scale <= np.finfo(np.float32).eps * (1.0 + float(np.abs(points).max())):
        raise LandmarkError("the five points coincide; correct the landmarks")
    return scale, camera[:, 3]


def standard_points(size: int) -> Float[np.ndarray, "5 2"]:
    """Compute the five points of the standard face in a crop.

    Args:
        size: side of the crop, px.

    Returns:
        px of the crop.
    """
    reference = REFERENCE_CENTRE + REFERENCE_SCALE * STANDARD_POINTS[:, :2] * [1.0, -1.0]
    return transform_points(resize_transform(REFERENCE_SIZE, size), reference)


def resize_transform(old: int, new: int) -> Float[np.ndarray, "2 3"]:
    """Compute the transform of px when a square picture is resized.

    Pixel centres are at integers, so the corners are at -1/2.

    Args:
        old: side before, px.
        new: side after, px.

    Returns:
        Transform from px before to px after.
    """
    ratio = new / old
    shift = (ratio - 1.0) / 2.0
    return np.array([[ratio, 0.0, shift], [0.0, ratio, shift]])


def rotation_transform(angle: float) -> Float[np.ndarray, "2 3"]:
    """Compute the rotation about the origin.

    Args:
        angle: rad, clockwise as seen with y down.

    Returns:
        Affine transform without translation.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])


def rotated_view(x: float, y: float, zoom: float, degrees: float, side: int) -> Crop:
    """Compute a square view centred on a point, in which a face of the given roll is upright.

    Args:
        x: centre, px of the picture.
        y: centre, px of the picture.
        zoom: px of the view per px of the picture.
        degrees: roll of the face, clockwise as seen.
        side: side of the view, px.
    """
    middle = (side - 1) / 2
    turn = rotation_transform(-math.radians(degrees))
    turn[:, :2] *= zoom
    return Crop(np.hstack([turn[:, :2], [[middle], [middle]] - turn[:, :2] @ [[x], [y]]]), side)


def compose(outer: Float[np.ndarray, "2 3"], inner: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """Compose two affine transforms.

    Args:
        outer: transform applied second.
        inner: transform applied first.

    Returns:
        The one transform that applies both.
    """
    linear = outer[:, :2] @ inner[:, :2]
    return np.hstack([linear, outer[:, :2] @ inner[:, 2:] + outer[:, 2:]])


def transform_points(matrix: Float[np.ndarray, "2 3"], points: Float[np.ndarray, "*N 2"]) -> Float[np.ndarray, "*N 2"]:
    """Apply an affine transform to points.

    Args:
        matrix: affine transform.
        points: points in its domain.

    Returns:
        The transformed points.
    """
    return points @ matrix[:, :2].T + matrix[:, 2]


def _warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Cut out the region that is seen, shrink it by areas to the crop's scale, then interpolate linearly."""
    left, top, right, bottom = _visible_region(image.shape, matrix, size)
    if left >= right or top >= bottom:
        return np.zeros((size, size, *image.shape[2:]), image.dtype)
    region = image[top:bottom, left:right]
    to_region = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]])
    region, shrink = _shrink(region, math.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    from_region = cv2.invertAffineTransform(compose(shrink, to_region))
    return cv2.warpAffine(region, compose(matrix, from_region), (size, size), flags=cv2.INTER_LINEAR, borderValue=0)


def _visible_region(shape: tuple[int, ...], matrix: np.ndarray, size: int) -> tuple[int, int, int, int]:
    low, high = -1.0 - _BORDER, size + _BORDER
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    seen = transform_points(cv2.invertAffineTransform(matrix), corners)
    left, top = np.floor(seen.min(axis=0)).clip(0, [shape[1], shape[0]])
    right, bottom = np.ceil(seen.max(axis=0) + 1).clip(0, [shape[1], shape[0]])
    return int(left), int(top), int(right), int(bottom)


def _shrink(region: np.ndarray, scale: float) -> tuple[np.ndarray, Float[np.ndarray, "2 3"]]:
    """The region at `scale` where that is below 1, and the transform of its px."""
    height, width = region.shape[:2]
    if scale >= 1.0:
        return region, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    ratio = np.array([small[0] / width, small[1] / height])
    matrix = np.hstack([np.diag(ratio), ((ratio - 1.0) / 2.0)[:, None]])
    return cv2.resize(region, small, interpolation=cv2.INTER_AREA), matrix


def as_float(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "3 H W"]:
    """Convert 8-bit RGB to float32, channels first.

    Args:
        image: RGB, 0 to 255.

    Returns:
        RGB in [0, 1].
    """
    pixels = image.transpose(2, 0, 1).astype(np.float32, order="C")
    pixels /= np.float32(255.0)
    return pixels


def face_roll(points: Float[np.ndarray, "5 2"]) -> float:
    """Compute the roll of a face in its picture from its eyes and mouth corners.

    The roll is the rotation of the similarity that best maps the standard points to the given ones; the nose tip is
    left out because it moves with yaw.

    Args:
        points: eye centres, nose tip and mouth corners, px.

    Returns:
        Roll, rad, clockwise as seen.
    """
    flat = [0, 1, 3, 4]
    standard = STANDARD_POINTS[flat, :2] * [1.0, -1.0]
    standard = standard - standard.mean(axis=0)
    seen = points[flat] - points[flat].mean(axis=0)
    sine = standard[:, 0] @ seen[:, 1] - standard[:, 1] @ seen[:, 0]
    return math.atan2(sine, (standard * seen).sum())
