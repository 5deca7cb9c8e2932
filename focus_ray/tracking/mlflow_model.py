"""The model as MLflow loads it: MLflow copies this file beside the model folder and runs it (models from code)."""

import threading
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class FaceReconstruction(PythonModel):
    """Pictures in, the faces of each picture out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder among the artifacts. Raises CheckpointError where it was altered."""
        import focus_ray

        self._reconstructor = focus_ray.load(context.artifacts["model"])
        self._lock = threading.Lock()  # servers ask from many threads, the detector belongs to one at a time

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: Any, model_input: np.ndarray, params: Any = None
    ) -> list[list[dict[str, Any]]]:
        """The faces of each picture, as FACE records (dicts, ready for JSON), the surest first.

        `model_input`: upright RGB pictures, uint8: one [H, W, 3], several of one size [N, H, W, 3], or of any sizes in
        an array of objects [N]. One picture gives a list of length 1. Raises ImageError for anything else.
        """
        with self._lock:
            return [
                [face.model_dump(mode="json") for face in self._reconstructor.reconstruct(picture)]
                for picture in pictures(model_input)
            ]


def pictures(model_input: np.ndarray) -> list[np.ndarray]:
    """The pictures of an input; from lists in lists, as a server reads them from JSON, too."""
    if model_input.dtype == object and model_input.ndim > 1:
        model_input = np.asarray(model_input.tolist())
    several = model_input.ndim == 4 or model_input.dtype == object
    return [as_bytes(np.asarray(picture)) for picture in (model_input if several else [model_input])]


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 to 255 as uint8; anything else as it is, for the reconstruction to refuse."""
    if picture.size == 0 or not np.issubdtype(picture.dtype, np.integer):
        return picture
    return picture.astype(np.uint8) if picture.min() >= 0 and picture.max() <= 255 else picture


set_model(FaceReconstruction())
