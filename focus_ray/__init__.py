"""focus-ray: occlusion-robust 3D face reconstruction (FOCUS, Li et al., CVPR 2023)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from focus_ray.inference import Reconstructor

__version__ = "0.1.0"
__all__ = ["__version__", "load", "read_picture"]


def load(path: str | Path | None = None) -> "Reconstructor":
    """A model folder (RUN/model for instance), or the shipped one, ready for pictures.

    `load().reconstruct(rgb)` takes uint8 [H, W, 3] and gives a list of faces, empty where there is none.
    Raises CheckpointError where the folder is missing, altered or of another format.
    """
    from focus_ray import inference  # not before it is asked for: importing focus_ray must cost nothing

    return inference.load(path)


def read_picture(content: bytes) -> "np.ndarray":
    """The content of a JPEG, PNG, WebP, BMP or HEIC file as upright RGB, uint8 [H, W, 3].

    Raises ImageError for anything else, ImageTooLarge for a picture over the limits of data.image_file.
    """
    from focus_ray import inference

    return inference.read_image(content)
