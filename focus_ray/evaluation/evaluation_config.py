"""Evaluation configuration, frozen: an evaluation with an equal configuration resumes."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, ValidationError

from focus_ray.config import absolute_location
from focus_ray.errors import ConfigError
from focus_ray.model import summarize_error
from focus_ray.settings import Settings

EvaluationKind = Literal["now", "segmentation", "photometric"]


class EvaluationConfig(Settings):
    """Predictions of some methods against a data set."""

    kind: EvaluationKind
    data: str  # a folder, or s3://bucket/prefix
    predictions: dict[str, str] = Field(min_length=1)  # folder by name of the method
    split: Literal["validation", "test"] = "validation"  # split of NoW
    metrical: bool = False  # NoW without fitting the scale
    unit: Literal["mm", "cm", "m"] = "mm"  # unit of NoW's meshes
    seed: NonNegativeInt | None = None  # training seed of the methods, copied to the rows


def build_evaluation_config(kind: str, data: str, predictions: list[str], options: dict[str, Any]) -> EvaluationConfig:
    """Build the configuration from the arguments of the command line.

    Args:
        kind: kind of evaluation, see EvaluationKind.
        data: folder or s3://bucket/prefix of the data set.
        predictions: NAME=FOLDER, or FOLDER, of each method.
        options: further keys of EvaluationConfig.

    Raises:
        ConfigError: a value does not fit.
    """
    values = {"kind": kind, "data": absolute_location(data), "predictions": parse_predictions(predictions), **options}
    try:
        return EvaluationConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{summarize_error(error)}; see the options of `focus-ray evaluate {kind}`") from None


def parse_predictions(texts: list[str]) -> dict[str, str]:
    """Parse NAME=FOLDER texts; a folder without a name is named by its last part.

    Returns:
        Folder by name.

    Raises:
        ConfigError: a name or folder is empty, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals:
            name, folder = Path(text).resolve().name, text
        if not name or not folder or name in found:
            raise ConfigError(f"predictions {text!r}: empty or repeated name; give NAME=FOLDER, each name once")
        found[name] = absolute_location(folder)
    return found
