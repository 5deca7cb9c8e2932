"""A batch of face images with landmarks, and ground truth where it is known."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

UNOCCLUDED = "none"
"""Family of an image without an occluder."""


@dataclass(frozen=True)
class Batch:
    """B images of H x W px; every field except images and landmarks is None if unknown.

    Attributes:
        images: RGB in [0, 1].
        landmarks: landmarks as a detector gives them, px, iBUG order.
        masks: 1 = visible face.
        theta: the 257 fitted parameters.
        vertices: mm, in the model frame.
        families: occluder family of each image, or UNOCCLUDED.
        names: file names or other identifiers.
        landmarks_true: landmarks without detector noise, px.
        region: 1 = the face covers the pixel, occluded or not.
        planted: 1 = a pasted occluder covers the pixel.
        numbers: number of each image in a data set whose images do not change.
    """

    images: Float[Tensor, "B 3 H W"]
    landmarks: Float[Tensor, "B 68 2"]
    masks: Float[Tensor, "B 1 H W"] | None = None
    theta: Float[Tensor, "B 257"] | None = None
    vertices: Float[Tensor, "B V 3"] | None = None
    families: list[str] | None = None
    names: list[str] | None = None
    landmarks_true: Float[Tensor, "B 68 2"] | None = None
    region: Float[Tensor, "B 1 H W"] | None = None
    planted: Float[Tensor, "B 1 H W"] | None = None
    numbers: list[int] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def occluded(self) -> Bool[Tensor, " B"] | None:
        """Whether each image has an occluder; None if the families are unknown."""
        if self.families is None:
            return None
        return torch.tensor([family != UNOCCLUDED for family in self.families], dtype=torch.bool)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch with its tensors on a device."""
        return Batch(**{key: _move(value, device) for key, value in self._items()})

    def select(self, rows: Sequence[int]) -> "Batch":
        """Return the batch of the given rows, in the given order."""
        index = torch.as_tensor(list(rows), dtype=torch.int64)
        return Batch(**{key: _select_rows(value, index) for key, value in self._items()})

    def _items(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


@runtime_checkable
class FaceDataset(Protocol):
    """A data set that makes a batch from image numbers."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the images with these numbers, in this order."""
        ...


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Join several batches of one kind; a field that is None in any of them is None in the result."""
    columns = zip(*(batch._items() for batch in batches), strict=True)
    return Batch(**{column[0][0]: _join([value for _, value in column]) for column in columns})


def _move(value: Any, device: torch.device | str) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _select_rows(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[index.to(value.device)]
    return None if value is None else [value[row] for row in index.tolist()]


def _join(values: list[Any]) -> Any:
    if any(value is None for value in values):
        return None
    return torch.cat(values) if isinstance(values[0], Tensor) else [item for value in values for item in value]
