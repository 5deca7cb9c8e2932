"""The last layer of every encoder: a linear map into theta that starts at zero."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.focus.parameters import N_PARAMETERS, ParameterScales
from focus_ray.numerics.batch_invariant import RowwiseLinear


class ParameterHead(RowwiseLinear):
    """The map theta = offset + scale * (W x + b); W = b = 0 at first: the mean face, frontal, under the offset's light.

    Offset and scale follow from the settings and are not part of the state dict.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, n_features: int, scales: ParameterScales):
        super().__init__(n_features, N_PARAMETERS)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        offset, scale = scales.vectors()
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, input: Float[Tensor, "B D"]) -> Float[Tensor, "B 257"]:
        with torch.autocast(input.device.type, enabled=False):  # half precision would round poses and 1000 mm of depth
            return torch.addcmul(self.offset, self.scale, super().forward(input.to(self.weight.dtype)))
