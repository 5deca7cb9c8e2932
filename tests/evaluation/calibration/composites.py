"""Composites of one photograph for the tests, and a detector that finds the true face."""

from pathlib import Path

import numpy as np

from focus_ray.data.composites.compose import write_composites
from focus_ray.data.composites.composite_config import CompositeConfig
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.detection import Detection, bounding_box
from tests.data.composites.photographs import write_photographs


def write_small_composites(place: Path, n: int, seed: int = 0) -> CompositeFolder:
    """Composites of four photographs, each of another person."""
    photos = place / "photos"
    if not photos.exists():
        write_photographs(photos)
    out = place / f"composites-{n}-{seed}"
    write_composites(photos, out, CompositeConfig(n=n, seed=seed, families=("polygon", "cup"), persons="pictures"))
    return CompositeFolder(out)


class TrueFaces:
    """Finds the true face of each picture of a folder, 1 px off, and nothing in other pictures."""

    def __init__(self, folder: CompositeFolder) -> None:
        self._known = {folder.picture(row).tobytes(): folder.landmarks(row) + 1.0 for row in folder.rows}

    def detect(self, image: np.ndarray) -> list[Detection]:
        points = self._known.get(image.tobytes())
        return [] if points is None else [Detection(bounding_box(points), landmarks=points)]
