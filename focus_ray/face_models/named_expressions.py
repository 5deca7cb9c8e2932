"""Expressions with a name, such as jawOpen, as combinations of a face model's expression modes."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from focus_ray.errors import FaceModelError


@dataclass(frozen=True, eq=False)
class NamedExpressions:
    """The blendshapes that the expression modes were computed from.

    Attributes:
        names: of the shapes.
        coefficients: expression coefficients of each shape at weight 1, in sigmas.
    """

    names: tuple[str, ...]
    coefficients: Float[Tensor, "N E"]

    def check(self, n_expression: int) -> None:
        """Check that the shapes fit to a face model.

        Args:
            n_expression: number of the model's expression modes.

        Raises:
            FaceModelError: numbers differ, a name is repeated, or a coefficient is not finite.
        """
        expected = (len(self.names), n_expression)
        if tuple(self.coefficients.shape) != expected:
            raise FaceModelError(
                f"face model: named_expressions has shape {tuple(self.coefficients.shape)}, not {expected}; repair it"
            )
        if len(set(self.names)) != len(self.names):
            raise FaceModelError("face model: two named expressions have the same name; rename one")
        if not self.coefficients.is_floating_point() or not bool(self.coefficients.isfinite().all()):
            raise FaceModelError("face model: named_expressions must have finite floating-point numbers; repair it")

    def truncate(self, n_expression: int) -> "NamedExpressions":
        """Keep only the leading expression modes."""
        return NamedExpressions(self.names, self.coefficients[:, :n_expression])
