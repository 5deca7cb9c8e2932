"""Collective operations between the processes of a distributed run; with one process all of them are no-ops.

One global batch is split among the replicas. A loss is a ratio of two sums over the whole batch, so every replica sums
its own part, and the parts are summed over all replicas. All ranks thus have the same loss and take the same decision
from it (skip the step, stop by the guard), so no collective call can deadlock.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from focus_ray.focus.pooled_ratio import PooledRatio


class ReplicaGroup:
    """This replica among all. With more than one, torch.distributed's default group must be initialised.

    Args:
        rank: number of this replica, from 0.
        world_size: number of replicas.

    Raises:
        ValueError: the rank is not below the world size.
    """

    def __init__(self, rank: int = 0, world_size: int = 1):
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is outside 0..{world_size - 1}")
        self.rank = rank
        self.world_size = world_size

    @property
    def is_main(self) -> bool:
        """Whether this replica is the one that scores, draws and writes."""
        return self.rank == 0

    def shard(self, count: int) -> range:
        """Return this replica's part of `count` ordered items.

        Returns:
            A contiguous range; the sizes of two parts differ by one at most.
        """
        return range(self.rank * count // self.world_size, (self.rank + 1) * count // self.world_size)

    def all_reduce(self, terms: Mapping[str, PooledRatio]) -> dict[str, PooledRatio]:
        """Sum numerators and denominators over all replicas, in one exchange.

        Args:
            terms: this replica's sums by name; all replicas have the same names in the same order.

        Returns:
            The global sums. Their gradient is that of this replica's own part.
        """
        if self.world_size == 1:
            return dict(terms)
        parts = torch.stack([number for pooled in terms.values() for number in pooled])
        total = _AllReduceSum.apply(parts)
        return {name: PooledRatio(*pair) for name, pair in zip(terms, total.view(-1, 2), strict=True)}

    @torch.no_grad()
    def all_gather(self, values: Shaped[Tensor, " N"]) -> Shaped[Tensor, " M"]:
        """Concatenate the values of all replicas, in the order of the ranks.

        Args:
            values: this replica's; their number may differ between replicas.

        Returns:
            All values, without gradient.
        """
        if self.world_size == 1:
            return values
        counts = [torch.zeros(1, dtype=torch.int64, device=values.device) for _ in range(self.world_size)]
        torch.distributed.all_gather(counts, torch.tensor([len(values)], device=values.device))
        longest = max(int(count) for count in counts)
        padded = values.new_zeros(longest)
        padded[: len(values)] = values
        gathered = [torch.empty_like(padded) for _ in range(self.world_size)]
        torch.distributed.all_gather(gathered, padded)
        return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])

    def all_reduce_any(self, flag: bool, device: torch.device | str = "cpu") -> bool:
        """Return whether the flag is true on any replica.

        Args:
            flag: this replica's flag.
            device: device of the exchange.
        """
        if self.world_size == 1:
            return flag
        value = torch.tensor([float(flag)], device=device)
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
        return bool(value.item())

    def all_reduce_min(self, number: int, device: torch.device | str = "cpu") -> int:
        """Return the minimum of a number over the replicas.

        Args:
            number: this replica's number.
            device: device of the exchange.
        """
        if self.world_size == 1:
            return number
        value = torch.tensor([number], device=device)
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MIN)
        return int(value.item())

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """Wrap a network in torch's DistributedDataParallel, which averages gradients over the replicas.

        Args:
            network: wrapped anew on every call.

        Returns:
            The module for training forward passes; with one replica the network itself. It does not broadcast buffers:
            call `broadcast_buffers`.
        """
        if self.world_size == 1:
            return network
        device = next(network.parameters()).device
        ids = None if device.type == "cpu" else [device.index]
        learner = DistributedDataParallel(network, device_ids=ids)
        learner.broadcast_buffers = False  # not as an argument: torch 2.13 renamed it
        return learner

    @contextmanager
    def accumulate_gradients(self, module: nn.Module, *, sync: bool) -> Iterator[None]:
        """Accumulate the gradients of the backward passes inside; replicas exchange them only if `sync`.

        Args:
            module: result of `wrap_ddp`.
            sync: True for the last backward pass of a step.
        """
        with nullcontext() if sync or not isinstance(module, DistributedDataParallel) else module.no_sync():
            yield

    @torch.no_grad()
    def broadcast_buffers(self, network: nn.Module) -> None:
        """Copy rank 0's running statistics to every replica, if batch norm is not synchronised.

        Args:
            network: changed in place.
        """
        if self.world_size == 1 or not any(type(module) is nn.BatchNorm2d for module in network.modules()):
            return
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        together = torch.cat([buffer.flatten() for buffer in buffers])
        torch.distributed.broadcast(together, src=0)
        for buffer, leading in zip(buffers, together.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(leading.view_as(buffer))


SINGLE_PROCESS = ReplicaGroup()


class _AllReduceSum(torch.autograd.Function):
    """The sum over all replicas. Its gradient is that of this replica's own part: DDP adds the parts."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]
