"""Kinds of pictures in a synthetic data set; each person is rendered once per kind."""

from collections.abc import Sequence
from typing import NamedTuple

from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.face_models.morphable_model import MorphableModel


class PictureKind(NamedTuple):
    """A kind of picture; a field that is None keeps the distribution of the synthetic world."""

    name: str
    occluded: float | None = None  # share of the pictures
    families: tuple[str, ...] | None = None  # of occluders
    expression: float | None = None  # factor on expression coefficients


def faces_by_kind(kinds: Sequence[PictureKind], world: MorphableModel, seed: int, size: int) -> list[SyntheticFaces]:
    """Make the held-out faces of each kind: picture i of a data set is image i of the kind i modulo their number.

    Args:
        kinds: kinds of pictures of a person.
        world: face model that people are drawn from.
        seed: seed of the faces.
        size: side of the pictures, px.
    """
    return [
        SyntheticFaces(
            world, _kind_config(kind, seed, size), "heldout", pictures_per_person=len(kinds), families=kind.families
        )
        for kind in kinds
    ]


def _kind_config(kind: PictureKind, seed: int, size: int) -> SyntheticConfig:
    world = SyntheticConfig(seed=seed, image_size=size)
    occlusion, face = world.occlusion, world.face
    if kind.occluded is not None:
        occlusion = occlusion.model_copy(update={"share": kind.occluded})
    if kind.expression is not None:
        face = face.model_copy(update={"expression": kind.expression})
    return world.model_copy(update={"occlusion": occlusion, "face": face})
