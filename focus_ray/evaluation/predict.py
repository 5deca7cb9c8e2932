"""Runs a method on a data set: aligns and fits each picture, and warps the output back into its pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from focus_ray.data.align import Crop, resize_transform
from focus_ray.data.detectors.by_name import DetectorSpec, resolve_detector
from focus_ray.data.detectors.detection import Detector
from focus_ray.data.landmark_check import validate_landmarks
from focus_ray.errors import DataError, ImageError, LandmarkError
from focus_ray.evaluation.methods import Method
from focus_ray.evaluation.now.export import select_now_landmarks, write_prediction
from focus_ray.evaluation.predictions import MESHES, MethodOutput, PredictionFolder
from focus_ray.focus.parameters import split_theta
from focus_ray.inference.face_locations import align_faces, locate_faces
from focus_ray.inference.predictor import Prediction, Predictor
from focus_ray.inference.self_alignment import AlignedFace, extract_crops
from focus_ray.runtime.task_pool import flatten_in_order, run_tasks
from focus_ray.runtime.tasks import PoolSettings

# Pictures per piece and batch. The last bits of the results depend on it.
BATCH = 20

_WHITE = 255
_VISIBLE = 0.5


@runtime_checkable
class PictureDataset(Protocol):
    """Data set whose pictures can be predicted on."""

    names: list[str]
    aligned: bool  # whether the pictures are already aligned crops

    def picture(self, name: str) -> np.ndarray:
        """Read a picture.

        Returns:
            uint8 RGB [H, W, 3].

        Raises:
            ImageError: the picture is missing or damaged.
        """
        ...

    def landmarks(self, name: str) -> np.ndarray | None:
        """Return the landmarks of a picture.

        Returns:
            68 points, px; None if they are unknown.

        Raises:
            LandmarkError: they are damaged.
        """
        ...


@dataclass
class PredictionJob:
    """Pieces of `predict`, BATCH pictures each."""

    method: Method
    pictures: PictureDataset
    meshes: bool
    detector: DetectorSpec
    _predictor: Predictor | None = field(default=None, repr=False)
    _detector: Detector | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return (len(self.pictures.names) + BATCH - 1) // BATCH

    def batch_names(self, number: int) -> list[str]:
        """Return the names of a piece's pictures."""
        return self.pictures.names[number * BATCH : (number + 1) * BATCH]

    def prepare(self, device: str) -> None:
        self.method.to(device)
        self._predictor = Predictor(self.method.model.focus, self.method.model.refine).eval()
        self._detector = self.detector.build()

    def piece(self, number: int) -> dict[str, MethodOutput | str]:
        """Predict the pictures of a piece.

        Returns:
            By name the output, or a line that says why there is none.
        """
        found: dict[str, MethodOutput | str] = {}
        ready = []
        for name in self.batch_names(number):
            try:
                picture = self.pictures.picture(name)
                ready.append((name, picture, self._align(name, picture)))
            except DataError as error:
                found[name] = str(error)
        if not ready:
            return found
        device = next(self.method.model.focus.encoder.parameters()).device
        images = torch.cat([extract_crops(picture, [one.crop]) for _, picture, one in ready]).to(device)
        points = [torch.from_numpy(one.crop.to_crop(one.landmarks)).float() for _, _, one in ready]
        fit = self.method.fit(images, torch.stack(points).to(device))
        neutral = self.method.neutral_vertices(fit.theta) if self.meshes else fit.rendering.vertices[:, :0]
        for row, (name, picture, one) in enumerate(ready):
            found[name] = self._make_output(fit, neutral[row], row, one.crop, picture.shape[:2])
        return found

    def _align(self, name: str, picture: UInt8[np.ndarray, "H W 3"]) -> AlignedFace:
        """Align by the data set's landmarks, else as `reconstruct` does. Raises ImageError, LandmarkError."""
        size, points = self.method.image_size, self.pictures.landmarks(name)
        if self.pictures.aligned:
            if picture.shape[0] != picture.shape[1]:
                raise ImageError(
                    f"{name} is not an aligned crop: it is not square; set aligned to false in dataset.json"
                )
            if points is None:
                raise LandmarkError(
                    f"{name} has no landmarks; add them to landmarks.csv, which an aligned set requires"
                )
            points = validate_landmarks(points, *picture.shape[:2])
            return AlignedFace(Crop(resize_transform(picture.shape[0], size), size), points)
        assert self._predictor is not None
        assert self._detector is not None
        located = locate_faces(picture, self._detector, landmarks=points)
        if not located.faces:
            raise LandmarkError(f"{name}: no face was detected; give its landmarks in landmarks.csv")
        return align_faces(self._predictor.landmarks, [replace(located, faces=located.faces[:1])], size)[0]

    def _make_output(
        self, fit: Prediction, neutral: Tensor, row: int, crop: Crop, size: tuple[int, int]
    ) -> MethodOutput:
        parameters = split_theta(fit.theta[row : row + 1].double().cpu())
        region = fit.rendering.mask[row, 0].detach().cpu().numpy()
        image = fit.rendering.image[row].detach().clamp(0, 1).cpu().permute(1, 2, 0).numpy()
        mask = fit.mask[row, 0].detach().cpu().numpy()
        seen = float((mask > _VISIBLE).sum()) / max(float((region > 0).sum()), 1.0)
        vertices = neutral.double().cpu().numpy()
        return MethodOutput(
            mask=_to_uint8(warp_to_picture(mask[..., None], crop, size)[..., 0]),
            rendering=_to_uint8(warp_to_picture_rgba(image, region > 0, crop, size)),
            face={
                "rotation": parameters.rotation[0].tolist(),
                "translation": parameters.translation[0].tolist(),
                "occlusion_fraction": 1.0 - seen,
            },
            vertices=vertices,
            landmarks=self._now_landmarks(neutral) if self.meshes else np.zeros((7, 3)),
        )

    def _now_landmarks(self, neutral: Tensor) -> Float[np.ndarray, "7 3"]:
        face = self.method.model.focus.face_model
        return select_now_landmarks(face.landmarks(neutral[None])[0].double().cpu().numpy())


def warp_to_picture(
    values: Float[np.ndarray, "S S C"], crop: Crop, size: tuple[int, int]
) -> Float[np.ndarray, "H W C"]:
    """Warp values of a crop into the pixels of its picture, bilinearly.

    Args:
        values: values of the crop.
        crop: crop of the picture.
        size: (height, width) of the picture, px.

    Returns:
        Values of the picture, 0 outside the crop.
    """
    height, width = size
    flags = cv2.INTER_LINEAR
    warped = cv2.warpAffine(np.ascontiguousarray(values), crop.inverse, (width, height), flags=flags, borderValue=0)
    return warped.reshape(height, width, values.shape[2])


def warp_to_picture_rgba(
    image: Float[np.ndarray, "S S 3"], region: Bool[np.ndarray, "S S"], crop: Crop, size: tuple[int, int]
) -> Float[np.ndarray, "H W 4"]:
    """Warp a rendering into the pixels of its picture, with opacity and without a dark edge.

    Args:
        image: rendering in the crop, RGB in [0, 1].
        region: where the face is rendered in the crop.
        crop: crop of the picture.
        size: (height, width) of the picture, px.

    Returns:
        RGBA in [0, 1]; the colour is not mixed with the black around the face.
    """
    opacity = region.astype(np.float32)[..., None]
    warped = warp_to_picture(np.concatenate([image * opacity, opacity], axis=2), crop, size)
    colours = warped[..., :3] / np.maximum(warped[..., 3:], np.finfo(np.float32).eps)
    return np.concatenate([colours, warped[..., 3:]], axis=2)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return (values.clip(0, 1) * _WHITE).round().astype(np.uint8)


def predict(
    method: Method,
    pictures: PictureDataset,
    out: Path,
    settings: PoolSettings | None,
    *,
    meshes: bool = False,
    detector: DetectorSpec | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> list[str]:
    """Write a method's predictions on a data set to the folder `out`; existing ones are not computed again.

    Args:
        method: method to run.
        pictures: data set.
        out: folder for the predictions.
        settings: pool of Ray tasks; None: run in this process.
        meshes: whether the neutral faces are written too, for NoW.
        detector: locates the faces of pictures without landmarks; None: the detector "auto".
        should_stop: polled while pieces run.
        progress: called with (pictures done, pictures in all).

    Returns:
        A line for each picture without a prediction.

    Raises:
        ConfigError: the folder holds predictions of another method.
        StorageError: the disk refuses.
        ClusterError: the cluster gave up.
        Interrupted: `should_stop` returned true.
    """
    detector = resolve_detector() if detector is None else detector
    predictions = PredictionFolder(out)
    method_info = {"method": method.name, "digests": method.digest_of, "meshes": meshes}
    predictions.record_method(method_info | {"detector": detector.info.model_dump(mode="json")})
    job = PredictionJob(method, pictures, meshes, detector)
    missing = [number for number in range(len(job)) if not all(map(predictions.is_complete, job.batch_names(number)))]
    done = len(pictures.names) - sum(len(job.batch_names(number)) for number in missing)
    problems: dict[int, list[str]] = {}
    for number, outputs in run_tasks(job, missing, settings, should_stop):
        for name, output in outputs.items():
            if isinstance(output, str):
                problems.setdefault(number, []).append(f"{name}: {output}")
                continue
            if meshes:
                faces = method.model.focus.face_model.faces.cpu().numpy()
                write_prediction(out / MESHES, name, output.vertices, faces, output.landmarks)
            predictions.write(name, output)
        done += len(job.batch_names(number))
        progress(done, len(pictures.names))
    return flatten_in_order(problems)
