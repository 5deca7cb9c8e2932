"""ARKit's face blendshapes: weights of the 52 shapes for fitted expressions of a model that has such shapes.

Names and meaning are those of Apple's ARFaceAnchor.BlendShapeLocation. Models may write a side as `_L` and `_R`, and
may have both sides of a shape of which ARKit has one, as ICT-FaceKit does for browInnerUp and cheekPuff: the weight is
then the mean of both sides. Shapes that a model lacks (tongueOut in ICT-FaceKit) have the weight 0.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.errors import FaceModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.named_expressions import NamedExpressions


def _sides(*names: str) -> tuple[str, ...]:
    return tuple(name + side for name in names for side in ("Left", "Right"))


_EYE = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")

ARKIT_SHAPES: tuple[str, ...] = (
    *(name + side for side in ("Left", "Right") for name in _EYE),
    *("jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *_sides("mouth", "mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *_sides("mouthPress", "mouthLowerDown", "mouthUpperUp"),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""Apple's names in Apple's order. Left and right are the subject's."""

SPARSITY = 0.3
"""Cost of the weights in the fit, mm^2 for a sum of 1 of shapes that move surface and landmarks equally far.

Chosen on renders with known weights (benchmarks/arkit.py) and on 70 portraits. Of both, 0.5 is slightly better, but
closed eyes of photographs, which move little of the surface, lose their weight.
"""
SIGMA_COST = 0.1
"""Cost of a squared distance in standard deviations of the coefficients, mm^2; chosen on fits of 70 portraits.

Where a person differs from the mean face, for instance by a lower chin, fits of photographs have negative weights,
which no shape can have. Nearest to them over the surface alone is mouthLowerDown, even where the lips do not move.
"""
_LEAST_MM = 1e-3  # root mean square movement of a shape that the fit can tell from none
_LEAST_LANDMARK_MM = 0.1  # the same of the landmarks, below which a shape costs no more


class ArkitWeights(NamedTuple):
    """Weights of ARKit's shapes.

    Attributes:
        weights: in the order of ARKIT_SHAPES, in [0, 1].
        residual_mm: root mean square, over the surface that faces the front, of what the shapes do not explain.
    """

    weights: Float[np.ndarray, "52"]
    residual_mm: float


def has_arkit_shapes(model: MorphableModel) -> bool:
    """Return whether a face model has named expressions and all of them are ARKit's."""
    return model.expressions is not None and all(_arkit_name(name) is not None for name in model.expressions.names)


class ArkitFitter:
    """Computes the weights of ARKit's shapes that explain an expression best.

    Bounded least squares on the model's shapes (one for each side): sum_j w_j shape_j is fitted to the offset of the
    vertices, each weighted by the area that it has in a frontal view of the mean face, so that the back of the eyeballs
    does not count, and, with less weight, to the coefficients in standard deviations.

    A weight costs in proportion to how far its shape moves the surface, relative to the 68 landmarks: a photograph
    shows a shape that moves few landmarks, such as cheekSquint or cheekPuff, by its shading only, and fits of people at
    rest have some of it.
    """

    def __init__(self, model: MorphableModel, sparsity: float = SPARSITY, sigma_cost: float = SIGMA_COST) -> None:
        """Prepare the fit.

        Args:
            model: face model with ARKit's shapes.
            sparsity: cost of the weights, mm^2 for a sum of 1 of shapes that move surface and landmarks equally far: of
                shapes that move the surface alike, few are used.
            sigma_cost: cost of a squared distance in standard deviations of the coefficients, mm^2.

        Raises:
            FaceModelError: the model has no named expressions, or others than ARKit's.
        """
        self._rows = _rows(model)
        self._metric = _metric(model)
        coefficients = _named(model).coefficients.detach().cpu().double().numpy().T
        self._moving = np.linalg.norm(self._metric @ coefficients, axis=0) > _LEAST_MM
        self._coefficients = coefficients[:, self._moving]
        self._weighting = np.vstack([self._metric, np.sqrt(sigma_cost) * np.eye(model.n_expression)])
        self._shapes = self._weighting @ self._coefficients
        # ||A w - b||^2 + s r^T w = ||A w - b'||^2 + const with b' = b - s/2 A (A^T A)^-1 r.
        relative = np.linalg.norm(self._metric @ self._coefficients, axis=0) / _landmark_offsets(
            model, self._coefficients
        )
        self._cost = 0.5 * sparsity * (np.linalg.pinv(self._shapes).T @ relative)

    def fit(self, expression: Float[Tensor, " E"]) -> ArkitWeights:
        """Compute the weights for fitted expression coefficients, in sigmas."""
        from scipy.optimize import lsq_linear  # half a second; most models have no such shapes

        sigmas = expression.detach().cpu().double().numpy()
        fitted = np.zeros(0)
        if self._moving.any():
            target = self._weighting @ sigmas - self._cost
            fitted = lsq_linear(self._shapes, target, bounds=(0.0, 1.0), method="bvls").x.clip(0.0, 1.0)
        found = np.zeros(len(self._moving))
        found[self._moving] = fitted
        return ArkitWeights(
            self.to_arkit(found), float(np.linalg.norm(self._metric @ (self._coefficients @ fitted - sigmas)))
        )

    def to_arkit(self, weights: Float[np.ndarray, " N"]) -> Float[np.ndarray, "52"]:
        """Return the weights of ARKit's shapes for weights of the model's own shapes."""
        rows = self._rows
        return np.array([weights[list(rows[name])].mean() if name in rows else 0.0 for name in ARKIT_SHAPES])


def arkit_expressions(model: MorphableModel) -> NamedExpressions:
    """Return ARKit's shapes that a model has, with Apple's names and in Apple's order; both sides together are one.

    Raises:
        FaceModelError: the model has no named expressions, or others than ARKit's.
    """
    rows, coefficients = _rows(model), _named(model).coefficients
    names = tuple(name for name in ARKIT_SHAPES if name in rows)
    return NamedExpressions(names, torch.stack([coefficients[list(rows[name])].sum(dim=0) for name in names]))


def _named(model: MorphableModel) -> NamedExpressions:
    """Return the named expressions of a model that has those of ARKit. Raises FaceModelError."""
    if model.expressions is None or not has_arkit_shapes(model):
        raise FaceModelError(
            f"face model {model.name!r} does not have the blendshapes of ARKit; use one that does, such as ict"
        )
    return model.expressions


def _arkit_name(name: str) -> str | None:
    """Return the name that ARKit has for a shape of a model; None if it has none."""
    for suffix, side in (("_L", "Left"), ("_R", "Right")):
        if name.endswith(suffix):
            stem = name.removesuffix(suffix)
            name = stem if stem in ARKIT_SHAPES else stem + side
    return name if name in ARKIT_SHAPES else None


def _rows(model: MorphableModel) -> dict[str, tuple[int, ...]]:
    """Return the rows of the model's shapes for each ARKit shape that it has. Raises FaceModelError."""
    rows: dict[str, tuple[int, ...]] = {}
    for row, name in enumerate(_named(model).names):
        named = _arkit_name(name) or name
        rows[named] = (*rows.get(named, ()), row)
    return rows


def _metric(model: MorphableModel) -> Float[np.ndarray, "E E"]:
    """Return M such that |M c| is the root mean square offset [mm] of expression coefficients c, over the surface."""
    area = _frontal_area(model)
    basis = model.shape_basis[model.n_identity :].detach().cpu().double().numpy()
    scaled = (basis * np.sqrt(area / area.sum())[:, None]).reshape(len(basis), -1)
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    return np.sqrt(values.clip(0))[:, None] * vectors.T


def _landmark_offsets(model: MorphableModel, coefficients: Float[np.ndarray, "E N"]) -> Float[np.ndarray, " N"]:
    """Return the root mean square offset [mm] of the 68 landmarks in the frontal view, for each shape."""
    basis = model.shape_basis[model.n_identity :].detach().cpu()
    landmarks = model.landmarks(basis)[..., :2].flatten(1).double().numpy()
    moved = np.linalg.norm(landmarks.T @ coefficients, axis=0) / np.sqrt(landmarks.shape[1] / 2)
    return moved.clip(_LEAST_LANDMARK_MM)


def _frontal_area(model: MorphableModel) -> Float[np.ndarray, " V"]:
    """Return the area [mm^2] that each vertex of the mean face has in an orthographic view from the front."""
    mean, faces = (array.detach().cpu().numpy() for array in (model.mean, model.faces))
    a, b, c = (mean[corners].astype(np.float64) for corners in faces.T)
    facing = np.cross(b - a, c - a)[:, 2].clip(0) / 2
    area = np.zeros(len(mean))
    np.add.at(area, faces, facing[:, None] / 3)
    return area
