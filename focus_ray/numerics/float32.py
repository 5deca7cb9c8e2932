"""float32 inside autocast regions: half precision would round 1000 mm of depth to 4 mm."""

import torch
from jaxtyping import Float
from torch import Tensor


def full_precision_matmul(a: Float[Tensor, "*N I J"], b: Float[Tensor, "*M J K"]) -> Float[Tensor, "..."]:
    """a @ b in the type of its operands, under autocast too."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def promote_to_float32(values: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Half precision, as networks answer under autocast, as float32; wider types as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
