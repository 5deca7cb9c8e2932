"""The misfit prior (section 3.4, Eq. 11): the mean error of a pipeline, vertex by vertex.

Where the truth is known, the error of a fit is P_v - T_v: fitted minus true vertices, in the model's frame, without
pose. Its mean over many faces is the prior E_MP, and P_v - E_MP is a fit without the systematic error. Errors are
computed in four readings:

posed            identity and expression
neutral          identity alone: the face at rest
posed_aligned    as posed and neutral, but P_v is first aligned onto T_v by a similarity: this removes errors of depth
neutral_aligned  and size, which a single picture hardly determines
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
    """Compute the misfit P_v - T_v (Eq. 11).

    Args:
        fitted: vertices P_v of the fits, model frame, mm.
        true: vertices T_v, model frame, mm.

    Returns:
        Signed errors, mm.
    """
    return fitted - true


def correct_vertices(fitted: Float[Tensor, "B V 3"], prior: Float[Tensor, "V 3"]) -> Float[Tensor, "B V 3"]:
    """Subtract the misfit prior from fitted vertices: P_mf = P_v - E_MP (Fig. 2b).

    Args:
        fitted: vertices P_v of the fits, model frame, mm.
        prior: mean misfit E_MP, mm.

    Returns:
        Corrected vertices P_mf, mm.
    """
    return fitted - prior


def misfit_readings(
    face: MorphableModel, fitted: Float[Tensor, "B 257"], true: Float[Tensor, "B 257"]
) -> Float[Tensor, "B R V 3"]:
    """Compute the errors of fitted parameters in each of the readings.

    Args:
        face: face model of both parameter vectors.
        fitted: fitted theta.
        true: true theta.

    Returns:
        Signed errors, mm; R in the order of `READINGS`.
    """
    ours, theirs = shapes(face, fitted), shapes(face, true)
    plain = [misfit(one, other) for one, other in zip(ours, theirs, strict=True)]
    aligned = [misfit(similarity_align(one, other), other) for one, other in zip(ours, theirs, strict=True)]
    return torch.stack(plain + aligned, dim=1)


def shapes(face: MorphableModel, theta: Float[Tensor, "B 257"]) -> tuple[Tensor, Tensor]:
    """Compute the posed and the neutral vertices of faces.

    Args:
        face: face model.
        theta: parameters; only identity and expression are used.

    Returns:
        (posed, neutral), each [B, V, 3], model frame, mm, float64.
    """
    parameters = split_theta(theta)
    at_rest = torch.cat((parameters.identity, torch.zeros_like(parameters.expression)), dim=1)
    return face.vertices(parameters.alpha).double(), face.vertices(at_rest).double()


def vertex_regions(face: MorphableModel) -> dict[str, Tensor]:
    """Return the vertex masks of the whole face and of its parts.

    Returns:
        Boolean masks [V] by name; the whole face comes first, as `WHOLE_FACE`.
    """
    return {WHOLE_FACE: torch.ones(face.n_vertices, dtype=torch.bool)} | face.parts


@dataclass(frozen=True)
class MisfitStats:
    """Mergeable statistics of the errors of N faces; their size does not depend on N.

    Attributes:
        error: signed errors, [R, V, 3] mm, after the correction if there is one.
        distance: mean distance of each face in each region, [R, regions, 2] mm: as fitted, and corrected.
        improved: 1 where the correction lowers that distance, else 0, [R, regions].
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
        """Compute the statistics of the errors of N faces.

        Args:
            errors: signed errors, mm; N is at least 1.
            regions: boolean vertex masks [V] by name.
            correction: errors to subtract in each reading, mm; None subtracts nothing.

        Returns:
            Statistics of these N faces.

        Raises:
            ValueError: N is 0.
        """
        errors = errors.double()
        left = errors if correction is None else errors - correction
        distance = torch.stack([mean_distances(errors, regions), mean_distances(left, regions)], dim=-1)
        return cls(
            error=Moments.from_samples(left),
            distance=Moments.from_samples(distance),
            improved=Moments.from_samples((distance[..., 1] < distance[..., 0]).double()),
        )

    def merge(self, other: "MisfitStats") -> "MisfitStats":
        """Return the statistics of the faces of both."""
        return MisfitStats(**{name: state.merge(getattr(other, name)) for name, state in vars(self).items()})

    @property
    def count(self) -> int:
        """Number of faces N."""
        return self.error.count


def mean_distances(errors: Float[Tensor, "N R V 3"], regions: dict[str, Tensor]) -> Float[Tensor, "N R regions"]:
    """Compute each face's mean distance between fitted and true vertices, by region.

    Args:
        errors: signed errors, mm.
        regions: boolean vertex masks [V] by name.

    Returns:
        Mean distances, mm; regions in the order of the dict.
    """
    lengths = errors.norm(dim=-1)
    return torch.stack([lengths[..., vertices].mean(-1) for vertices in regions.values()], dim=-1)


def root_mean_square(error: Float[Tensor, "*rest V 3"]) -> Float[Tensor, "*rest"]:
    """Compute the root mean square over the vertices of the lengths of the errors.

    Args:
        error: signed errors, mm.

    Returns:
        One number per field of errors, mm.
    """
    return error.square().sum(-1).mean(-1).sqrt()
