"""Families of occluders for training on photographs: those of the synthetic world and what real photographs add."""

from focus_ray.data.composites.training.cloth_mask import draw as cloth_mask
from focus_ray.data.composites.training.dense_fringe import draw as fringe_dense
from focus_ray.data.composites.training.food import draw as food
from focus_ray.data.composites.training.half_object import draw as half_object
from focus_ray.data.composites.training.hands import draw as hands
from focus_ray.data.composites.training.net import draw as net
from focus_ray.data.composites.training.skin_pieces import SkinPieces
from focus_ray.data.composites.training.strand import draw as strand
from focus_ray.data.composites.training.veil import draw as veil
from focus_ray.data.occluders import FAMILIES, DrawOccluder

TRAINING_FAMILIES: dict[str, DrawOccluder] = {
    **FAMILIES,
    "cloth_mask": cloth_mask,
    "food": food,
    "fringe_dense": fringe_dense,
    "half_object": half_object,
    "hands": hands,
    "net": net,
    "strand": strand,
    "veil": veil,
}
"""All families by name, without `SkinPieces`, which are cut from portraits that the caller has."""

__all__ = ["TRAINING_FAMILIES", "SkinPieces"]
