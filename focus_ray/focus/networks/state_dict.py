"""Loading of published weights into a network from a state dict, with an error that names entries that do not fit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from focus_ray.errors import CheckpointError

# Counters of BatchNorm that files written before 2018 lack and that inference does not read.
OPTIONAL_SUFFIX = "num_batches_tracked"
MAX_SHOWN = 3


def load_pretrained(
    network: nn.Module,
    state: Mapping[str, Tensor],
    label: str,
    *,
    missing_prefixes: tuple[str, ...] = (),
    ignored_prefix: str = "",
) -> None:
    """Copy a published state dict into a network.

    Args:
        network: network to load into; unchanged on an error.
        state: published state dict.
        label: name of the expected weights, for messages.
        missing_prefixes: prefixes of entries of the network that the file does not have.
        ignored_prefix: prefix of entries of the file that are not used.

    Raises:
        CheckpointError: entries are missing, unknown, of another shape or not finite.
    """
    own = {
        key: value
        for key, value in network.state_dict().items()
        if not (missing_prefixes and key.startswith(missing_prefixes))
    }
    given = {key: value for key, value in state.items() if not (ignored_prefix and key.startswith(ignored_prefix))}
    missing = [key for key in own if key not in given and not key.endswith(OPTIONAL_SUFFIX)]
    _raise_if_any(missing, label, "lacks")
    _raise_if_any([key for key in given if key not in own], label, "also holds")
    _raise_if_any(
        [key for key, value in given.items() if value.shape != own[key].shape], label, "has another shape for"
    )
    _raise_if_any(
        [key for key, value in given.items() if not torch.isfinite(value).all()],
        label,
        "has values that are not finite for",
    )
    network.load_state_dict(given, strict=False)


def strip_prefix(state: Mapping[str, Tensor], first: str) -> dict[str, Tensor]:
    """Remove a common prefix of all names, as wrappers of a network add it (`module.`, `model.`, `backbone.`).

    Args:
        state: state dict.
        first: name of a tensor of the network without prefix.

    Returns:
        The tensors whose names had the prefix, without it; all tensors if no name has one.
    """
    prefix = next((key.removesuffix(first) for key in state if key.endswith("." + first)), "")
    if first in state or not prefix:
        return dict(state)
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Return the number of blocks of a stage: how many numbers follow the prefix in the names.

    Args:
        state: state dict.
        prefix: of the stage, with its dot.
    """
    return len({key.removeprefix(prefix).partition(".")[0] for key in state if key.startswith(prefix)})


def _raise_if_any(keys: list[str], label: str, problem: str) -> None:
    if keys:
        shown = ", ".join(keys[:MAX_SHOWN]) + (f" and {len(keys) - MAX_SHOWN} more" if len(keys) > MAX_SHOWN else "")
        raise CheckpointError(f"these are not the weights of {label}: the file {problem} {shown}; give another file")
