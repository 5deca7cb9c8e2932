"""Batch normalisation over the global batch of all replicas; torch's own SyncBatchNorm refuses tensors on the CPU."""

from typing import Any, TypeVar

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of the whole batch, all replicas' parts together.

    Parts may differ in size. In evaluation it is a plain BatchNorm2d, and its state dict is that of one.
    """

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(input)
        exact = input.to(torch.promote_types(input.dtype, torch.float32))
        normalised, mean, variance, count = _Normalise.apply(exact, self.eps)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                rate = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, rate)
                self.running_var.lerp_(variance * (count / (count - 1)), rate)
        scaled = normalised * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled.to(input.dtype)


def at_least_float32(x: Tensor) -> Tensor:
    """Statistics need more bits than half precision has."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def synchronise(network: Network) -> Network:
    """Replace every BatchNorm2d inside by its synchronised form, parameters and statistics kept."""
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            twin = SynchronisedBatchNorm2d(child.num_features, child.eps, child.momentum)
            twin.weight, twin.bias = child.weight, child.bias
            twin.running_mean, twin.running_var = child.running_mean, child.running_var
            twin.num_batches_tracked = child.num_batches_tracked
            setattr(network, name, twin.train(child.training))
        else:
            synchronise(child)
    return network


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) over all replicas' images and pixels; also mean, variance and their number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count = x.new_tensor(float(x.numel() // x.shape[1]))
        mean = x.mean((0, 2, 3))
        squares = (x - mean[:, None, None]).square().sum((0, 2, 3))
        # Sums of squares about each part's own mean, merged: E[x^2] - E[x]^2 would cancel.
        mine = torch.cat((mean, squares, count[None]))
        everyone = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(everyone, mine)
        means, about, counts = torch.stack(everyone).split([len(mean), len(mean), 1], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        variance = (about + counts * (means - mean).square()).sum(0) / total
        inverse = (variance + eps).rsqrt()
        normalised = (x - mean[:, None, None]) * inverse[:, None, None]
        ctx.save_for_backward(normalised, inverse, total)
        ctx.mark_non_differentiable(mean, variance, total)
        return normalised, mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        normalised, inverse, total = ctx.saved_tensors
        gradient = gradients[0]
        sums = torch.stack((gradient.sum((0, 2, 3)), (gradient * normalised).sum((0, 2, 3))))
        torch.distributed.all_reduce(sums)
        shift, tilt = (sums / total)[:, :, None, None]
        return inverse[:, None, None] * (gradient - shift - normalised * tilt), None
