"""Decoder of linear bases; the bits of an image depend on its own coefficients only, not on its batch or on threads."""

import torch
from jaxtyping import Float
from torch import Tensor

from focus_ray.focus.render.numba_jit import as_numpy, jit

_BLOCK = 512  # floats at a time: the sums stay in the L1 cache, the block of the basis in L2


def decode_basis(
    coefficients: Float[Tensor, "B K"], mean: Float[Tensor, "V 3"], basis: Float[Tensor, "K V 3"]
) -> Float[Tensor, "B V 3"]:
    """Decode coefficients: mean + sum_k coefficients_k basis_k, modes added in their order.

    A matrix product would be as short, but its blocking, and with it the rounding, changes with the batch's size.

    Args:
        coefficients: coefficients of each image, in the units of the basis.
        mean: mean shape or albedo.
        basis: modes in their order.

    Returns:
        Shapes or albedos as float32, in the units of the mean.
    """
    output = torch.empty(len(coefficients), *mean.shape)
    arrays = [as_numpy(tensor.to(torch.float32).flatten(start)) for tensor, start in ((mean, 0), (basis, 1))]
    _decode(as_numpy(coefficients), *arrays, output.flatten(1).numpy())
    return output


@jit
def _decode(coefficients, mean, basis, output):
    modes, length = basis.shape
    fours = modes - modes % 4
    for start in range(0, length, _BLOCK):
        block = slice(start, min(start + _BLOCK, length))
        for image in range(output.shape[0]):
            row, weights = output[image, block], coefficients[image]
            row[:] = mean[block]
            # four modes per pass: each sum is loaded and stored once for four additions
            for k in range(0, fours, 4):
                first, second, third, fourth = (
                    basis[k, block],
                    basis[k + 1, block],
                    basis[k + 2, block],
                    basis[k + 3, block],
                )
                w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
                for j in range(row.size):
                    value = row[j] + w0 * first[j]
                    value += w1 * second[j]
                    value += w2 * third[j]
                    row[j] = value + w3 * fourth[j]
            for k in range(fours, modes):
                mode, weight = basis[k, block], weights[k]
                for j in range(row.size):
                    row[j] += weight * mode[j]
