"""Contact sheets: a row for each face, a titled column for each kind of picture."""

from collections.abc import Mapping

import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Small crops are enlarged by whole factors, so that their pixels stay visible.
CELL_PX = 128
GAP_PX = 4
TITLE_PX = 13
TITLE_BAND_PX = 24
BACKGROUND_COLOUR = (255, 255, 255)
TEXT_COLOUR = (31, 41, 51)


def contact_sheet(columns: Mapping[str, Tensor], *, cell: int = CELL_PX) -> Image.Image:
    """Draw titled columns of pictures side by side; row n shows picture n of each column.

    Args:
        columns: title to [N, 3, H, W] colours or [N, 1, H, W] masks in [0, 1], with the same N, H and W in all columns;
            values outside are clipped, NaN is drawn black.
        cell: size, px, to which smaller pictures are enlarged, by a whole factor.

    Returns:
        The sheet, RGB.

    Raises:
        ValueError: there are no columns, or they differ in size.
    """
    sizes = {(pictures.shape[0], *pictures.shape[-2:]) for pictures in columns.values()}
    if len(sizes) != 1:
        raise ValueError(f"columns must hold equally many pictures of one size, not {sorted(sizes)}")
    rows, height, width = sizes.pop()
    factor = max(1, round(cell / max(height, width)))
    height, width = height * factor, width * factor
    size = (
        GAP_PX + len(columns) * (width + GAP_PX),
        TITLE_BAND_PX + rows * (height + GAP_PX),
    )
    sheet = Image.new("RGB", size, BACKGROUND_COLOUR)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TITLE_PX)
    for i, (title, pictures) in enumerate(columns.items()):
        left = GAP_PX + i * (width + GAP_PX)
        draw.text((left, TITLE_BAND_PX // 2), _ellipsize(title, font, width), fill=TEXT_COLOUR, font=font, anchor="lm")
        for row, picture in enumerate(_to_uint8(pictures)):
            cell_image = Image.fromarray(picture.numpy()).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(cell_image, (left, TITLE_BAND_PX + row * (height + GAP_PX)))
    return sheet


def _to_uint8(pictures: Tensor) -> UInt8[Tensor, "N H W 3"]:
    """Convert [N, 1 | 3, H, W] in [0, 1] to 8-bit colours."""
    clipped = pictures.detach().float().cpu().nan_to_num(0.0).clamp(0, 1)
    colours = clipped.expand(-1, 3, -1, -1)
    return (colours * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _ellipsize(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return the title, cut to the width of the column with an ellipsis."""
    if font.getlength(title) <= width:
        return title
    kept = next((n for n in range(len(title) - 1, 0, -1) if font.getlength(title[:n] + "…") <= width), 0)
    return title[:kept].rstrip() + "…"
