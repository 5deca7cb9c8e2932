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


def _raise_if_any(keys: list[str], label: str, problem: str) -> None:
    if keys:
        shown = ", ".join(keys[:MAX_SHOWN]) + (f" and {len(keys) - MAX_SHOWN} more" if len(keys) > MAX_SHOWN else "")
        raise CheckpointError(f"these are not the weights of {label}: the file {problem} {shown}; give another file")
