"""Batch normalisation over the global batch of all replicas; torch's own SyncBatchNorm does not support the CPU."""

from typing import Any, TypeVar

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics are those of the global batch, all replicas' parts together.

    Parts may differ in size. In evaluation it is a plain BatchNorm2d with the same state dict.
    """

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(input)
        exact = input.to(torch.promote_types(input.dtype, torch.float32))
        normalised, mean, variance, count = _Normalise.apply(exact, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                rate = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, rate)
                self.running_var.lerp_(variance * (count / (count - 1)), rate)
        return normalised.to(input.dtype)


def convert_sync_batchnorm(network: Network) -> Network:
    """Replace every BatchNorm2d inside a network by SyncBatchNorm2d, keeping parameters and statistics.

    Args:
        network: changed in place.

    Returns:
        The same network.
    """
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            twin = SyncBatchNorm2d(child.num_features, child.eps, child.momentum)
            twin.weight, twin.bias = child.weight, child.bias
            twin.running_mean, twin.running_var = child.running_mean, child.running_var
            twin.num_batches_tracked = child.num_batches_tracked
            setattr(network, name, twin.train(child.training))
        else:
            convert_sync_batchnorm(child)
    return network


class _Normalise(torch.autograd.Function):
    """weight (x - mean) / sqrt(variance + eps) + bias over all replicas; also mean, variance and number of pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # Moments of each part about its own mean, then merged: E[x^2] - E[x]^2 would lose digits.
        mine = torch.cat((*channel_moments(x), x.new_tensor([float(x.numel() // x.shape[1])])))
        everyone = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(everyone, mine)
        means, variances, counts = torch.stack(everyone).split([len(weight), len(weight), 1], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        variance = (counts * (variances + (means - mean).square())).sum(0) / total
        ctx.save_for_backward(x, weight, mean, variance, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, total)
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, mean, variance, total = ctx.saved_tensors
        # Gradients with constant statistics. Those of the parameters are the two sums that the correction below needs.
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack((of_weight, of_bias))
        torch.distributed.all_reduce(sums)
        inverse = (variance + ctx.eps).rsqrt()
        tilt, shift = weight * inverse * sums / total
        tilt = tilt * inverse
        through = direct.addcmul_(x, -tilt[:, None, None]).sub_((shift - tilt * mean)[:, None, None])
        return through, of_weight, of_bias, None


def channel_moments(x: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Compute mean and variance of each channel.

    Args:
        x: feature maps.

    Returns:
        (mean, biased variance).
    """
    if x.device.type == "cpu":  # several times faster there than var_mean
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return mean, variance
