"""Pose, identity and expression of any face model from 68 landmarks alone, by damped least squares.

This replaces the encoder where there is none: it starts from the mean face in front of the camera, and the refinement
on pixels starts from its result.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.errors import FaceModelError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import REFERENCE_SIZE, Camera, project, to_camera
from focus_ray.focus.parameters import THETA_MODES, Parameters, join_theta
from focus_ray.focus.photo_fit import PhotoFitSettings, landmark_weights

_POSE = 6  # rotation, translation
_POSE_STEPS, _STEPS = 10, 30
_RIGID = 1e6  # weight of the coefficients while only the pose is fitted
_DAMPING = 1e-3  # of the first step, relative to the curvature
_DAMPING_FACTOR = 8.0  # by which the damping falls after a good step and rises after a bad one


def with_theta_modes(face_model: MorphableModel) -> MorphableModel:
    """Return the model with the numbers of modes that theta has: missing ones are zero and change nothing.

    Args:
        face_model: at most 80 identity, 64 expression and 80 albedo modes.

    Raises:
        FaceModelError: the model has more modes; truncate it.
    """
    given = (face_model.n_identity, face_model.n_expression, face_model.n_albedo)
    missing = [wanted - have for wanted, have in zip(THETA_MODES, given, strict=True)]
    if min(missing) < 0:
        raise FaceModelError(f"face model {face_model.name!r} has {given} modes, more than {THETA_MODES}; truncate it")
    zeros = [face_model.mean.new_zeros(number, *face_model.mean.shape) for number in missing]
    identity, expression = face_model.shape_basis.split((face_model.n_identity, face_model.n_expression))
    return MorphableModel(
        name=face_model.name,
        n_identity=THETA_MODES[0],
        mean=face_model.mean,
        shape_basis=torch.cat((identity, zeros[0], expression, zeros[1])),
        mean_albedo=face_model.mean_albedo,
        albedo_basis=torch.cat((face_model.albedo_basis, zeros[2])),
        faces=face_model.faces,
        landmark_triangles=face_model.landmark_triangles,
        landmark_barycentric=face_model.landmark_barycentric,
        uv=face_model.uv,
        parts=face_model.parts,
    )


def fit_landmarks(
    face_model: MorphableModel,
    camera: Camera,
    landmarks: Float[Tensor, "B 68 2"],
    light: Float[Tensor, "B 27"],
    settings: PhotoFitSettings,
    weights: Float[Tensor, " 68"] | None = None,
) -> Float[Tensor, "B 257"]:
    """Fit pose and shape to the landmarks of upright, aligned crops.

    Minimises the landmark term and the priors of identity and expression of `PhotoFitSettings`.

    Args:
        face_model: with the modes of theta, see `with_theta_modes`.
        camera: camera of the crops.
        landmarks: px of the crops, iBUG order.
        light: R9|G9|B9, copied to the result.
        settings: weights of the terms.
        weights: weight of each landmark, 0 to leave it out; None: `landmark_weights`.

    Returns:
        theta, with the mean albedo.
    """
    problem = _Problem(face_model, camera, landmarks, settings, landmark_weights() if weights is None else weights)
    code = problem.start()
    code = problem.descend(code, _POSE_STEPS, _RIGID)
    code = problem.descend(code, _STEPS, 1.0).to(light)
    rotation, translation, identity, expression = code.split((3, 3, *THETA_MODES[:2]), dim=1)
    albedo = light.new_zeros(len(light), THETA_MODES[2])
    return join_theta(Parameters(identity, expression, albedo, light, rotation, translation))


class _Problem:
    """The least squares of one batch, in double precision; a code is [rotation, translation, alpha]."""

    def __init__(
        self,
        face_model: MorphableModel,
        camera: Camera,
        landmarks: Tensor,
        settings: PhotoFitSettings,
        weights: Tensor,
    ) -> None:
        self.camera = camera
        self.mean = face_model.landmarks(face_model.mean[None])[0].double()
        self.basis = face_model.landmarks(face_model.shape_basis).double()
        self.target = landmarks.double()
        per_px = REFERENCE_SIZE / camera.image_size
        self.weights = settings.landmark * per_px**2 * (weights / self.mean[:, :2].numel()).to(self.target)
        priors = torch.cat(
            (
                torch.full((THETA_MODES[0],), settings.identity),
                torch.full((THETA_MODES[1],), settings.expression),
            )
        )
        self.priors = torch.cat((torch.zeros(_POSE), priors)).to(self.target)

    def start(self) -> Float[Tensor, "B 150"]:
        """Return the mean face, frontal, with the extent and the middle of the landmarks."""
        share = (self.weights / self.weights.sum())[:, None]
        model = self.mean[:, :2] * self.mean.new_tensor((1.0, -1.0))
        model_middle = (share * model).sum(dim=0)
        middle = (share * self.target).sum(dim=1)
        spread = (share * (self.target - middle[:, None]).square()).sum(dim=(1, 2)).sqrt()
        model_spread = (share * (model - model_middle).square()).sum().sqrt()
        mm_per_px = model_spread / spread.clamp_min(1e-3)
        depth = self.camera.focal * mm_per_px
        moved = (middle - self.camera.centre) * mm_per_px[:, None] - model_middle
        code = self.target.new_zeros(len(self.target), _POSE + len(self.basis))
        code[:, 3:5] = moved
        code[:, 5] = depth - self.camera.distance_mm + (share[:, 0] * self.mean[:, 2]).sum()
        return code

    def project(self, code: Float[Tensor, " 150"]) -> Float[Tensor, "68 2"]:
        """Project the landmarks of one code, px."""
        rotation, translation, alpha = code[None].split((3, 3, len(self.basis)), dim=1)
        points = self.mean + torch.einsum("k,kld->ld", alpha[0], self.basis)
        return project(self.camera, to_camera(self.camera, points[None], rotation, translation))[0, :, :2]

    def cost(self, code: Float[Tensor, "B 150"], rigidity: float) -> Float[Tensor, " B"]:
        """Compute the sum of squares of each code."""
        error = torch.func.vmap(self.project)(code) - self.target
        prior = (rigidity * self.priors * code.square()).sum(dim=1)
        return (self.weights[:, None] * error.square()).sum(dim=(1, 2)) + prior

    def descend(self, code: Float[Tensor, "B 150"], steps: int, rigidity: float) -> Float[Tensor, "B 150"]:
        """Take damped Gauss-Newton steps; a step that does not lower the cost of an image is not taken.

        Args:
            code: where to begin.
            steps: number of steps.
            rigidity: factor on the weights of the priors.
        """
        damping = torch.full_like(code[:, 0], _DAMPING)
        cost = self.cost(code, rigidity)
        for _ in range(steps):
            jacobian = torch.func.vmap(torch.func.jacrev(self.project))(code).flatten(1, 2)
            weights = self.weights.repeat_interleave(2)
            error = (torch.func.vmap(self.project)(code) - self.target).flatten(1)
            priors = rigidity * self.priors
            curvature = jacobian.transpose(1, 2) @ (weights[:, None] * jacobian) + torch.diag(priors)
            slope = (jacobian.transpose(1, 2) @ (weights * error)[..., None])[..., 0] + priors * code
            diagonal = curvature.diagonal(dim1=1, dim2=2)
            damped = curvature + torch.diag_embed(damping[:, None] * diagonal + 1e-12)
            candidate = code - torch.linalg.solve(damped, slope)
            new = self.cost(candidate, rigidity)
            better = new < cost
            code = torch.where(better[:, None], candidate, code)
            cost = torch.where(better, new, cost)
            damping = torch.where(better, damping / _DAMPING_FACTOR, damping * _DAMPING_FACTOR).clamp(1e-9, 1e9)
        return code
