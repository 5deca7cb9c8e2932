"""In-memory cache of generated faces: a finite training set is generated in the first pass only."""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from focus_ray.data.sample import Batch, FaceDataset

_LEVELS = 255
_BITS = ("masks", "region", "planted")
_FLOATS = ("landmarks", "theta", "vertices", "landmarks_true")


class _CachedImage(NamedTuple):
    """One image with its ground truth, in the smallest lossless form."""

    image: np.ndarray  # [3,H,W] uint8
    bits: dict[str, np.ndarray]  # packed masks
    floats: dict[str, Tensor]
    family: str | None
    name: str | None


class CachedFaces:
    """The images of a data set, each made on first use, then cached; thread-safe.

    Images are kept as 8 bits and masks as bits, which loses nothing: a cached image has the bits of a fresh one. About
    15 kB an image at 64 px; vertices take 30 kB more.

    Args:
        faces: data set to cache.
        vertices: whether vertices are cached; otherwise they are None.
    """

    def __init__(self, faces: FaceDataset, vertices: bool = False) -> None:
        self.faces = faces
        self._dropped = () if vertices else ("vertices",)
        self._cached: dict[int, _CachedImage] = {}
        self._lock = threading.Lock()

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the images with these numbers, in this order."""
        with self._lock:
            missing = sorted({index for index in indices if index not in self._cached})
            if missing:
                made = self.faces.batch(missing)
                self._cached.update((index, self._pack(made, row)) for row, index in enumerate(missing))
            rows = [self._cached[index] for index in indices]
        return _unpack(rows)

    def _pack(self, batch: Batch, row: int) -> _CachedImage:
        known = {key: value for key, value in vars(batch).items() if value is not None and key not in self._dropped}
        return _CachedImage(
            image=(batch.images[row] * _LEVELS).round().to(torch.uint8).numpy(),
            bits={key: np.packbits(known[key][row].numpy() > 0) for key in _BITS if key in known},
            floats={key: known[key][row].clone() for key in _FLOATS if key in known},
            family=batch.families[row] if batch.families else None,
            name=batch.names[row] if batch.names else None,
        )


def _unpack(rows: list[_CachedImage]) -> Batch:
    images = torch.from_numpy(np.stack([row.image for row in rows])).float() / _LEVELS
    height, width = images.shape[2:]
    bits = {key: np.stack([row.bits[key] for row in rows]) for key in rows[0].bits}
    planes = {key: np.unpackbits(packed, axis=1, count=height * width) for key, packed in bits.items()}
    tensors: dict[str, Any] = {
        **{key: torch.from_numpy(plane).float().view(-1, 1, height, width) for key, plane in planes.items()},
        **{key: torch.stack([row.floats[key] for row in rows]) for key in rows[0].floats},
    }
    families = [row.family for row in rows if row.family is not None]
    names = [row.name for row in rows if row.name is not None]
    return Batch(images=images, families=families or None, names=names or None, **tensors)
