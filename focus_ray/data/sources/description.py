"""dataset.json: the description of a data set that this package wrote. Published sets have none."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt, ValidationError

from focus_ray.data.picture_source import PictureSource
from focus_ray.data.sources.files import read_text
from focus_ray.errors import DataError
from focus_ray.settings import Settings

Layout = Literal["now", "ar", "celebahq"]
"""Layouts of the paper's data sets."""

DESCRIPTION = "dataset.json"


class DatasetDescription(Settings):
    """The content of dataset.json."""

    format: Literal[1] = 1
    layout: Layout
    synthetic: bool
    aligned: bool  # the pictures are aligned crops
    image_size: PositiveInt | None = None  # px
    seed: NonNegativeInt | None = None
    n: PositiveInt | None = None  # pictures


def read_description(source: PictureSource) -> DatasetDescription | None:
    """Read the description of a data set.

    Args:
        source: pictures of the data set.

    Returns:
        The description; None if the set has no dataset.json.

    Raises:
        DataError: dataset.json is damaged.
    """
    if not source.holds(DESCRIPTION):
        return None
    try:
        return DatasetDescription.model_validate_json(
            read_text(f"{source}/{DESCRIPTION}").encode(errors="surrogateescape")
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f"{source}/{DESCRIPTION}: {where}: {first['msg']}; synthesize the set again, or remove the file"
        ) from None
