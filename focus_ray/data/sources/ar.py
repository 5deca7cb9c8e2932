"""The AR face database (Martinez and Benavente 1998) with masks of the visible face, as Egger et al. share 120.

m-001-01.png         m or w, number of the person, number of the picture: 1-13 of the first session, 14-26 of the
                     second; also .bmp and .jpg
masks/m-001-01.png   white where the face is visible
overall.txt          optional: the pictures of the set, if these are not all that have a mask
landmarks.csv        optional: 68 landmarks a picture
"""

import re
from pathlib import Path

from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources.files import find_pictures
from focus_ray.data.sources.labelled import LabelFiles, LabelledPictures, build_labelled_pictures
from focus_ray.data.sources.subset_lists import OVERALL

MASKS = "masks"

SUBSETS: dict[str, tuple[int, ...]] = {
    "neutral": (1, 14),
    "glasses": (8, 9, 10, 21, 22, 23),
    "scarf": (11, 12, 13, 24, 25, 26),
}
"""Picture numbers of the subsets of Table 4. Neutral pictures have no occlusion, expression or side light; 2-7 and
15-20 have an expression or side light and are in no subset."""

_NAME = re.compile(r"[mw]-\d{3,}-(\d{2})", re.IGNORECASE)


def read_ar(root: str | Path) -> LabelledPictures:
    """Read the pictures of the AR database that have a mask; names are as m-001-01.

    Only some pictures of the published database have masks: those without are skipped, unless overall.txt names them.

    Args:
        root: folder, or s3://bucket/prefix.

    Raises:
        DataError: there is no picture with a mask.
        StorageError: the store does not answer.
    """
    source = open_picture_source(root)
    pictures = {name: file for name, file in find_pictures(source).items() if _NAME.fullmatch(name)}
    masks = {name: file for name, file in find_pictures(source, MASKS).items() if _NAME.fullmatch(name)}
    labels = {name: LabelFiles(pictures[name], {"face": mask}) for name, mask in masks.items() if name in pictures}
    listed = source.holds(OVERALL)  # then build_labelled_pictures reports the missing pictures of the list
    missing = [
        f"{source.location(masks[name])}: there is no picture {name} for this mask"
        for name in masks
        if name not in pictures
    ]
    subsets = {subset: [name for name in labels if _number(name) in numbers] for subset, numbers in SUBSETS.items()}
    return build_labelled_pictures("ar", source, "", labels, subsets, [] if listed else missing)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
