"""Open faces beside composites: false alarms, and how well the occlusion fraction tells occluded faces from them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from focus_ray.data.composites.open_photographs import OpenPhotographs
from focus_ray.data.picture_attributes import find_attributes, select_open
from focus_ray.evaluation.composite_figures import as_dict, false_alarms
from focus_ray.evaluation.composite_scoring import CompositeScores, PictureScores
from focus_ray.numerics.bootstrap import GroupBootstrap, weighted_auc, weighted_mean

LEAST_COVERED = 0.1
"""Share of the face that is covered in the composites that open faces are told from."""

_OCCLUSION = PictureScores._fields.index("occlusion")


class OpenFaces(NamedTuple):
    """Photographs of open faces.

    Attributes:
        photographs: those that count.
        marked: number of those that count because their attributes mark them as open; None: nothing is known of whose
            face is open, and all photographs of the folder count.
        left_out: number of photographs with landmarks that do not count.
    """

    photographs: OpenPhotographs
    marked: int | None
    left_out: int


def list_open_faces(folder: Path, attributes: Path | None) -> OpenFaces:
    """Choose the photographs of a folder that count as open faces.

    Args:
        folder: folder of photographs with landmarks.csv.
        attributes: file of their attributes, see `picture_attributes.find_attributes`.

    Raises:
        LandmarkError: landmarks.csv is missing or damaged.
        DataError: the attributes cannot be used or lack a photograph, or no photograph is marked.
    """
    everything = OpenPhotographs(folder)
    names = [row.source for row in everything.rows]
    marked = select_open(names, find_attributes(names, attributes))
    if marked is None:
        return OpenFaces(everything, None, 0)
    return OpenFaces(OpenPhotographs(folder, set(marked)), len(marked), len(names) - len(marked))


def summarise_open_faces(
    composites: CompositeScores, photographs: CompositeScores, resamples: int, seed: int, level: float
) -> dict[str, Any]:
    """Compute the figures of open faces, with intervals over persons.

    Args:
        composites: scores of the composites.
        photographs: scores of the open faces, with the same passes and masks.
        resamples: number of drawings of persons.
        seed: seed of the drawings.
        level: share of the drawings inside an interval.

    Returns:
        `pictures`, `found`, `persons`, `least_covered`; `figures` by pass and mask: false_alarms (percent) and
        occlusion_auc.
    """
    person_of = {row.source: row.person for row in composites.rows}
    persons = [person_of.get(row.source, row.person) for row in photographs.rows]
    bootstrap = GroupBootstrap([*(row.person for row in composites.rows), *persons], resamples, seed, level)
    covered = np.array([not row.is_open and row.covered >= LEAST_COVERED for row in composites.rows])
    is_open = np.concatenate([np.zeros(len(covered), dtype=bool), photographs.found])
    is_covered = np.concatenate([covered & composites.found, np.zeros(len(persons), dtype=bool)])
    figures: dict[str, dict[str, Any]] = {}
    for (name, mask), table in photographs.scores.items():
        both = np.nan_to_num(np.concatenate([composites.scores[name, mask], table]))
        alarms = weighted_mean(false_alarms(PictureScores(*both.T)))
        auc = weighted_auc(both[:, _OCCLUSION], is_covered)
        figures.setdefault(name, {})[mask] = {
            "false_alarms": as_dict(bootstrap.interval(alarms, is_open)),
            "occlusion_auc": as_dict(bootstrap.interval(auc, is_open | is_covered)),
        }
    return {
        "pictures": len(persons),
        "found": int(photographs.found.sum()),
        "persons": len(set(persons)),
        "least_covered": LEAST_COVERED,
        "figures": figures,
    }
