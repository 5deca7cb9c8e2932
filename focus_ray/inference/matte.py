"""Region and mask of a face at the resolution of its picture, for overlay, mask files, contact sheet and endpoint.

The region is the silhouette of the rendered mesh. The network's mask M has the few pixels of the aligned crop; a guided
filter interpolates it along the edges of the picture. The binary mask is M > 1/2, as in the crop.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.align import Crop, compose
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.metrics import MASK_THRESHOLD
from focus_ray.inference.face_rendering import FaceRendering, render_face
from focus_ray.inference.face_result import FaceArrays, FaceResult
from focus_ray.inference.guided_filter import fit_local_model
from focus_ray.inference.image_window import Window, crop_window, warp_to_window, window_crop

# Chosen on 30 composites of real faces, by the outlier IoU at the picture's resolution.
_RADIUS = 2.0  # px of the crop: half a side of the filter's neighbourhoods
_REGULARISATION = 3e-4  # variance of colours in [0, 1]
_MAX_FIT_PX = 800  # px: longer side of the picture that the filter is fitted to

_COVERED = 0.5  # least coverage of a pixel of the region
_OPAQUE = np.uint8(255)


@dataclass(frozen=True, eq=False)
class FaceMatte:
    """Region and mask of a face in the window of its picture that the crop covers."""

    window: Window
    coverage: Float[np.ndarray, "h w"]  # 0 to 1, where the face is rendered
    soft_mask: Float[np.ndarray, "h w"]  # M in [0, 1]; 0 outside of the region

    @property
    def region(self) -> Bool[np.ndarray, "h w"]:
        """Where the face is rendered."""
        return self.coverage >= _COVERED

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Binarised M: where the face is visible."""
        return self.soft_mask > MASK_THRESHOLD

    @property
    def visibility(self) -> Float[np.ndarray, "h w"]:
        """Opacity of the visible face, 0 to 1: the binary mask, its edges blurred by about a pixel."""
        hidden = (self.region & ~self.mask).astype(np.float32)
        return self.coverage * (1 - cv2.GaussianBlur(hidden, (3, 3), 0))

    def region_image(self, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """Return 255 where the face is rendered, else 0, in the size of the picture (px)."""
        return self._in_picture(self.region * _OPAQUE, height, width)

    def mask_image(self, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """Return 255 where the face is visible, else 0, in the size of the picture (px)."""
        return self._in_picture(self.mask * _OPAQUE, height, width)

    def soft_mask_image(self, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """Return 255 M in the size of the picture (px); above 127 where `mask_image` is 255."""
        rounded = np.ceil(255 * self.soft_mask - np.float32(0.5))  # halves are rounded down: M = 1/2 becomes 127
        return self._in_picture(rounded.astype(np.uint8), height, width)

    def _in_picture(
        self, values: UInt8[np.ndarray, "h w"], height: int, width: int
    ) -> UInt8[np.ndarray, "height width"]:
        picture = np.zeros((height, width), np.uint8)
        picture[self.window] = values
        return picture


def face_matte(
    image: UInt8[np.ndarray, "H W 3"], result: FaceResult, model: MorphableModel, camera: Camera
) -> FaceMatte:
    """Render a face and compute its region and mask at the resolution of its picture.

    Args:
        image: the picture, RGB.
        result: the face; its transform is that of this picture.
        model: the face model that fitted it.
        camera: the camera of the crop.
    """
    return compute_matte(image, result.arrays, render_face(result, model, camera))


def compute_matte(image: UInt8[np.ndarray, "H W 3"], arrays: FaceArrays, rendering: FaceRendering) -> FaceMatte:
    """Compute region and mask of a rendered face at the resolution of its picture.

    Args:
        image: the picture, RGB.
        arrays: pixels of the face; their transform is that of this picture.
        rendering: the face, rendered for this picture.

    Returns:
        Region and mask. If the picture has no more pixels than the crop, M is only interpolated.
    """
    crop = Crop(arrays.transform, len(arrays.soft_mask))
    window = crop_window(crop, *image.shape[:2])
    coverage = warp_to_window(rendering.coverage, rendering.crop, window)
    soft = _refine(image[window], _extend(arrays), window_crop(crop, window), coverage)
    return FaceMatte(window, coverage, np.where(coverage >= _COVERED, soft.clip(0, 1), 0).astype(np.float32))


def _extend(arrays: FaceArrays) -> Float[np.ndarray, "S S"]:
    """Continue M past the silhouette by its nearest value; interpolation beside the zeros there would lower it."""
    if not arrays.region.any():
        return arrays.soft_mask
    outside = (~arrays.region).astype(np.uint8)
    _, found = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.asarray(found, np.int64)  # for each pixel, the label of the nearest one of the region
    values = np.zeros(int(nearest.max()) + 1, np.float32)
    values[nearest[arrays.region]] = arrays.soft_mask[arrays.region]
    return values[nearest]


def _refine(
    image: UInt8[np.ndarray, "h w 3"],
    values: Float[np.ndarray, "S S"],
    crop: Crop,
    coverage: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w"]:
    """Upsample values of a crop to a picture by the guided filter, within the face.

    Args:
        image: the picture.
        values: values of the crop.
        crop: the crop of this picture.
        coverage: where the face is rendered.
    """
    height, width = image.shape[:2]
    if crop.scale >= 1.0:
        return _interpolate(values, crop, height, width)
    zoom = min(1.0, _MAX_FIT_PX / max(height, width))
    rows, columns = max(1, round(height * zoom)), max(1, round(width * zoom))
    small, weights = image, coverage
    if (rows, columns) != (height, width):
        small, weights = (cv2.resize(one, (columns, rows), interpolation=cv2.INTER_AREA) for one in (image, coverage))
    ratio = np.array([width / columns, height / rows])
    to_window = np.hstack([np.diag(ratio), ((ratio - 1.0) / 2.0)[:, None]])
    reduced = Crop(compose(crop.matrix, to_window), crop.size)
    coarse = _interpolate(values, reduced, rows, columns)
    radius = min(max(1, round(_RADIUS / reduced.scale)), max(rows, columns))
    return fit_local_model(small, coarse, weights, radius, _REGULARISATION).predict(image)


def _interpolate(
    values: Float[np.ndarray, "S S"], crop: Crop, height: int, width: int
) -> Float[np.ndarray, "height width"]:
    """Interpolate values of a crop at the pixels of its picture, bilinearly; they continue outside of the crop."""
    return cv2.warpAffine(
        values, crop.inverse, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
