"""What a user chooses when a face model is imported."""

from pathlib import Path

from pydantic import Field

from focus_ray.settings import Settings


class ImportOptions(Settings):
    """Choices of an import.

    Attributes:
        landmarks: file with the 68 landmarks, see landmark_file.py; None: those that are known of the format.
        crop: keep only the face: BFM by an analytic rule, GNM by its vertex group; other formats are kept whole.
        licence: text file with the terms of the model, for files that do not contain it.
        modes: largest numbers of identity, expression and albedo modes that are read.
    """

    landmarks: Path | None = None
    crop: bool = True
    licence: Path | None = None
    modes: tuple[int, int, int] = Field(default=(80, 64, 80))
