"""Reads published weight files safely: safetensors, or PyTorch's format restricted to tensors."""

import pickle  # noqa: TID251  (its exception type; nothing is unpickled with it)
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from focus_ray.errors import CheckpointError

# The largest published network of use here has 175 MB. Larger files than this are refused unread.
MAX_BYTES = 1 << 30
# Training scripts wrap a state dict under these names.
WRAPPERS = ("state_dict", "model")
ZIP_MAGIC = b"PK\x03\x04"
HEADER_LENGTH_BYTES = 8  # a safetensors file: the length of its JSON header, then the header


def read_weights(path: Path | str, *, max_bytes: int = MAX_BYTES) -> dict[str, Tensor]:
    """Read the state dict of a weight file, tensors on the CPU; code in the file is never run.

    Args:
        path: the file; its content decides on its format, not its name.
        max_bytes: largest size of the file, and of its tensors in memory.

    Raises:
        CheckpointError: the file is missing, too large, damaged, or holds anything but named dense tensors.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file() or size == 0:
            raise CheckpointError(f"{path} is empty or not a file; give a .safetensors or .pth file")
        if size > max_bytes:
            raise CheckpointError(f"{path} has {size} bytes, more than {max_bytes}; give the weights of one network")
        with path.open("rb") as file:
            start = file.read(HEADER_LENGTH_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({error.strerror}); give a .safetensors or .pth file") from None
    content = _read_safetensors(path) if start[HEADER_LENGTH_BYTES:] == b"{" else _read_torch(path, start, max_bytes)
    return _state_dict(path, content, max_bytes)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _damaged_error(path, error) from None


def _read_torch(path: Path, start: bytes, max_bytes: int) -> Any:
    """PyTorch's zip or older format, restricted to tensors and plain containers."""
    try:
        if start.startswith(ZIP_MAGIC):
            _check_archive(path, max_bytes)
        with path.open("rb") as file:  # an open file, because the name of a path can select another format
            return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path} is damaged or holds more than tensors; convert it to safetensors") from None
    except CheckpointError:
        raise
    except Exception as error:  # a hostile file can raise any error here
        raise _damaged_error(path, error) from None


def _check_archive(path: Path, max_bytes: int) -> None:
    """Refuse an archive that unpacks to more than `max_bytes`: PyTorch stores its tensors uncompressed."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if sum(entry.file_size for entry in entries) > max_bytes:
        raise CheckpointError(f"{path} unpacks to more than {max_bytes} bytes; give the weights of one network")


def _state_dict(path: Path, content: Any, max_bytes: int) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} does not hold a state dict; save network.state_dict() and give that file")
    for name, value in content.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not isinstance(name, str) or not dense or value.is_quantized:
            raise CheckpointError(f"{path} holds {str(name)[:80]!r}, which is not a dense tensor; give a state dict")
    # A view of one number can have any size, so the tensors' size in memory counts, not that of the file.
    if sum(value.numel() * value.element_size() for value in content.values()) > max_bytes:
        raise CheckpointError(f"{path} describes more than {max_bytes} bytes; give the weights of one network")
    return {name: value.detach() for name, value in content.items()}


def _damaged_error(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
    return CheckpointError(f"{path} is not a readable weight file ({reason[0][:120]}); give an intact copy")
