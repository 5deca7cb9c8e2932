"""Face models by name or file: those that come with the package, and those that a user imported."""

from pathlib import Path

from focus_ray.errors import FaceModelError
from focus_ray.face_models.morphable_model import MorphableModel

SHIPPED_FACES = {"ict": Path(__file__).resolve().parent / "ict.face"}
"""File of each face model that comes with the package, by its name."""


def load_face(name_or_file: str) -> MorphableModel:
    """Load a face model.

    Args:
        name_or_file: a name of SHIPPED_FACES, or the path of a file that `focus-ray face import` wrote.

    Raises:
        FaceModelError: there is no such file, or it is damaged or malformed.
    """
    path = SHIPPED_FACES.get(name_or_file, Path(name_or_file))
    if name_or_file in SHIPPED_FACES and not path.is_file():
        raise FaceModelError(
            f"this copy of focus-ray lacks the face model {name_or_file!r} (jobs are sent without it); give its file"
        )
    if not path.is_file():
        names = ", ".join(SHIPPED_FACES)
        raise FaceModelError(
            f"there is no face model {name_or_file!r}; give {names}, or a file that `focus-ray face import` wrote"
        )
    return MorphableModel.load(path)
