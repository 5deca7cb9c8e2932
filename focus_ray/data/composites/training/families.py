"""Families of occluders for training on photographs: those of the synthetic world and what real photographs add."""

from focus_ray.data.composites.training.skin_pieces import SkinPieces
from focus_ray.data.composites.training.veil import draw as veil
from focus_ray.data.occluders import FAMILIES, DrawOccluder

TRAINING_FAMILIES: dict[str, DrawOccluder] = {
    **FAMILIES,
    "veil": veil,
}
"""All families by name, without `SkinPieces`, which are cut from portraits that the caller has."""

__all__ = ["TRAINING_FAMILIES", "SkinPieces"]
