"""focus-ray: occlusion-robust 3D face reconstruction (FOCUS, Li et al., CVPR 2023)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from focus_ray.inference import Reconstructor

__version__ = "0.1.0"
__all__ = ["__version__", "load", "read_picture"]


def load(path: str | Path | None = None) -> "Reconstructor":
    """Load a model for reconstructing faces in pictures.

    Args:
        path: model folder, RUN/model for instance; None: the shipped one.

    Returns:
        The model; `load().reconstruct(rgb)` takes uint8 [H, W, 3] and returns a list of faces, empty if it finds none.

    Raises:
        CheckpointError: the folder is missing, altered or of another format.
        ModelError: no path is given and this copy of the package has no model.
    """
    from focus_ray import inference  # imported here to keep `import focus_ray` fast

    return inference.load(path)


def read_picture(content: bytes) -> "np.ndarray":
    """Decode a picture.

    Args:
        content: bytes of a JPEG, PNG, WebP, BMP or HEIC file.

    Returns:
        Upright RGB, uint8 [H, W, 3].

    Raises:
        ImageError: the content is not such a picture.
        ImageTooLarge: the picture is over the limits of data.image_file.
    """
    from focus_ray import inference

    return inference.read_image(content)
