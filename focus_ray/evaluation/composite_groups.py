"""Figures of composites by group of persons: skin tone, and attributes of the photographs such as glasses."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.data.picture_attributes import OPEN_FACE, Attributes
from focus_ray.evaluation.composite_figures import ALL, OCCLUDED, OPEN, subsets, summarise, summarise_detection
from focus_ray.evaluation.composite_scoring import OWN, Composites, CompositeScores
from focus_ray.evaluation.skin_tone import cheek_pixels, pool_classes, tone_class, typology_angle
from focus_ray.numerics.bootstrap import GroupBootstrap

SKIN_TONE = "skin tone"
BLACK_AND_WHITE, UNKNOWN = "black and white", "unknown"

_LEAST_PIXELS = 50  # of the cheeks
_GREY_CHROMA = 0.02  # mean largest minus smallest channel of the cheeks up to which a photograph is black and white

Groups = Mapping[str, Mapping[str, Bool[np.ndarray, " N"]]]
"""By attribute and group: whether each composite belongs to it."""


def summarise_groups(
    composites: Composites,
    scores: CompositeScores,
    bootstrap: GroupBootstrap,
    attributes: Attributes,
    detected: bool,
) -> dict[str, dict[str, Any]]:
    """Compute the figures of the model's own mask by group.

    Args:
        composites: the composites.
        scores: their scores.
        bootstrap: draws the persons of the composites.
        attributes: attributes by photograph; empty: by skin tone only.
        detected: whether a detector located the faces.

    Returns:
        By attribute and group: `persons`; `detection`, None without a detector; `figures` by pass, subset and metric;
        `differences`, the same of the group minus all other composites.

    Raises:
        ImageError: a picture or mask is missing or damaged.
    """
    tones = photo_tones(composites)
    halves = {name: members for name, members in subsets(scores.rows).items() if name in (ALL, OPEN, OCCLUDED)}
    passes = {name: table for (name, mask), table in scores.scores.items() if mask == OWN}
    by_row = np.array([np.nan if tones[row.source] is None else tones[row.source] for row in scores.rows], dtype=float)
    result: dict[str, dict[str, Any]] = defaultdict(dict)
    for attribute, groups in {**tone_groups(scores.rows, tones), **attribute_groups(scores.rows, attributes)}.items():
        for group, members in groups.items():
            among = {name: members & half for name, half in halves.items()}
            result[attribute][group] = {
                "persons": len({row.person for row, is_member in zip(scores.rows, members, strict=True) if is_member}),
                "detection": summarise_detection(scores, bootstrap, among)[ALL] if detected else None,
                "figures": {name: summarise(scores, table, bootstrap, among, by_row) for name, table in passes.items()},
                "differences": {
                    name: summarise(scores, table, bootstrap, halves, by_row, members) for name, table in passes.items()
                },
            }
    return dict(result)


def photo_tones(composites: Composites) -> dict[str, float | None]:
    """Measure the skin of each photograph in the composite that hides the least of its cheeks.

    Args:
        composites: the composites.

    Returns:
        By photograph, the typology angle in degrees; None: black and white; NaN: too little of the cheeks is visible.

    Raises:
        ImageError: a picture or mask is missing or damaged.
    """
    cheeks: dict[str, Float[np.ndarray, "N 3"]] = {}
    for row in composites.rows:
        image = composites.picture(row)
        pixels = cheek_pixels(image, composites.landmarks(row), composites.occluder(row, *image.shape[:2]))
        if row.source not in cheeks or len(pixels) > len(cheeks[row.source]):
            cheeks[row.source] = pixels
    return {source: _tone(pixels) for source, pixels in cheeks.items()}


def tone_groups(rows: list[CompositeRow], tones: Mapping[str, float | None]) -> Groups:
    """Group composites by the class of the photograph's skin; classes of few persons are pooled.

    Args:
        rows: the composites.
        tones: see `photo_tones`.
    """
    persons: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        tone = tones[row.source]
        if tone is not None and np.isfinite(tone):
            persons[tone_class(tone)].add(row.person)
    names = pool_classes({number: len(people) for number, people in persons.items()})

    def group(row: CompositeRow) -> str:
        tone = tones[row.source]
        if tone is None:
            return BLACK_AND_WHITE
        return names[tone_class(tone)] if np.isfinite(tone) else UNKNOWN

    found = np.array([group(row) for row in rows])
    ordered = [*(names[number] for number in sorted(names)), BLACK_AND_WHITE, UNKNOWN]
    return {SKIN_TONE: {name: found == name for name in dict.fromkeys(ordered) if (found == name).any()}}


def attribute_groups(rows: list[CompositeRow], attributes: Attributes) -> Groups:
    """Group composites by the attributes of their photographs; the column of open faces is none.

    Args:
        rows: the composites.
        attributes: attributes by photograph; empty: there are no groups.
    """
    titles = [title for title in next(iter(attributes.values()), {}) if title != OPEN_FACE]
    has = {title: np.array([attributes[row.source][title] for row in rows]) for title in titles}
    return {
        title: {name: members for name, members in (("yes", values), ("no", ~values)) if members.any()}
        for title, values in has.items()
    }


def _tone(pixels: Float[np.ndarray, "N 3"]) -> float | None:
    if len(pixels) < _LEAST_PIXELS:
        return float("nan")
    if np.ptp(pixels, axis=1).mean() < _GREY_CHROMA:
        return None
    return typology_angle(np.median(pixels, axis=0))
