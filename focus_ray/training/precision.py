"""Number type of the networks: bfloat16 where the device has it in hardware, never emulated."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["float32", "mixed"]


def autocast_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which the networks compute as `precision` says. Renderer, losses and parameters stay in float32."""
    half = precision == "mixed" and supports_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def supports_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware. On others it would be slower than float32, and less exact."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()
