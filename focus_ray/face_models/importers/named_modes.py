"""Expression modes from shapes of which some have names, such as blendshapes or the motions of a jaw."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.face_models.parametric.modes import principal_modes


def leading_modes(fields: Float[np.ndarray, "K V 3"], count: int, label: str) -> Float[np.ndarray, "E V 3"]:
    """Return at most `count` principal modes of fields that are one standard deviation of independent parameters."""
    return principal_modes([field.astype(np.float64) for field in fields], min(count, len(fields)), label)


def named_modes(
    fields: Float[np.ndarray, "K V 3"], named: Mapping[str, Float[np.ndarray, "V 3"]], count: int
) -> tuple[Float[np.ndarray, "E V 3"], NamedExpressions | None]:
    """Compute the principal modes of expression fields, and shapes with a name as their combinations.

    Args:
        fields: each one standard deviation of an independent parameter, mm.
        named: shapes at weight 1, mm, combinations of the fields.
        count: largest number of modes.

    Returns:
        Modes by falling variance, and the named shapes over them (their best approximation if modes were left out).
    """
    modes = leading_modes(fields, count, "expression")
    if not named:
        return modes, None
    flat = modes.reshape(len(modes), -1)
    shapes = np.stack(list(named.values())).reshape(len(named), -1)
    coefficients = shapes @ flat.T / np.maximum((flat**2).sum(axis=1), 1e-12)
    return modes, NamedExpressions(tuple(named), torch.from_numpy(coefficients).float())
