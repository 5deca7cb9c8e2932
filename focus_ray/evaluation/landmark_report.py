"""Results of a landmark evaluation: rows of results.json, tables, a line for each picture, the curve."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from focus_ray.data.image_file import path_text
from focus_ray.evaluation.evaluation_plots import cumulative_landmark_plot
from focus_ray.evaluation.landmark_error import CURVE_LIMIT, LARGE_ERROR, Normalisation, landmark_metrics, yaw_subsets
from focus_ray.evaluation.landmark_scoring import LandmarkScores
from focus_ray.evaluation.rows import MetricValue, ResultRow, make_rows
from focus_ray.evaluation.tables import Table, TableRow, format_cell
from focus_ray.face_models.landmarks import LANDMARK_GROUPS

TABLE, OVERALL = "landmarks", "overall"

SIZE_TEXT: dict[Normalisation, str] = {
    "box": "% of sqrt(width x height) of the true landmarks' box",
    "interocular": "% of the distance of the true outer eye corners",
}

_DIGITS = 2
_SUMMARY_COLUMNS = {
    "nme": "mean",
    "nme_median": "median",
    "nme_p90": "90th percentile",
    "not_found": "not found %",
    "large": f"above {LARGE_ERROR:.0%}",
    "auc": f"AUC {CURVE_LIMIT:.0%}",
}


def landmark_rows(scores: LandmarkScores, dataset: str, *, partial: bool) -> list[ResultRow]:
    """Return the rows of each method: of all pictures, then of the pictures in each range of yaw.

    Args:
        scores: scores of the pictures; those that cannot be scored are left out.
        dataset: name of the data set.
        partial: whether pictures or landmarks are missing.
    """
    scored = scores.scored
    subsets = {OVERALL: scored} | yaw_subsets(scores.yaws)
    rows: list[ResultRow] = []
    for method, errors in scores.errors.items():
        for subset, numbers in subsets.items():
            about = {"table": TABLE, "method": method, "dataset": dataset, "subset": subset, "partial": partial}
            rows += make_rows(landmark_metrics(errors[numbers]), **about)
    return rows


def describe_failures(scores: LandmarkScores) -> dict[str, str]:
    """Return why a face has no landmarks, by name of the picture; pictures that cannot be scored are left out."""
    reasons = {}
    for number in scores.scored:
        found = {method: bool(np.isfinite(errors[number]).all()) for method, errors in scores.errors.items()}
        if not any(found.values()):
            reasons[scores.names[number]] = _failure_reason(int(scores.faces[number]), float(scores.overlaps[number]))
        elif not all(found.values()):
            absent = " and ".join(method for method, known in found.items() if not known)
            reasons[scores.names[number]] = f"the face was found, but {absent} has no landmarks"
    return reasons


def _failure_reason(faces: int, overlap: float) -> str:
    if not faces:
        return "no face was detected"
    return f"the true face was not among {faces} detected (largest intersection over union {overlap:.2f})"


def landmark_tables(rows: Sequence[ResultRow], normalisation: Normalisation) -> list[Table]:
    """Return the tables of the rows: summary, by range of yaw, by group of landmarks.

    Args:
        rows: rows of `landmark_rows`.
        normalisation: size that errors are divided by.
    """
    figures = {(row.method, row.subset, row.metric): MetricValue(row.value) for row in rows}
    methods = list(dict.fromkeys(row.method for row in rows))
    subsets = [subset for subset in dict.fromkeys(row.subset for row in rows) if subset != OVERALL]
    total = int(figures[methods[0], OVERALL, "pictures"].value or 0)
    size = SIZE_TEXT[normalisation]

    def cell(method: str, subset: str, metric: str) -> str:
        return format_cell(figures[method, subset, metric], _DIGITS)

    summary = [
        TableRow(method, "", tuple(cell(method, OVERALL, metric) for metric in _SUMMARY_COLUMNS)) for method in methods
    ]
    by_yaw = [
        TableRow(method, metric, tuple(cell(method, subset, key) for subset in subsets))
        for method in methods
        for metric, key in (("mean", "nme"), ("not found %", "not_found"))
    ]
    counts = [int(figures[methods[0], subset, "pictures"].value or 0) for subset in subsets]
    by_group = [
        TableRow(method, "", tuple(cell(method, OVERALL, f"nme_{group}") for group in LANDMARK_GROUPS))
        for method in methods
    ]
    about = f"Mean, median and 90th percentile of the found faces; rates and area under the curve of {total} pictures"
    yaw_columns = tuple(f"{subset} ({count})" for subset, count in zip(subsets, counts, strict=True))
    return [
        Table("landmarks", f"Landmark error, {size}. {about}.", tuple(_SUMMARY_COLUMNS.values()), tuple(summary)),
        Table("landmarks-yaw", "By absolute yaw in degrees (number of pictures).", yaw_columns, tuple(by_yaw)),
        Table("landmarks-groups", "Mean by group of landmarks.", tuple(LANDMARK_GROUPS), tuple(by_group)),
    ]


def pictures_csv(scores: LandmarkScores) -> bytes:
    """Return a CSV file with a line for each picture: its status, and the error of each method in percent."""
    reasons = describe_failures(scores)
    scored = set(scores.scored)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["picture", "status", "reason", "yaw", "size_px", "faces", "overlap", *map(_column, scores.errors)])
    for number, name in enumerate(scores.names):
        status = "not scored" if number not in scored else "failed" if name in reasons else "ok"
        figures = [scores.yaws[number], scores.sizes[number], scores.faces[number], scores.overlaps[number]]
        errors = [100 * values[number].mean() for values in scores.errors.values()]
        lines.writerow([path_text(name), status, reasons.get(name, ""), *map(_format_number, [*figures, *errors])])
    return text.getvalue().encode()


def _column(method: str) -> str:
    return f"nme_{method.replace(' ', '_')}"


def _format_number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if np.isfinite(value) else ""


def curve_picture(scores: LandmarkScores, dataset: str, normalisation: Normalisation) -> bytes:
    """Draw the share of pictures up to each error, as a PNG file."""
    errors = {method: 100 * values[scores.scored].mean(axis=1) for method, values in scores.errors.items()}
    return cumulative_landmark_plot(errors, f"Landmarks, {dataset}", f"landmark error, {SIZE_TEXT[normalisation]}")
