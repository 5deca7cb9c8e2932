"""Matrix products whose rows have the same bits in every batch of two rows or more."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# On CPUs with AVX2 and without AVX-512, MKL sums the rows of a product of two or three in another order than those of
# four or more. A product of one row is another routine everywhere.
_MIN_ROWS = 4


def batch_invariant(product: Callable[[Tensor], Tensor], rows: Float[Tensor, "B K"]) -> Float[Tensor, "B N"]:
    """`product(rows)`, made with rows of zeros beside two or three rows on a CPU: the same bits as among many.

    This holds for the values and for the gradient of `rows`, while torch computes with one thread: with more, MKL
    divides the rows between them. A single row is left as it is.
    """
    if rows.device.type != "cpu" or not 1 < len(rows) < _MIN_ROWS:
        return product(rows)
    return product(functional.pad(rows, (0, 0, 0, _MIN_ROWS - len(rows))))[: len(rows)]


class RowwiseLinear(nn.Linear):
    """A linear layer whose answers, outside of training, have the same bits in every batch of two rows or more."""

    def forward(self, input: Float[Tensor, "B K"]) -> Float[Tensor, "B N"]:
        return super().forward(input) if self.training else batch_invariant(super().forward, input)
