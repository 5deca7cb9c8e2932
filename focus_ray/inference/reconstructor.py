"""Reconstruction of the faces of an image with a trained model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from focus_ray import model as models
from focus_ray.data.align import Crop
from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.data.detectors.detection import Detection, Detector, NamedDetector
from focus_ray.errors import ConfigError
from focus_ray.face_models.arkit import ARKIT_SHAPES, ArkitFitter, has_arkit_shapes
from focus_ray.focus.camera import Camera, projection_matrix
from focus_ray.focus.parameters import Parameters, join_theta, split_theta
from focus_ray.focus.photo_fit import is_grey
from focus_ray.focus.pose import rotate_in_plane
from focus_ray.focus.render.backends import AUTO, RasterizerName
from focus_ray.geometry.mesh_writer import Mesh
from focus_ray.inference.face_locations import Box, FaceLocations, align_faces, check_image, locate_faces
from focus_ray.inference.face_result import Arkit, Face, FaceArrays, FaceResult, Pose, Theta, Vector4, Visibility
from focus_ray.inference.measure_quality import measure_quality
from focus_ray.inference.predictor import Prediction, Predictor
from focus_ray.inference.quality import QualityLimits, QualityMeasures, model_limits, quality_flags
from focus_ray.inference.self_alignment import AlignedFace, AlignmentSettings, extract_crops
from focus_ray.model import Model
from focus_ray.model_location import find_model
from focus_ray.prior import Prior, check_face_model, select_prior
from focus_ray.settings import Settings

# Largest part of a batch on a CPU: from 16 images on, torch uses another routine for 1 x 1 convolutions on one thread.
# Larger batches are divided evenly, so that no part has a single image.
_MAX_CPU_BATCH = 15


class ReconstructionSettings(Settings):
    """Settings of alignment, rasterizer and quality flags."""

    alignment: AlignmentSettings = AlignmentSettings()
    quality: QualityLimits | None = None  # None: those of the model
    rasterizer: RasterizerName = AUTO  # of the fit; pictures of results are drawn by auto


class Reconstructor:
    """Detects the faces of an image, aligns them and fits the model.

    Refinement uses a landmark loss, with given landmarks or with the model's own (median over several views). Without
    it the refinement diverges on some photographs (in trials landmark errors up to 25 px of 224, with it up to 10).
    Not thread-safe: the detector has scratch memory.
    """

    def __init__(
        self,
        model: Model,
        detector: Detector | None = None,
        settings: ReconstructionSettings | None = None,
        prior: Prior | None = None,
        *,
        require_prior: bool = True,
    ):
        """Check the prior and build the predictor.

        Args:
            model: the trained model.
            detector: None is the detector "auto" of `resolve_detector`.
            settings: None is the defaults.
            prior: misfit prior that corrects the meshes (section 3.4).
            require_prior: whether reconstruction with another pipeline than the prior was measured for raises a
                ModelError; if not, its meshes are not corrected.

        Raises:
            FaceModelError: the prior belongs to another face model.
            CheckpointError: the limits of the model's quality flags cannot be used.
            ConfigError: the rasterizer is not installed.
        """
        if prior is not None:
            check_face_model(prior, model.focus.face_model)
        self.model = model
        self.prior = prior
        self._require_prior = require_prior
        self._detector = detector
        self.settings = ReconstructionSettings() if settings is None else settings
        model.focus.renderer.set_backend(self.settings.rasterizer)
        self._limits = model_limits(model) if self.settings.quality is None else self.settings.quality
        self.predictor = Predictor.for_photographs(model).eval()

    def reconstruct(
        self,
        image: np.ndarray,
        *,
        landmarks: Float[np.ndarray, "68 2"] | None = None,
        box: Box | None = None,
        refine: int | None = None,
    ) -> list[FaceResult]:
        """Reconstruct the faces of an image.

        With `landmarks` or a `box` there is one face, at that place.

        Args:
            image: upright RGB, uint8 [H, W, 3].
            landmarks: 68 iBUG points, px.
            box: x, y, width, height, px, about as a face detector draws it, from brows to chin.
            refine: refinement steps; None is the model's own number.

        Returns:
            The faces in descending order of detection score; empty if no face was found.

        Raises:
            ImageError: the image is another kind of array.
            LandmarkError: the landmarks are not those of a face, or lie outside of the image.
            ConfigError: the box is malformed or lies outside of the image, or `refine` is not a number of steps.
            ModelError: the prior was measured for another number of steps.
        """
        check_image(image)
        check_refine(refine)
        self._matching_prior(refine)
        (faces,) = self.fit([locate_faces(image, self.detector, landmarks=landmarks, box=box)], refine)
        return faces

    def fit(self, pictures: Sequence[FaceLocations], refine: int | None = None) -> list[list[FaceResult]]:
        """Fit the faces of several images as one batch.

        Args:
            pictures: images and the locations of their faces.
            refine: refinement steps; None is the model's own number.

        Returns:
            A list of faces for each image, in the order of its locations.

        Raises:
            ConfigError: `refine` is not a number of steps.
            LandmarkError: given landmarks are degenerate, so that no crop can be aligned to them.
            ModelError: the prior was measured for another number of steps.
        """
        check_refine(refine)
        prior = self._matching_prior(refine)
        alignment, size = self.settings.alignment, self.predictor.image_size
        aligned = align_faces(self._predict_landmarks, pictures, size, alignment)
        found = [(picture, face) for picture in pictures for face in picture.faces]
        if not found:
            return [[] for _ in pictures]
        fits = self._fit_crops(
            self._extract([picture for picture, _ in found], [one.crop for one in aligned]),
            self._extract(
                [picture for picture, _ in found], [one.crop.resized(self.predictor.fine_size) for one in aligned]
            ),
            torch.stack([torch.from_numpy(one.crop.to_crop(one.landmarks)).float() for one in aligned]),
            torch.tensor([face.landmarks is not None for _, face in found]),
            refine,
        )
        rows = zip(found, aligned, strict=True)
        faces = []
        for prediction in fits:
            faces += [
                self._build_face(picture, face, one, prediction, row, prior)
                for row, ((picture, face), one) in enumerate(islice(rows, len(prediction.theta)))
            ]
        answers = iter(faces)
        return [[next(answers) for _ in picture.faces] for picture in pictures]

    def _fit_crops(
        self,
        images: Float[Tensor, "B 3 S S"],
        detailed: Float[Tensor, "B 3 T T"],
        anchors: Float[Tensor, "B 68 2"],
        detected: Bool[Tensor, " B"],
        refine: int | None,
    ) -> Iterator[Prediction]:
        """Fit crops in batches that are small enough for identical bits; predictions on the CPU."""
        parts = (self._split_batch(rows) for rows in (images, detailed, anchors, detected))
        for part in zip(*parts, strict=True):
            crops, fine, points, reliable = (rows.to(self.device) for rows in part)
            yield self.predictor(crops, points, refine, fine, reliable).to("cpu")

    @staticmethod
    def _extract(pictures: Sequence[FaceLocations], crops: Sequence[Crop]) -> Float[Tensor, "B 3 S S"]:
        return torch.cat([extract_crops(one.image, [crop]) for one, crop in zip(pictures, crops, strict=True)])

    @cached_property
    def detector(self) -> Detector:
        """The detector; the default one is built when it is first used."""
        return load_detector() if self._detector is None else self._detector

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.model.focus.face_model.mean.device

    @cached_property
    def _arkit_fitter(self) -> ArkitFitter | None:
        face_model = self.model.focus.face_model
        return ArkitFitter(face_model) if has_arkit_shapes(face_model) else None

    def _matching_prior(self, refine: int | None) -> Prior | None:
        """Return the prior if it was measured for this number of steps, else None.

        Raises:
            ModelError: it was not, and the prior is required.
        """
        steps = self.model.refine_steps if refine is None else refine
        if self.prior is None or self.prior.matches(self.model, steps, photographs=True):
            return self.prior
        if self._require_prior:
            self.prior.check_pipeline(self.model, steps, photographs=True)
        return None

    def _predict_landmarks(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 68 2"]:
        return torch.cat([self.predictor.landmarks(part.to(self.device)).cpu() for part in self._split_batch(images)])

    def _split_batch(self, rows: Shaped[Tensor, "B ..."]) -> tuple[Shaped[Tensor, "b ..."], ...]:
        """Split rows into parts to compute at once: one on an accelerator; on a CPU small enough for identical bits."""
        return rows.tensor_split(math.ceil(len(rows) / _MAX_CPU_BATCH) if self.device.type == "cpu" else 1)

    def _build_face(
        self,
        picture: FaceLocations,
        detection: Detection,
        aligned: AlignedFace,
        prediction: Prediction,
        row: int,
        prior: Prior | None,
    ) -> FaceResult:
        crop = aligned.crop.resized(prediction.images.shape[-1])
        theta = prediction.theta[row : row + 1].double()
        parameters = split_theta(theta)
        landmarks = crop.to_image(prediction.rendering.landmarks[row].double().numpy())
        face_model = self.model.focus.face_model
        camera = self.model.focus.renderer.camera.model_copy(update={"image_size": crop.size})
        visibility = prediction.visibility(face_model)
        mesh = self._build_mesh(prediction, parameters, row)
        measures = measure_quality(picture, detection, aligned, prediction, row)
        corrected = None if prior is None else correct_mesh(mesh, prior)
        arrays = _arrays(crop, prediction, row, mesh, corrected, measures)
        face = Face(
            box=detection.box,
            landmarks=[(x, y) for x, y in landmarks.tolist()],
            pose=_pose(parameters, crop),
            theta=_theta(parameters),
            occlusion_fraction=float(prediction.occlusion[row]),
            visibility=Visibility(**{part: float(share[row]) for part, share in visibility.items()}),
            quality=quality_flags(measures, self._limits),
            model_version=self.model.version,
            detector=picture.detector,
            corrected=prior is not None,
            projection=_projection(camera, parameters, crop),
            focal_length=camera.focal / crop.scale,
            landmark_vertices=_to_tuples(face_model.faces[face_model.landmark_triangles]),
            landmark_weights=_to_tuples(face_model.landmark_barycentric),
            arkit=None if self._arkit_fitter is None else _arkit(self._arkit_fitter, parameters.expression[0]),
        )
        return FaceResult(face, arrays)

    def _build_mesh(self, prediction: Prediction, parameters: Parameters, row: int) -> Mesh:
        face_model = self.model.focus.face_model
        with torch.no_grad():
            albedo = face_model.albedo(parameters.albedo.to(face_model.mean))[0].clamp(0, 1)
            if bool(is_grey(prediction.images[row : row + 1])):  # a black-and-white photograph has no skin tone
                albedo = albedo.mean(dim=1, keepdim=True).expand_as(albedo)
        vertices = prediction.rendering.vertices[row].detach()
        return Mesh(vertices.numpy(), albedo.cpu().numpy(), face_model.faces.cpu().numpy())


def correct_mesh(mesh: Mesh, prior: Prior) -> Mesh:
    """P_mf = P_v - E_MP (Fig. 2b): subtract the prior's systematic error from a mesh."""
    return replace(mesh, vertices=prior.correct(torch.from_numpy(mesh.vertices)[None])[0].numpy())


def load(
    path: str | Path | None = None,
    detector: Detector | None = None,
    *,
    prior: str | Path | None = None,
    settings: ReconstructionSettings | None = None,
) -> Reconstructor:
    """Load a model and its misfit prior as a `Reconstructor`.

    Args:
        path: a model folder (RUN/model for instance), a name of `model_location.SHIPPED_MODELS`, or
            hf://owner/name[@revision]; None is the default model of the package.
        detector: None is the detector "auto" of `resolve_detector`.
        prior: folder of a misfit prior, or "none"; None is the shipped prior, if its gate found that it helps this
            model.
        settings: None is the defaults.

    Raises:
        CheckpointError: a folder or repository is missing files, altered or of another format.
        FaceModelError: the prior belongs to another face model.
        ModelError: this copy of the package has no shipped models, or lacks the face model that the folder refers to.
        ConfigError: the location is of no supported kind, or huggingface_hub or the rasterizer is not installed.
        StorageError: the hub refuses access or cannot be reached.
    """
    model = models.load(find_model(path))
    correcting = select_prior(prior, model)
    return Reconstructor(model, detector, settings, correcting, require_prior=prior is not None)


def load_detector(name: str = "auto", weights: str | Path | None = None) -> NamedDetector:
    """Load a detector: `resolve_detector(name, weights).build()`."""
    return resolve_detector(name, weights).build()


def face_to_theta(face: Face) -> Float[Tensor, "1 257"]:
    """Return the parameters of a face as one row of theta for the renderer."""
    theta = face.theta
    groups = [theta.identity, theta.expression, theta.albedo, theta.light, theta.camera[:3], theta.camera[3:]]
    return join_theta(Parameters(*(torch.tensor([group]) for group in groups)))


def check_refine(steps: object) -> None:
    """Check a number of refinement steps; None is the model's own number.

    Raises:
        ConfigError: it is neither None nor a whole number of 0 or more.
    """
    if steps is None:
        return
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ConfigError(f"refine is {steps!r}; give an integer of 0 or more")


def _pose(parameters: Parameters, crop: Crop) -> Pose:
    """Return the pose in the image: that in the crop, with the crop's roll undone."""
    angle = torch.tensor([-crop.roll], dtype=torch.float64)
    rotation, translation = rotate_in_plane(parameters.rotation, parameters.translation, angle)
    return Pose(rotation=tuple(rotation[0].tolist()), translation=tuple(translation[0].tolist()))


def _projection(camera: Camera, parameters: Parameters, crop: Crop) -> tuple[Vector4, Vector4, Vector4]:
    """Return the projection from the mesh to px of the image, through the crop."""
    into_crop = projection_matrix(camera, parameters.rotation, parameters.translation)[0].numpy()
    rows = np.vstack([crop.inverse, [0.0, 0.0, 1.0]]) @ into_crop
    first, second, third = _to_tuples(torch.from_numpy(rows))
    return first, second, third


def _to_tuples(table: Shaped[Tensor, "N K"]) -> list[Any]:
    """Return the rows as tuples of numbers."""
    return list(map(tuple, table.tolist()))


def _theta(parameters: Parameters) -> Theta:
    names = ("identity", "expression", "albedo", "light")
    groups = {name: getattr(parameters, name)[0].tolist() for name in names}
    return Theta(**groups, camera=[*parameters.rotation[0].tolist(), *parameters.translation[0].tolist()])


def _arkit(fitter: ArkitFitter, expression: Float[Tensor, " E"]) -> Arkit:
    weights, residual = fitter.fit(expression)
    return Arkit(weights=dict(zip(ARKIT_SHAPES, weights.tolist(), strict=True)), residual_mm=residual)


def _arrays(
    crop: Crop, prediction: Prediction, row: int, mesh: Mesh, corrected: Mesh | None, measures: QualityMeasures
) -> FaceArrays:
    return FaceArrays(
        transform=crop.matrix,
        target=_to_uint8_image(prediction.images[row]),
        rendering=_to_uint8_image(prediction.rendering.image[row]),
        region=prediction.region[row, 0].numpy(),
        mask=prediction.binary_mask[row, 0].numpy(),
        soft_mask=prediction.mask[row, 0].detach().numpy(),
        mesh=mesh,
        corrected_mesh=corrected,
        measures=measures,
    )


def _to_uint8_image(image: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return image.detach().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
