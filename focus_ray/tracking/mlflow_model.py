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

        `model_input`: one picture, a list of pictures, or a table (a DataFrame, a Series) with a column of them, which
        is called `image` where there are others. A picture is upright RGB, uint8 [H, W, 3], as an array or as lists in
        lists, or the content of a JPEG, PNG or WebP file, as bytes or as base64. Pictures of one size may be one array
        [N, H, W, 3]. One picture gives a list of length 1. Raises ImageError for anything else.
        """
        # The hint is one of a few from which MLflow concludes nothing; it warns of others, and of none.
        with self._lock:
            return [
                [face.model_dump(mode="json") for face, _ in self._reconstructor.reconstruct(picture)]
                for picture in parse_images(model_input)
            ]


def parse_images(model_input: Any) -> list[np.ndarray]:
    """The pictures of an input; from lists in lists, as a server reads them from JSON, too. Raises ImageError."""
    if hasattr(model_input, "columns"):
        model_input = _column(model_input)
    if isinstance(model_input, str | _CONTENT):
        return [_to_image(model_input)]
    if isinstance(model_input, np.ndarray) and model_input.dtype.kind not in "OSU":
        return [_to_image(one) for one in (model_input if model_input.ndim == 4 else [model_input])]
    several = list(model_input)
    return [_to_image(one) for one in (several if _are_pictures(several) else [several])]


def to_uint8(picture: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 to 255 as uint8; anything else as it is, for the reconstruction to refuse."""
    if picture.size == 0 or not np.issubdtype(picture.dtype, np.integer):
        return picture
    return picture.astype(np.uint8) if picture.min() >= 0 and picture.max() <= 255 else picture


def _column(table: Any) -> Any:
    """The pictures of a table."""
    if len(table.columns) == 1:
        return table.iloc[:, 0]
    if _COLUMN in table.columns:
        return table[_COLUMN]
    from focus_ray import errors

    raise errors.ImageError(f"a table of {len(table.columns)} columns was given; call that of the pictures {_COLUMN!r}")


def _are_pictures(given: list[Any]) -> bool:
    """Whether these are pictures, and not the rows of one: a row is [W, 3]."""
    first = given[0] if given else None
    if isinstance(first, str | _CONTENT):
        return True
    depth = 0
    while isinstance(first, list | tuple | np.ndarray) and len(first):
        first, depth = first[0], depth + 1
    return depth != 2


def _to_image(given: Any) -> np.ndarray:
    """One picture; what is none is left to be refused."""
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
    except ValueError:  # rows of several lengths
        return np.asarray(None)


def _to_lists(given: Any) -> Any:
    """Arrays as they are; arrays of objects, and arrays within lists, as lists."""
    if isinstance(given, np.ndarray) and given.dtype != object:
        return given
    return [_to_lists(one) for one in given] if isinstance(given, list | tuple | np.ndarray) else given


set_model(FaceReconstruction())
