"""Pictures of a face model: random faces, its strongest modes, its named expressions, its parts and landmarks."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import join_theta, split_theta
from focus_ray.focus.render.renderer import Renderer, Rendering
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta

_N_RANDOM, _N_MODES, _SIGMAS = 12, 6, 2.5
_COLUMNS = 6
_TITLE_PX, _GAP_PX = 16, 4
_BACKGROUND = 0.35
_PART_COLOURS = (
    (0.90, 0.10, 0.10), (0.55, 0.35, 0.10), (0.10, 0.45, 0.90), (0.90, 0.40, 0.70), (0.95, 0.75, 0.30),
    (0.30, 0.70, 0.40), (0.55, 0.45, 0.80),
)  # fmt: skip
_NO_PART = (0.75, 0.75, 0.75)


def draw_face_model(model: MorphableModel, size: int = 224, seed: int = 0) -> dict[str, Image.Image]:
    """Draw a face model with the numbers of modes of theta.

    Args:
        model: the face model.
        size: side of each rendering, px.
        seed: of the random faces.

    Returns:
        Sheets by name: random, identity, expression, albedo, parts, landmarks; and shapes, if expressions have names.
    """
    renderer = Renderer(model, Camera(image_size=size))
    theta = sample_theta(SamplingDistributions(yaw=0.3), _N_RANDOM, make_generator(seed))
    sheets = {
        "random": _sheet({f"face {i + 1}": _picture(renderer, theta[i : i + 1]) for i in range(_N_RANDOM)}),
        "parts": _sheet(_part_pictures(renderer)),
        "landmarks": _sheet(_landmark_pictures(renderer)),
    }
    for group, count in (
        ("identity", model.n_identity),
        ("expression", model.n_expression),
        ("albedo", model.n_albedo),
    ):
        pictures = {
            f"{group} {mode + 1}: {sign * _SIGMAS:+}": _picture(renderer, _theta({group: sign * _SIGMAS * one}))
            for mode, one in enumerate(torch.eye(count)[:_N_MODES, None])
            for sign in (-1, 1)
        }
        sheets[group] = _sheet(pictures)
    if model.expressions is not None:
        named = zip(model.expressions.names, model.expressions.coefficients, strict=True)
        sheets["shapes"] = _sheet({name: _picture(renderer, _theta({"expression": row[None]})) for name, row in named})
    return sheets


def _theta(groups: Mapping[str, Tensor], yaw: float = 0.0) -> Float[Tensor, "1 257"]:
    """Return theta of the mean face in a plain light, with some groups replaced."""
    still = SamplingDistributions().model_copy(
        update={name: 0.0 for name in SamplingDistributions.model_fields if name.endswith("spread")}
        | {"pitch": 0.0, "yaw": 0.0, "roll": 0.0, "translation_xy": 0.0, "translation_z": 0.0}
    )
    parts = split_theta(sample_theta(still, 1, make_generator(0)))
    zero = {name: torch.zeros_like(getattr(parts, name)) for name in ("identity", "expression", "albedo")}
    rotation = torch.tensor([[0.0, yaw, 0.0]])
    return join_theta(parts._replace(**zero, rotation=rotation)._replace(**groups))


@torch.no_grad()
def _picture(renderer: Renderer, theta: Float[Tensor, "1 257"]) -> Image.Image:
    return _to_image(renderer(theta))


def _to_image(rendering: Rendering) -> Image.Image:
    shown = rendering.image + (1 - rendering.mask) * _BACKGROUND
    return Image.fromarray((shown[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


@torch.no_grad()
def _part_pictures(renderer: Renderer) -> dict[str, Image.Image]:
    model = renderer.model
    colours = torch.tensor(_NO_PART).expand(model.n_vertices, 3).clone()
    for colour, mask in zip(_PART_COLOURS, model.parts.values(), strict=False):
        colours[mask] = torch.tensor(colour)
    legend = ", ".join(model.parts)
    pictures = {}
    for title, yaw in ((legend, 0.0), ("left", 0.6), ("right", -0.6)):
        parts = split_theta(_theta({}, yaw))
        drawn = renderer.render(
            model.vertices(parts.alpha), colours[None], parts.light, parts.rotation, parts.translation
        )
        pictures[title] = _to_image(drawn)
    return pictures


@torch.no_grad()
def _landmark_pictures(renderer: Renderer) -> dict[str, Image.Image]:
    pictures = {}
    for title, yaw in (("front", 0.0), ("left", 0.6), ("right", -0.6)):
        drawn = renderer(_theta({}, yaw))
        picture = _to_image(drawn)
        draw = ImageDraw.Draw(picture)
        for x, y in drawn.landmarks[0].tolist():
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(0, 255, 80))
        pictures[title] = picture
    return pictures


def _sheet(pictures: Mapping[str, Image.Image]) -> Image.Image:
    """Draw titled pictures of one size in rows."""
    side = next(iter(pictures.values())).width
    step_x, step_y = side + _GAP_PX, side + _TITLE_PX + _GAP_PX
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * step_x + _GAP_PX, rows * step_y + _GAP_PX), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for place, (title, picture) in enumerate(pictures.items()):
        row, column = divmod(place, columns)
        x, y = _GAP_PX + column * step_x, _GAP_PX + row * step_y
        draw.text((x, y), title, fill=(31, 41, 51), font=font)
        sheet.paste(picture, (x, y + _TITLE_PX))
    return sheet
