"""Measures the quality of a fit: distances between picture, landmarks and fit, before and after the refinement."""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from focus_ray.data.align import Crop, resize_transform, transform_points
from focus_ray.data.detectors.detection import Detection, bounding_box
from focus_ray.focus.metrics import MASK_THRESHOLD
from focus_ray.focus.parameters import split_theta
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.predictor import Prediction
from focus_ray.inference.quality import MASK_CHANGE_FLOOR, QualityMeasures
from focus_ray.inference.self_alignment import AlignedFace


def measure_quality(
    picture: FaceLocations, detection: Detection, aligned: AlignedFace, prediction: Prediction, row: int
) -> QualityMeasures:
    """Measure the quality of the fit of one face.

    Args:
        picture: picture of the face.
        detection: where the face is in it.
        aligned: crop of the face, whose size may differ from that of the prediction.
        prediction: fits of a batch, on the CPU.
        row: place of the face in the batch.

    Returns:
        The measures; those of the refinement are None if there was none.
    """
    crop, one_pass = aligned.crop, prediction.one_pass
    first, refined = (prediction, False) if one_pass is None else (one_pass, True)
    pitch, yaw = split_theta(prediction.theta)[4][row, :2].tolist()
    first_size = first.images.shape[-1]
    return QualityMeasures(
        crop_scale=crop.scale * first_size / crop.size,
        outside=fraction_outside(prediction.region[row, 0].numpy(), crop, picture.image.shape),
        occlusion=float(prediction.occlusion[row]),
        yaw=yaw,
        pitch=pitch,
        first_residual=float(first.residual[row]),
        landmarks_from_model=detection.landmarks is None,
        box_only=picture.source == "detector" and detection.landmarks is None and detection.five_points is None,
        residual=float(prediction.residual[row]) if refined else None,
        first_landmark_distance=landmark_distance(detection, crop, first, row),
        landmark_distance=landmark_distance(detection, crop, prediction, row) if refined else None,
        presence=detection.presence if picture.source == "detector" else None,
        mask_change=mask_change(first, prediction, row) if refined else None,
        view_spread=aligned.spread,
    )


def picture_landmarks(crop: Crop, prediction: Prediction, row: int) -> Float[np.ndarray, "68 2"]:
    """Return the landmarks of a fit.

    Args:
        crop: aligned crop of the face; its size may differ from that of the prediction.
        prediction: fits of a batch, on the CPU.
        row: place of the face in the batch.

    Returns:
        px of the picture.
    """
    points = prediction.rendering.landmarks[row].detach().double().numpy()
    return crop.to_image(transform_points(resize_transform(prediction.images.shape[-1], crop.size), points))


def landmark_distance(detection: Detection, crop: Crop, prediction: Prediction, row: int) -> float | None:
    """Compute the mean distance between the detected or given landmarks and those of the fit.

    Args:
        detection: where the face is in the picture.
        crop: aligned crop of the face.
        prediction: fits of a batch, on the CPU.
        row: place of the face in the batch.

    Returns:
        Share of sqrt(width x height) of the box of the landmarks; None if the face has no landmarks but the model's.
    """
    if detection.landmarks is None:
        return None
    _, _, width, height = bounding_box(detection.landmarks)
    distances = np.linalg.norm(picture_landmarks(crop, prediction, row) - detection.landmarks, axis=1)
    size = float(np.sqrt(width * height))
    return float(distances.mean()) / size if size > 0 else None


def mask_change(first: Prediction, refined: Prediction, row: int) -> float:
    """Compute how much the refinement changed the mask, inside the region that both fits render.

    An occluder that the refinement explains as skin leaves few outliers and many changed pixels. Changes along the edge
    of an occluder that both masks find are few beside it.

    Args:
        first: prediction before the refinement, possibly of another size.
        refined: prediction after it.
        row: place of the face in the batch.

    Returns:
        Changed pixels over the outliers that are left and MASK_CHANGE_FLOOR of the region; 0 if the region is empty.
    """
    size = refined.mask.shape[-1]
    before = _resize(first.mask[row : row + 1], size) > MASK_THRESHOLD
    inside = (_resize(first.region[row : row + 1].to(first.mask), size) > MASK_THRESHOLD) & refined.region[row]
    after = refined.binary_mask[row]
    changed, left, total = (int(pixels.sum()) for pixels in (inside & (before ^ after), inside & ~after, inside))
    return changed / (left + MASK_CHANGE_FLOOR * total) if total else 0.0


def fraction_outside(region: Bool[np.ndarray, "S S"], crop: Crop, shape: tuple[int, ...]) -> float:
    """Compute the share of the rendered pixels that lie outside of the picture.

    Args:
        region: where the face is rendered; its size may differ from that of the crop.
        crop: aligned crop of the face.
        shape: height and width of the picture, px.

    Returns:
        The share; 0 if nothing is rendered.
    """
    rows, columns = np.nonzero(region)
    if len(rows) == 0:
        return 0.0
    points = np.stack([columns, rows], axis=1).astype(np.float64)
    x, y = crop.to_image(transform_points(resize_transform(len(region), crop.size), points)).T
    inside = (x >= -0.5) & (y >= -0.5) & (x <= shape[1] - 0.5) & (y <= shape[0] - 0.5)
    return 1.0 - float(inside.mean())


def _resize(mask: Float[Tensor, "1 1 H W"], size: int) -> Float[Tensor, "1 1 S S"]:
    if mask.shape[-1] == size:
        return mask
    return F.interpolate(mask, size=(size, size), mode="bilinear", align_corners=False)
