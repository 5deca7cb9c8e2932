"""Rows of results.json: one for each figure of each table, the same for our methods and for others."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from focus_ray.errors import DataError
from focus_ray.model import summarize_error
from focus_ray.settings import Settings
from focus_ray.storage import atomic

RESULTS = "results.json"


class MetricValue(NamedTuple):
    """Mean over pictures and standard deviation between them; None: not known."""

    value: float | None
    std: float | None = None


class ResultRow(Settings):
    """One figure of a table."""

    table: str  # now, segmentation, photometric, exact
    method: str
    dataset: str
    subset: str
    metric: str
    value: float | None
    std: float | None = None  # over the pictures, as in the paper's tables
    seed: int | None = None  # training seed; None: unknown, or not trained
    partial: bool = False  # part of the data set or of the predictions is missing

    @property
    def key(self) -> tuple[Any, ...]:
        """Key of the figure: all fields but the value, its spread and `partial`."""
        return (self.table, self.method, self.dataset, self.subset, self.metric, self.seed)


def make_rows(figures: dict[str, MetricValue], **about: Any) -> list[ResultRow]:
    """Return a row for each figure.

    Args:
        figures: value by name of the metric.
        **about: the other fields of the rows.
    """
    return [ResultRow(metric=metric, value=one.value, std=one.std, **about) for metric, one in figures.items()]


def write_rows(folder: Path, rows: Iterable[ResultRow]) -> Path:
    """Write results.json and return its path.

    Raises:
        StorageError: the disk refuses.
    """
    path = folder / RESULTS
    content = {"rows": [row.model_dump(mode="json") for row in rows]}
    atomic.write_file(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def read_rows(path: Path) -> list[ResultRow]:
    """Read the rows of a results.json.

    Args:
        path: the file, or its folder.

    Raises:
        DataError: it is missing, damaged or of another version.
    """
    path = path / RESULTS if path.is_dir() else path
    try:
        content = json.loads(path.read_bytes())
        return [ResultRow.model_validate(row) for row in content["rows"]]
    except ValidationError as error:
        raise DataError(
            f"{path} is not a results.json of this version: {summarize_error(error)}; evaluate again"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as results.json ({summarize_error(error)}); evaluate again") from None
