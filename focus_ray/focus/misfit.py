"""The misfit prior (section 3.4, Eq. 11): what a pipeline gets wrong on average, vertex by vertex.

Where the truth is known, the error of a fit is P_v - T_v: fitted minus true vertices, in the model's own frame, pose
left out. Its mean over many faces is the prior E_MP, and P_v - E_MP is a fit without the systematic error. A fit of
faces is looked at in four readings:

posed            identity and expression
neutral          identity alone: the face at rest
posed_aligned    the same, P_v moved, turned and scaled onto T_v before: depth and size, which one picture hardly tells,
neutral_aligned  then do not count
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.metrics import similarity_align
from focus_ray.focus.parameters import split_theta
from focus_ray.numerics.statistics import Moments

Reading = Literal["posed", "neutral", "posed_aligned", "neutral_aligned"]
READINGS: tuple[Reading, ...] = get_args(Reading)
WHOLE_FACE = "face"
"""The region of all vertices; the others are the parts of the face model."""


def misfit(fitted: Float[Tensor, "B V 3"], true: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 3"]:
    """P_v - T_v of Eq. 11, in mm."""
    return fitted - true


def correct_vertices(fitted: Float[Tensor, "B V 3"], prior: Float[Tensor, "V 3"]) -> Float[Tensor, "B V 3"]:
    """P_mf = P_v - E_MP (Fig. 2b)."""
    return fitted - prior


def misfit_readings(
    face: MorphableModel, fitted: Float[Tensor, "B 257"], true: Float[Tensor, "B 257"]
) -> Float[Tensor, "B R V 3"]:
    """The errors of fitted parameters in each of the readings, in mm."""
    ours, theirs = shapes(face, fitted), shapes(face, true)
    plain = [misfit(one, other) for one, other in zip(ours, theirs, strict=True)]
    aligned = [misfit(similarity_align(one, other), other) for one, other in zip(ours, theirs, strict=True)]
    return torch.stack(plain + aligned, dim=1)


def shapes(face: MorphableModel, theta: Float[Tensor, "B 257"]) -> tuple[Tensor, Tensor]:
    """The posed and the neutral vertices of some faces, [B, V, 3] each, float64 mm."""
    parameters = split_theta(theta)
    at_rest = torch.cat((parameters.identity, torch.zeros_like(parameters.expression)), dim=1)
    return face.vertices(parameters.alpha).double(), face.vertices(at_rest).double()


def vertex_regions(face: MorphableModel) -> dict[str, Tensor]:
    """Masks of vertices by name: the whole face, then its parts."""
    return {WHOLE_FACE: torch.ones(face.n_vertices, dtype=torch.bool)} | face.parts


@dataclass(frozen=True)
class MisfitStats:
    """The errors of N faces: a state that can be merged, of a size that does not depend on N.

    error: of the signed errors, [R, V, 3] mm, after a correction if there was one.
    distance: of each face's mean distance of the vertices of a region, [R, regions, 2] mm: as fitted, and corrected.
    improved: whether that distance is less when corrected, [R, regions].
    """

    error: Moments
    distance: Moments
    improved: Moments

    @classmethod
    def from_errors(
        cls,
        errors: Float[Tensor, "N R V 3"],
        regions: dict[str, Tensor],
        correction: Float[Tensor, "R V 3"] | None = None,
    ) -> "MisfitStats":
        """Of the errors of N faces, N at least one; without a correction nothing is corrected."""
        errors = errors.double()
        left = errors if correction is None else errors - correction
        distance = torch.stack([mean_distances(errors, regions), mean_distances(left, regions)], dim=-1)
        return cls(
            error=Moments.from_samples(left),
            distance=Moments.from_samples(distance),
            improved=Moments.from_samples((distance[..., 1] < distance[..., 0]).double()),
        )

    def merge(self, other: "MisfitStats") -> "MisfitStats":
        """Of the faces of both."""
        return MisfitStats(**{name: state.merge(getattr(other, name)) for name, state in vars(self).items()})

    @property
    def count(self) -> int:
        """N."""
        return self.error.count


def mean_distances(errors: Float[Tensor, "N R V 3"], regions: dict[str, Tensor]) -> Float[Tensor, "N R regions"]:
    """Each face's mean distance between fitted and true vertices, by region, in mm."""
    lengths = errors.norm(dim=-1)
    return torch.stack([lengths[..., vertices].mean(-1) for vertices in regions.values()], dim=-1)


def root_mean_square(error: Float[Tensor, "*rest V 3"]) -> Float[Tensor, "*rest"]:
    """The root over the vertices' mean squared length, in mm: one number for a field of errors."""
    return error.square().sum(-1).mean(-1).sqrt()
