"""The misfit prior on the face, as in the paper's Fig. 4: along x, y, z from two views, its length, its confidence."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import CHANNELS, SH_BANDS
from focus_ray.focus.render.renderer import Renderer
from focus_ray.geometry.mesh_writer import Mesh, encode_glb

VIEW_PX = 320  # a side of one view
VIEWS = {"frontal": (0.0, 0.0, 0.0), "from the side": (0.0, 0.9, 0.0)}  # rad: pitch, yaw, roll
SIGNED, LENGTH, CONFIDENCE = "RdBu_r", "viridis", "magma"
MAX_CONFIDENCE = 10.0  # standard errors, the upper end of the colour scale
COLOUR_QUANTILE = 0.995  # share of the vertices within the range of the colours
DPI = 100
CELL_INCHES = VIEW_PX / DPI
LABEL_INCHES, TITLE_INCHES, SCALE_INCHES = 0.4, 0.7, 0.6  # left of, above and below the cells
AMBIENT, FRONTAL = 2.9, -0.55  # light coefficients that show the shape and keep the colours readable


def misfit_sheet(
    face: MorphableModel, error: Float[Tensor, "V 3"], standard_error: Float[Tensor, "V 3"], title: str
) -> bytes:
    """Draw the misfit prior: a row for each view; columns x, y, z on one scale, length, length over standard error.

    Args:
        face: face model whose mean face is drawn.
        error: mean signed error, mm.
        standard_error: standard error of `error`, mm.
        title: title of the sheet.

    Returns:
        Content of a PNG file.
    """
    length = error.norm(dim=1)
    trust = length / standard_error.norm(dim=1).clamp_min(torch.finfo(error.dtype).tiny)
    reach = max(float(error.abs().quantile(COLOUR_QUANTILE)), 1e-6)
    columns = [(f"{axis} [mm]", error[:, i], SIGNED, Normalize(-reach, reach)) for i, axis in enumerate("xyz")]
    columns += [
        ("length [mm]", length, LENGTH, Normalize(0, max(float(length.quantile(COLOUR_QUANTILE)), 1e-6))),
        ("length / standard error", trust, CONFIDENCE, Normalize(0, MAX_CONFIDENCE)),
    ]
    width, height = LABEL_INCHES + CELL_INCHES * len(columns), TITLE_INCHES + CELL_INCHES * len(VIEWS) + SCALE_INCHES
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)

    def axes_at(left: float, bottom: float, wide: float, high: float) -> Axes:
        """Add axes at a position in inches; an automatic layout would take longer than all drawing."""
        return figure.add_axes((left / width, bottom / height, wide / width, high / height))

    for column, (name, values, colours, scale) in enumerate(columns):
        mapping = ScalarMappable(scale, colours)
        pictures = render_views(face, torch.from_numpy(mapping.to_rgba(values.numpy())[:, :3]).float())
        left = LABEL_INCHES + CELL_INCHES * column
        for row, (view, picture) in enumerate(zip(reversed(VIEWS), reversed(pictures), strict=True)):
            cell = axes_at(left, SCALE_INCHES + CELL_INCHES * row, CELL_INCHES, CELL_INCHES)
            cell.imshow(picture)
            cell.set_axis_off()
            cell.set_title(name if row == len(VIEWS) - 1 else "", fontsize=10)
            if column == 0:
                cell.text(-0.03, 0.5, view, rotation=90, va="center", ha="right", transform=cell.transAxes)
        scale_axes = axes_at(left + 0.1 * CELL_INCHES, 0.6 * SCALE_INCHES, 0.8 * CELL_INCHES, 0.25 * SCALE_INCHES)
        figure.colorbar(mapping, cax=scale_axes, orientation="horizontal")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


@torch.no_grad()
def render_views(face: MorphableModel, colours: Float[Tensor, "V 3"]) -> Sequence[Float[np.ndarray, "H W 3"]]:
    """Render the mean face with vertex colours on white.

    Args:
        face: face model whose mean face is drawn.
        colours: RGB in [0, 1].

    Returns:
        One picture for each of VIEWS, RGB in [0, 1].
    """
    count = len(VIEWS)
    light = torch.zeros(count, CHANNELS, SH_BANDS)
    light[..., 0], light[..., 2] = AMBIENT, FRONTAL
    rendering = Renderer(face, Camera(image_size=VIEW_PX)).render(
        face.mean.expand(count, -1, -1),
        colours.expand(count, -1, -1),
        light.flatten(1),
        torch.tensor(list(VIEWS.values())),
        torch.zeros(count, 3),
    )
    pictures = torch.where(rendering.mask > 0, rendering.image, 1.0).clamp(0, 1)
    return [picture.permute(1, 2, 0).numpy() for picture in pictures]


def misfit_mesh(face: MorphableModel, error: Float[Tensor, "V 3"]) -> bytes:
    """Encode the mean face as GLB, coloured by the length of the error: dark for none, bright for the largest.

    Args:
        face: face model of the mean face.
        error: mean signed error, mm.

    Returns:
        Content of a GLB file.
    """
    length = error.norm(dim=1)
    shares = (length / length.max().clamp_min(1e-9)).numpy()
    colours = matplotlib.colormaps[LENGTH](shares)[:, :3]
    return encode_glb(Mesh(face.mean.numpy(), colours.astype(np.float32), face.faces.numpy()))
