"""Contact sheets of a model: target, reconstruction, mask, and true mask if there is one."""

import torch
from PIL import Image

from focus_ray.config import RunConfig
from focus_ray.data.sample import FaceDataset
from focus_ray.focus import losses
from focus_ray.focus.autoencoder import Focus
from focus_ray.tracking.contact_sheet import contact_sheet

ROWS = 8


@torch.no_grad()
def draw_sheet(focus: Focus, faces: FaceDataset, config: RunConfig) -> Image.Image:
    """Draw target, reconstruction, composite, preliminary mask M_pre, mask, masked target and true mask.

    Args:
        focus: networks, put in eval mode.
        faces: the first ROWS faces are drawn.
        config: the run's configuration, for the threshold xi of M_pre.

    Returns:
        One row for each face; without the last column if there are no true masks.
    """
    focus.eval()
    batch = faces.batch(range(ROWS)).to(next(focus.encoder.parameters()).device)
    _, rendering = focus.autoencoder(batch.images)
    xi = config.initialise.xi
    mask = focus.mask(batch.images, rendering)
    columns = {
        "target": batch.images,
        "reconstruction": rendering.image.clamp(0, 1),
        "composite": torch.where(rendering.mask > 0, rendering.image, batch.images).clamp(0, 1),
        f"M_pre, xi {xi:g}": losses.preliminary_mask(batch.images, rendering.image, rendering.mask, xi),
        "mask": mask,
        "masked target": batch.images * (mask > 0.5),
    }
    if batch.masks is not None:
        columns["true mask"] = batch.masks * rendering.mask
    return contact_sheet(columns)
