"""Matrix products whose rows have the same bits in every batch of two rows or more."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# MKL computes a product of few rows in another order of summation than one of many rows: with AVX2 that of two or three
# rows; with AVX-512, if the matrix is transposed, that of up to 15, in two ways. A single row is another routine.
_MIN_ROWS = 4
_MIN_ROWS_TRANSPOSED = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 4


def batch_invariant(
    product: Callable[[Tensor], Tensor], rows: Float[Tensor, "B K"], min_rows: int = _MIN_ROWS
) -> Float[Tensor, "B N"]:
    """Compute `product(rows)` so that two rows or more have the same bits as among many, on a CPU.

    Few rows, two or more, are padded with rows of zeros; a single row is left as it is. This holds if torch computes
    with one thread: with more, MKL divides the rows between them. It holds for the gradient of `rows` too, but with
    AVX-512 only up to 15 rows, as the matrix is transposed there.

    Args:
        product: computes each row of its result from the same row of its argument, by a matrix that is not transposed.
        rows: argument of `product`.
        min_rows: fewest rows that are not padded.

    Returns:
        One row of the result for each row.
    """
    if rows.device.type != "cpu" or not 1 < len(rows) < min_rows:
        return product(rows)
    return product(functional.pad(rows, (0, 0, 0, min_rows - len(rows))))[: len(rows)]


class RowwiseLinear(nn.Linear):
    """A linear layer whose outputs in eval mode have the same bits in every batch of two rows or more."""

    def forward(self, input: Float[Tensor, "B K"]) -> Float[Tensor, "B N"]:
        if self.training:
            return super().forward(input)
        return batch_invariant(super().forward, input, _MIN_ROWS_TRANSPOSED)
