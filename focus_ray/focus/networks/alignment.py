"""The aligned face that a recognition network expects: a similarity from five landmarks, and a differentiable warp."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Template = tuple[tuple[float, float], ...]

ARCFACE_SIZE = 112  # px, the size of the aligned face
# ArcFace's template at that size: right eye, left eye, nose tip, right and left mouth corner, in px.
ARCFACE_TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
# Allowed scale of the similarity. Beyond it the points are not those of a face, and the transform may overflow.
SCALE_RANGE = (1e-3, 1e3)


def similarity_transform(
    source: Float[Tensor, "B N 2"], target: Float[Tensor, "B N 2"]
) -> tuple[Float[Tensor, "B 2 2"], Float[Tensor, "B 2"]]:
    """Compute the similarity A source + t ~ target with the least squared error (Umeyama 1991, in the plane).

    In two dimensions A = [[a, -b], [b, a]] and the optimum is a = sum x.y / sum x.x, b = sum x cross y / sum x.x over
    the centred points: no decomposition, no reflection. Coincident source points give values that are not finite.

    Args:
        source: points to transform, px.
        target: where they should lie, px.

    Returns:
        (A, t): rotation times scale, and shift in px of the target.
    """
    source_mean, goal_mean = source.mean(dim=1), target.mean(dim=1)
    x, y = source - source_mean[:, None], target - goal_mean[:, None]
    spread = x.square().sum(dim=(1, 2))
    a = (x * y).sum(dim=(1, 2)) / spread
    b = (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]).sum(dim=1) / spread
    linear = torch.stack((a, -b, b, a), dim=1).unflatten(1, (2, 2))
    return linear, goal_mean - (linear @ source_mean[..., None]).squeeze(-1)


def align_faces(
    images: Float[Tensor, "B C H W"],
    points: Float[Tensor, "B 5 2"],
    size: int,
    template: Template = ARCFACE_TEMPLATE,
) -> Float[Tensor, "B C {size} {size}"]:
    """Warp faces so that their five points lie on a template, bilinearly, black outside the image.

    Under autocast too the crops are sampled in the type of the images.

    Args:
        images: any range.
        points: in px of the images, origin at the centre of the top left pixel; no gradient passes through them. Points
            that do not define a similarity (all in one place, not finite) scale the whole image to the crop.
        size: side of the crop, px.
        template: where the five points lie in the crop, px; ArcFace's is for 112 px.

    Returns:
        Crops in the range of the images.
    """
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would shift the samples by a quarter of a px
        return _warp(images, points, size, template)


class ArcFaceNetwork(nn.Module):
    """Base of the networks that take faces aligned to ArcFace's template, RGB in [-1, 1]."""

    def crops(self, images: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B 3 112 112"]:
        """Align faces and scale their values to the network's range.

        Args:
            images: RGB in [0, 1].
            points: the five points of each face, px.

        Returns:
            Aligned faces in [-1, 1].
        """
        return 2 * align_faces(images, points, ARCFACE_SIZE) - 1


def _warp(images: Tensor, points: Tensor, size: int, template: Template) -> Tensor:
    height, width = images.shape[-2:]
    with torch.no_grad():
        goal = images.new_tensor(template).expand(len(images), -1, -1)
        points = points.to(images.dtype)
        linear, shift = similarity_transform(points, goal)
        inverse, origin = _inverse(linear, shift)
        scale = linear.square().sum(dim=(1, 2)).mul(0.5).sqrt()
        usable = (scale > SCALE_RANGE[0]) & (scale < SCALE_RANGE[1]) & torch.isfinite(shift).all(dim=1)
        whole = torch.diag(images.new_tensor([(width - 1) / (size - 1), (height - 1) / (size - 1)]))
        inverse = torch.where(usable[:, None, None], inverse, whole)
        origin = torch.where(usable[:, None], origin, 0.0)
        steps = torch.arange(size, device=images.device, dtype=images.dtype)
        crop_points = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
        source = crop_points @ inverse[:, None].mT + origin[:, None, None]
        grid = 2 * source / images.new_tensor([width - 1, height - 1]) - 1
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _inverse(linear: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """A', t' with x = A' y + t' for y = A x + t; A is a rotation times a scale s, so A' is its transpose over s^2."""
    inverse = linear.mT / linear.square().sum(dim=(1, 2), keepdim=True).mul(0.5)
    return inverse, -(inverse @ shift[..., None]).squeeze(-1)
