"""The order in memory in which convolutions are fastest."""

import torch
from jaxtyping import Float
from torch import Tensor


def channels_last(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """The same images, on the CPU with the channels of a pixel side by side.

    Convolutions keep their input's order, so converting the input is enough: a quarter to a third less time on the CPU
    for the small networks. The parameters stay contiguous, which files need.
    """
    return images.contiguous(memory_format=torch.channels_last) if images.device.type == "cpu" else images
