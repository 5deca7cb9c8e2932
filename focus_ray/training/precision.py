"""Number type of the networks: bfloat16 where the device has it in hardware, never emulated."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["float32", "mixed"]


def autocast_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return a context that runs the networks with this precision. Renderer, losses and parameters stay in float32.

    Args:
        precision: `mixed` is bfloat16 if the device supports it in hardware, else float32.
        device: device of the networks.
    """
    half = precision == "mixed" and supports_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def supports_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware; emulation is slower than float32 and less exact."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()
