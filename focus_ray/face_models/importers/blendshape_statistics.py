"""How the weights of ARKit's expressions vary and go together, assumed: the prior that a linear model needs.

Artists' shapes have no statistics. Weights are taken as normal with a standard deviation by shape, and as correlated
between the two sides of the face, which mostly move alike. Negative weights, which the shapes do not intend, have the
same probability as positive ones; bounds are applied where weights are read.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_SIGMA = 0.2
# Shapes that people use more, and corrections that are no motion of their own.
_OWN_SIGMA = {
    "jawOpen": 0.25, "mouthSmile_L": 0.3, "mouthSmile_R": 0.3, "eyeBlink_L": 0.3, "eyeBlink_R": 0.3,
    "mouthClose": 0.05, "jawForward": 0.12, "jawLeft": 0.12, "jawRight": 0.12, "mouthLeft": 0.12, "mouthRight": 0.12,
    "cheekPuff_L": 0.15, "cheekPuff_R": 0.15,
}  # fmt: skip
_SIDES, _GAZE = 0.85, 0.95
_SAME_GAZE = (("eyeLookIn_L", "eyeLookOut_R"), ("eyeLookOut_L", "eyeLookIn_R"))


def weight_covariance_root(names: Sequence[str]) -> Float[np.ndarray, "N N"]:
    """Return a matrix R whose R R^T is the covariance of the weights of the shapes.

    Args:
        names: of the shapes, with _L and _R for the sides.

    Returns:
        The root by Cholesky's method, rows in the order of the names.
    """
    sigma = np.array([_OWN_SIGMA.get(name, _SIGMA) for name in names])
    correlation = np.eye(len(names))
    for one, other in (*_SAME_GAZE, *((name, name[:-1] + "R") for name in names if name.endswith("_L"))):
        if one in names and other in names:
            looks = one.startswith("eyeLook")
            if looks and other == one[:-1] + "R" and ("In" in one or "Out" in one):
                continue  # both eyes inwards is no common gaze
            i, j = names.index(one), names.index(other)
            correlation[i, j] = correlation[j, i] = _GAZE if looks else _SIDES
    return sigma[:, None] * np.linalg.cholesky(correlation)
