"""MLflow model (models from code): MLflow copies this file beside the model folder and runs it."""

import base64
import threading
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

_COLUMN = "image"
_CONTENT = bytes | bytearray | memoryview


class FaceReconstruction(PythonModel):
    """Reconstructs the faces of pictures."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model folder among the artifacts.

        Raises:
            CheckpointError: the folder was altered.
            ConfigError: a weight file of the detector was altered.
        """
        import focus_ray

        weights = context.artifacts.get("detector")  # of the mesh detector, if the run had them
        detector = focus_ray.load_detector("haar") if weights is None else focus_ray.load_detector("mesh", weights)
        self._reconstructor = focus_ray.load(context.artifacts["model"], detector)
        self._lock = threading.Lock()  # servers call from many threads, the detector serves one at a time

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: Any, model_input: np.ndarray, params: Any = None
    ) -> list[list[dict[str, Any]]]:
        """Reconstruct the faces of pictures.

        Args:
            context: unused.
            model_input: one picture, a list of pictures, an array [N, H, W, 3] of them, or a table (DataFrame, Series)
                with a column of them, named `image` if there are other columns. A picture is upright RGB, uint8
                [H, W, 3], as an array or nested lists, or the content of a JPEG, PNG or WebP file, as bytes or base64.
            params: unused.

        Returns:
            For each picture, its faces as FACE records (dicts, ready for JSON), the most confident first; a list of
            length 1 for one picture.

        Raises:
            ImageError: the input is anything else.
        """
        # MLflow infers no schema from this type hint; it warns about most others, and about a missing one.
        with self._lock:
            return [
                [face.model_dump(mode="json") for face, _ in self._reconstructor.reconstruct(picture)]
                for picture in parse_images(model_input)
            ]


def parse_images(model_input: Any) -> list[np.ndarray]:
    """Return the pictures of an input.

    Args:
        model_input: see `FaceReconstruction.predict`; nested lists are what a server reads from JSON.

    Returns:
        One array for each picture, not checked unless it was decoded from a file.

    Raises:
        ImageError: a table has no column of pictures, or a file cannot be decoded.
    """
    if hasattr(model_input, "columns"):
        model_input = _column(model_input)
    if isinstance(model_input, str | _CONTENT):
        return [_to_image(model_input)]
    if isinstance(model_input, np.ndarray) and model_input.dtype.kind not in "OSU":
        return [_to_image(one) for one in (model_input if model_input.ndim == 4 else [model_input])]
    several = list(model_input)
    return [_to_image(one) for one in (several if _are_pictures(several) else [several])]


def to_uint8(picture: np.ndarray) -> np.ndarray:
    """Convert integers in [0, 255] to uint8.

    Args:
        picture: array of any shape and type.

    Returns:
        The uint8 array; `picture` itself if it holds anything else, which the reconstruction refuses.
    """
    if picture.size == 0 or not np.issubdtype(picture.dtype, np.integer):
        return picture
    return picture.astype(np.uint8) if picture.min() >= 0 and picture.max() <= 255 else picture


def _column(table: Any) -> Any:
    """Return the column of pictures of a table."""
    if len(table.columns) == 1:
        return table.iloc[:, 0]
    if _COLUMN in table.columns:
        return table[_COLUMN]
    from focus_ray import errors

    raise errors.ImageError(f"the table has {len(table.columns)} columns; name that of the pictures {_COLUMN!r}")


def _are_pictures(given: list[Any]) -> bool:
    """Return whether these are pictures, not the rows [W, 3] of one picture."""
    first = given[0] if given else None
    if isinstance(first, str | _CONTENT):
        return True
    depth = 0
    while isinstance(first, list | tuple | np.ndarray) and len(first):
        first, depth = first[0], depth + 1
    return depth != 2


def _to_image(given: Any) -> np.ndarray:
    """Convert one picture to an array; the reconstruction refuses an array that is not a picture."""
    from focus_ray import read_picture

    if isinstance(given, str):
        try:
            given = base64.b64decode(given, validate=True)
        except ValueError:
            given = given.encode(errors="replace")
    if isinstance(given, _CONTENT):
        return read_picture(bytes(given))
    try:
        return to_uint8(np.asarray(_to_lists(given)))
    except ValueError:  # rows of different lengths
        return np.asarray(None)


def _to_lists(given: Any) -> Any:
    """Return an array as it is; convert an array of objects, and the arrays within lists, to lists."""
    if isinstance(given, np.ndarray) and given.dtype != object:
        return given
    return [_to_lists(one) for one in given] if isinstance(given, list | tuple | np.ndarray) else given


set_model(FaceReconstruction())
