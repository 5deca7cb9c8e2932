"""float32 inside autocast regions: half precision would round 1000 mm of depth to 4 mm."""

import torch
from jaxtyping import Float
from torch import Tensor


def full_precision_matmul(a: Float[Tensor, "*N I J"], b: Float[Tensor, "*M J K"]) -> Float[Tensor, "..."]:
    """Compute a @ b in the type of its operands, under autocast too.

    Args:
        a: left factor.
        b: right factor; batch dimensions broadcast.

    Returns:
        The product.
    """
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def promote_to_float32(values: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Convert half precision, the output of networks under autocast, to float32.

    Args:
        values: any floating-point type.

    Returns:
        The same values, in float32 or the wider type that they had.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
