"""Photographs of open faces in the form of composites on which nothing is pasted."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.composites.composite_folder import LANDMARKS, CompositeRow
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.sample import UNOCCLUDED
from focus_ray.errors import DataError


class OpenPhotographs:
    """Photographs with landmarks, read on demand."""

    def __init__(self, folder: Path, names: Collection[str] | None = None) -> None:
        """Open a folder.

        Args:
            folder: folder of photographs with landmarks.csv.
            names: photographs that count; None: all with landmarks.

        Raises:
            LandmarkError: landmarks.csv is missing or damaged.
            DataError: none of the names has landmarks.
        """
        self.folder = folder
        self._landmarks = read_landmarks(folder / LANDMARKS)
        self.rows = [
            CompositeRow(name, name, name, UNOCCLUDED, UNOCCLUDED, 0.0)
            for name in sorted(self._landmarks)
            if names is None or name in names
        ]
        if not self.rows:
            raise DataError(
                f"{folder / LANDMARKS}: none of its {len(self._landmarks)} photographs is listed as an open face; "
                "give their folder, or other attributes"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def picture(self, row: CompositeRow) -> UInt8[np.ndarray, "H W 3"]:
        """Read a photograph.

        Raises:
            ImageError: it is missing or damaged.
        """
        return read_image(self.folder / row.picture)

    def landmarks(self, row: CompositeRow) -> Float[np.ndarray, "68 2"]:
        """Return the landmarks of a photograph, px."""
        return self._landmarks[row.picture]

    def occluder(self, row: CompositeRow, height: int, width: int) -> Bool[np.ndarray, "height width"]:
        """Return that nothing is pasted anywhere."""
        return np.zeros((height, width), dtype=bool)
