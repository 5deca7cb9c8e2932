"""focus-ray: occlusion-robust 3D face reconstruction (FOCUS, Li et al., CVPR 2023)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from focus_ray.inference import Detector, Reconstructor

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_detector", "read_picture"]


def load(
    path: str | Path | None = None, detector: "Detector | None" = None, *, prior: str | Path | None = None
) -> "Reconstructor":
    """Load a model for reconstructing faces in pictures.

    Args:
        path: model folder, RUN/model for instance; name of a model that comes with the package, as `focus-ray model
            list` prints them; or hf://owner/name[@revision]. None: the default one of the package.
        detector: face detector; None: `load_detector()`.
        prior: folder of a misfit prior, or "none"; None: the shipped prior, if its gate found that it helps this model.

    Returns:
        The model; `load().reconstruct(rgb)` takes uint8 [H, W, 3] and returns (face, arrays) pairs, none if it finds no
        face.

    Raises:
        CheckpointError: the folder or repository is missing, altered or of another format.
        ModelError: no path is given and this copy of the package has no model.
        ConfigError: the location is of no supported kind, or huggingface_hub is not installed.
        StorageError: the hub refuses access or cannot be reached.
    """
    from focus_ray import inference  # imported here to keep `import focus_ray` fast

    return inference.load(path, detector, prior=prior)


def load_detector(name: str = "auto", weights: str | Path | None = None) -> "Detector":
    """Load a face detector. It has scratch memory: use one per thread.

    Args:
        name: auto, mesh, haar, haar-fast, yunet, face-alignment, insightface, insightface-2d106 or insightface-3d68;
            auto is mesh, or haar if the weights of mesh are not installed.
        weights: folder of its weights, which yunet, face-alignment and the insightface ones require; of yunet also the
            file.

    Returns:
        The detector: `load(detector=...)` uses it, and its `detect(rgb)` returns the faces of a picture.

    Raises:
        ConfigError: there is no such detector, its weights are missing or altered, or its package is not installed.
    """
    from focus_ray import inference

    return inference.load_detector(name, weights)


def read_picture(source: str | Path | bytes) -> "np.ndarray":
    """Read a picture, turned upright by its EXIF orientation.

    Args:
        source: path or content of a JPEG, PNG, WebP, BMP or HEIC file.

    Returns:
        Upright RGB, uint8 [H, W, 3].

    Raises:
        ImageError: the file is missing or is not such a picture.
        ImageTooLarge: the picture is over the limits of data.image_file.
    """
    from focus_ray import inference

    return inference.read_image(source)
