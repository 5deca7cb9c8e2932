"""Evaluation plots: side-by-side sheets of methods (Fig. 3 and 5), error maps, cumulative curves."""

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from focus_ray.data.sources.labelled import LabelledPictures
from focus_ray.errors import DataError
from focus_ray.evaluation.now.pooled_errors import CURVE_MM, ErrorSummary
from focus_ray.evaluation.predictions import PredictionFolder
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.tracking.contact_sheet import contact_sheet
from focus_ray.tracking.misfit_pictures import VIEWS, render_views
from focus_ray.tracking.plots import png

SheetColumn = Literal["reconstruction", "mask"]

CELL = 128  # px
ROWS = 8
MAX_MM = 4.0  # upper limit of the error axis
MAX_LANDMARK_ERROR = 10.0  # the same of landmarks, %
MAPS_PER_ROW = 7
COLOUR_QUANTILE = 0.995  # quantile of the errors at the end of the colour scale
_GREY = 0.35  # brightness factor of pixels outside the mask
_WHITE = 255.0


def comparison_sheet(
    pictures: LabelledPictures,
    names: Sequence[str],
    methods: Mapping[str, PredictionFolder],
    columns: Sequence[SheetColumn] = ("reconstruction", "mask"),
) -> Image.Image | None:
    """Draw a row for each picture: the target, each method's output, the true mask.

    Args:
        pictures: data set with masks.
        names: pictures to draw; the first ROWS that can be read are drawn.
        methods: predictions by name of the method.
        columns: reconstruction: the rendering over the picture; mask: the picture, dark outside the predicted mask.

    Returns:
        The sheet; None if no picture can be read.
    """
    rows = []
    for name in names:
        try:
            rows.append(_row(pictures, name, methods, columns))
        except DataError:
            continue  # reported by score_pictures
        if len(rows) == ROWS:
            break
    if not rows:
        return None
    return contact_sheet({title: torch.stack([row[title] for row in rows]) for title in rows[0]}, cell=CELL)


def _row(
    pictures: LabelledPictures, name: str, methods: Mapping[str, PredictionFolder], columns: Sequence[SheetColumn]
) -> dict[str, Tensor]:
    target = pictures.picture(name)
    size = target.shape[:2]
    cells = {"target": _cell(target)}
    for method, predictions in methods.items():
        rendering, region = predictions.rendering(name, size)
        if "reconstruction" in columns:
            cells[method] = _cell(np.where(region[..., None], rendering, target))
        if "mask" in columns:
            face = predictions.mask(name, size)[..., None] * region[..., None]
            shade = (target * (_GREY + (1 - _GREY) * face)).round().astype(np.uint8)
            cells[f"{method}: mask"] = _cell(shade)
    truth = np.where(pictures.mask(name)[..., None], target, (target * _GREY).astype(np.uint8))
    return cells | {"true mask": _cell(truth)}


def _cell(picture: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "3 S S"]:
    if picture.shape[0] > CELL:
        picture = cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / _WHITE


def cumulative_error_plot(summaries: Mapping[str, ErrorSummary], title: str) -> bytes:
    """Plot the share of scan vertices up to each error, a line for each method.

    Args:
        summaries: errors by name of the method, mm.
        title: title of the plot.

    Returns:
        PNG file.
    """
    curves = {
        f"{name} ({summary.median:.2f} mm)": (CURVE_MM, 100 * np.array(summary.curve))
        for name, summary in summaries.items()
        if summary.curve
    }
    return _draw_curves(curves, MAX_MM, "distance from scan vertex to surface, mm", "scan vertices, %", title)


def cumulative_landmark_plot(errors: Mapping[str, Float[np.ndarray, " N"]], title: str, axis: str) -> bytes:
    """Plot the share of pictures up to each landmark error, a line for each method.

    Args:
        errors: error of each picture by name of the method, %; NaN in a picture whose face was not found.
        title: title of the plot.
        axis: label of the error axis.

    Returns:
        PNG file.
    """
    curves = {}
    for name, values in errors.items():
        known = np.sort(values[np.isfinite(values)])
        label = f"{name} ({np.median(known):.2f} %)" if len(known) else f"{name} (none)"
        drawn = known[known <= MAX_LANDMARK_ERROR]
        shares = 100 * np.arange(len(drawn) + 1) / len(values)
        steps = np.concatenate([[0.0], drawn, [MAX_LANDMARK_ERROR]])
        curves[label] = (np.repeat(steps, 2)[1:-1], np.repeat(shares, 2))
    return _draw_curves(curves, MAX_LANDMARK_ERROR, axis, "pictures, %", title)


def _draw_curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], limit: float, x_label: str, y_label: str, title: str
) -> bytes:
    """Draw (errors, shares in %) by label of the curve, with errors up to a limit."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for label, (x, y) in curves.items():
        axes.plot(x, y, linewidth=1.4, label=label)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, 100)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(color="#e4e7eb", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, title="median in brackets", title_fontsize=7)
    return png(figure)


def error_maps(face: MorphableModel, errors: Mapping[str, Float[np.ndarray, " V"]], title: str) -> bytes:
    """Draw the mean error of each vertex on the mean face, in two views.

    Args:
        face: face model of the vertices.
        errors: mean error of each vertex by name of the method, mm.
        title: title of the plot.

    Returns:
        PNG file.
    """
    reach = max(float(np.quantile(np.concatenate(list(errors.values())), COLOUR_QUANTILE)), 1e-6)
    mapping = ScalarMappable(Normalize(0, reach), "viridis")
    columns = min(len(errors), MAPS_PER_ROW)
    rows = len(VIEWS) * -(-len(errors) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.2 * rows + 1.0), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.ravel():
        one.set_axis_off()
    for number, (name, values) in enumerate(errors.items()):
        band, column = divmod(number, columns)
        colours = torch.from_numpy(mapping.to_rgba(values)[:, :3]).float()
        for view, picture in enumerate(render_views(face, colours)):
            axes[band * len(VIEWS) + view, column].imshow(picture)
        axes[band * len(VIEWS), column].set_title(f"{name}\n{values.mean():.2f} mm", fontsize=8)
    figure.colorbar(mapping, ax=list(axes.ravel()), location="bottom", shrink=0.5, label="mm")
    return png(figure)


def sheet_png(image: Image.Image) -> bytes:
    """Encode a sheet as a PNG file, without loss: masks have hard edges."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
