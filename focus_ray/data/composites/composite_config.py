"""Configuration of a set of composites, and the plan: photograph, person and family of each one."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from focus_ray.data.composites.cutouts import CUTOUT
from focus_ray.data.distribution_types import Fraction
from focus_ray.data.photo_split import group_by_person
from focus_ray.data.sample import UNOCCLUDED
from focus_ray.data.synthetic import OcclusionDistributions
from focus_ray.settings import Settings

PersonRule = Literal["names", "pictures"]
"""names: persons are those of photo_split.group_by_person; pictures: each photograph shows another person."""

UNSEEN_FAMILIES = (CUTOUT, *OcclusionDistributions().unseen)
"""Families that the pictures of the default training do not have."""

_PHOTO_ORDER, _FAMILY_ORDER = 0, 1  # words of the seeds of the two orders


class CompositeConfig(Settings):
    """Options that decide the composites, with the photographs and the cut-outs."""

    n: PositiveInt
    seed: NonNegativeInt = 0
    families: tuple[str, ...] | None = None  # None: all, with that of the cut-outs if there are any
    open_share: Fraction = 0.25  # of the composites, which are photographs without an occluder
    min_covered: Annotated[float, Field(ge=0, lt=0.6)] = 0.1  # share of the face region that an occluder covers
    max_side: Annotated[int, Field(ge=64)] = 1024  # px; larger photographs are scaled down
    persons: PersonRule = "names"


class PlannedComposite(NamedTuple):
    """Photograph, person and occluder family of a composite; family "none": the photograph as it is."""

    source: str
    person: str
    family: str


def plan_composites(names: Sequence[str], families: Sequence[str], config: CompositeConfig) -> list[PlannedComposite]:
    """Plan all composites; number i depends on the seed, i, the families, the share of open ones and the sorted names.

    Each photograph is used once before one is used again, and so is each family. Of the composites in any order from
    the first one, the share of open ones is as given.

    Args:
        names: names of the photographs.
        families: families to draw from.
        config: options of the composites.

    Returns:
        The plan of each composite.
    """
    ordered = sorted(names)
    persons = _name_persons(ordered, config.persons)
    plan = []
    for index in range(config.n):
        opened = _count_open(index, config.open_share)
        number = _pick(index, len(ordered), (config.seed, _PHOTO_ORDER))
        family = UNOCCLUDED
        if _count_open(index + 1, config.open_share) == opened:
            family = families[_pick(index - opened, len(families), (config.seed, _FAMILY_ORDER))]
        plan.append(PlannedComposite(ordered[number], persons[number], family))
    return plan


def _count_open(count: int, share: float) -> int:
    """Number of open ones among the first composites."""
    return math.floor(count * share + 1e-9)


def _pick(index: int, size: int, seed: tuple[int, int]) -> int:
    """Entry `index` of an endless sequence of permutations of range(size)."""
    round_number, place = divmod(index, size)
    return int(np.random.default_rng((*seed, round_number)).permutation(size)[place])


def _name_persons(names: Sequence[str], rule: PersonRule) -> list[str]:
    """Name each photograph's person by the first photograph of the person."""
    groups = group_by_person(names) if rule == "names" else [[number] for number in range(len(names))]
    persons = [""] * len(names)
    for numbers in groups:
        for number in numbers:
            persons[number] = names[numbers[0]]
    return persons
