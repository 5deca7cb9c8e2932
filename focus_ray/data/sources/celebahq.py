"""CelebA-HQ with the part masks of CelebAMask-HQ (Lee et al., CVPR 2020), merged into masks of the visible face.

CelebA-HQ-img/17.jpg                           the pictures
CelebAMask-HQ-mask-anno/0/00017_skin.png       a mask for each visible part; the folder is number // 2000
overall.txt, occluded.txt, unoccluded.txt      optional: names of the test pictures and of its two subsets
                                               (section 4.2 draws 750 and 558)
landmarks.csv                                  optional: 68 landmarks a picture
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from focus_ray.data.picture_source import PictureSource, open_picture_source
from focus_ray.data.sources.files import find_pictures, list_files
from focus_ray.data.sources.labelled import LabelFiles, LabelledPictures, build_labelled_pictures
from focus_ray.data.sources.subset_lists import OCCLUDED, UNOCCLUDED, read_names
from focus_ray.errors import DataError, printable

PICTURES, ANNOTATIONS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
PICTURES_PER_FOLDER = 2000
"""Number of pictures whose annotations share a folder."""

FACE_PARTS = ("skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
"""Parts of the face. Ears and neck are skin too, but not part of the fitted face."""
OCCLUDER_PARTS = ("eye_g", "hair", "hat", "cloth", "ear_r", "neck_l")
"""Parts that occlude the face where both are marked. Glasses include clear lenses, because the paper counts glasses as
an occlusion. Hands and other objects have no part; they are recognised by missing skin."""

MIN_OCCLUDED_SHARE = 0.10
"""A face is occluded if at least this share of its convex outline is not face."""
MAX_UNOCCLUDED_SHARE = 0.05
"""A face is unoccluded up to this share; between both it is in neither subset. Chosen here; the paper gives none."""

OCCLUDED_PICTURES, UNOCCLUDED_PICTURES = 750, 558
"""Sizes of the paper's two subsets (section 4.2)."""

_ALWAYS_OCCLUDING = ("eye_g", "hat")  # parts that occlude the face wherever they are marked
_ANNOTATION = re.compile(r"(\d{5})_(\w+)\.png")

PartMasks = Mapping[str, Bool[np.ndarray, "H W"]]


def read_celebahq(root: str | Path, listed: bool = True) -> LabelledPictures:
    """Read CelebA-HQ with merged masks; names are numbers, as 17.

    The face is visible where one of FACE_PARTS is marked and none of OCCLUDER_PARTS.

    Args:
        root: folder, or s3://bucket/prefix.
        listed: whether only the pictures of overall.txt are read, if there is that list.

    Raises:
        DataError: there is no picture with a mask, or a list is damaged.
        StorageError: the store does not answer.
    """
    source = open_picture_source(root)
    pictures = {name: file for name, file in find_pictures(source, PICTURES).items() if name.isdecimal()}
    annotated = _find_annotations(source)
    labels, missing = {}, []
    for name in sorted(pictures, key=int):
        found = annotated.get(int(name), {})
        face, hiding = (
            {part: found[part] for part in parts if part in found} for parts in (FACE_PARTS, OCCLUDER_PARTS)
        )
        if face:
            labels[name] = LabelFiles(pictures[name], face, hiding)
        else:
            missing.append(f"{source.location(pictures[name])}: no part of the face is marked in {ANNOTATIONS}")
    subsets = {"overall": list(labels)}
    for subset, file in (("occluded", OCCLUDED), ("unoccluded", UNOCCLUDED)):
        if source.holds(file):
            names = read_names(f"{source}/{file}", PICTURES)
            missing += [
                f"{source}/{file}: there is no picture {printable(name)}" for name in names if name not in pictures
            ]
            subsets[subset] = names
    return build_labelled_pictures("celebahq", source, PICTURES, labels, subsets, missing, listed)


def _find_annotations(source: PictureSource) -> dict[int, dict[str, str]]:
    """Files by part, of each picture's number."""
    found: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for file in list_files(source, ANNOTATIONS):
        match = _ANNOTATION.fullmatch(file.rpartition("/")[2])
        if match and match[2] in FACE_PARTS + OCCLUDER_PARTS:
            found[int(match[1])].setdefault(match[2], file)
    return found


def is_occluded(parts: PartMasks) -> bool | None:
    """Decide from the marked parts of a face whether something hides it.

    The face is occluded if glasses or a hat are marked, if nose or lips are not, or if at least MIN_OCCLUDED_SHARE of
    the face's convex outline is not face (hair, a hand). It is unoccluded up to MAX_UNOCCLUDED_SHARE.

    Args:
        parts: masks by part, of one size.

    Returns:
        True or False; None between the two shares.
    """
    marked = {part for part, mask in parts.items() if mask.any()}
    if marked.intersection(_ALWAYS_OCCLUDING) or "nose" not in marked or not marked & {"u_lip", "l_lip"}:
        return True
    hidden = hidden_share(parts)
    return True if hidden >= MIN_OCCLUDED_SHARE else False if hidden <= MAX_UNOCCLUDED_SHARE else None


def hidden_share(parts: PartMasks) -> float:
    """Compute the share of the convex outline of the visible face that is not face.

    Args:
        parts: masks by part, of one size.

    Returns:
        Share in [0, 1]; 1 if no face is visible.
    """
    face = np.logical_or.reduce([mask for part, mask in parts.items() if part in FACE_PARTS])
    for part in OCCLUDER_PARTS:
        face = face & ~parts[part] if part in parts else face
    points = np.argwhere(face)[:, ::-1].astype(np.int32)
    if not len(points):
        return 1.0
    outline = np.zeros(face.shape, np.uint8)
    cv2.fillConvexPoly(outline, cv2.convexHull(points), 1)
    return 1.0 - len(points) / max(int(outline.sum()), len(points))


def draw_subsets(
    names: Sequence[str],
    parts: Callable[[str], PartMasks],
    seed: int,
    occluded: int = OCCLUDED_PICTURES,
    unoccluded: int = UNOCCLUDED_PICTURES,
) -> tuple[list[str], list[str]]:
    """Draw names of occluded and unoccluded pictures by `is_occluded`.

    The pictures are examined in an order given by the seed until there are enough. Write the names with
    subset_lists.write_names as occluded.txt and unoccluded.txt.

    Args:
        names: names of the pictures.
        parts: returns the part masks of a picture by its name; called for the examined pictures only.
        seed: seed of the order.
        occluded: number of occluded pictures.
        unoccluded: number of unoccluded pictures.

    Returns:
        (occluded, unoccluded), each in the order of `names`.

    Raises:
        DataError: there are too few pictures of a kind.
    """
    wanted = {True: occluded, False: unoccluded}
    drawn: dict[bool, set[str]] = {True: set(), False: set()}
    for place in map(int, np.random.default_rng(seed).permutation(len(names))):
        if all(len(drawn[kind]) >= wanted[kind] for kind in wanted):
            break
        kind = is_occluded(parts(names[place]))
        if kind is not None and len(drawn[kind]) < wanted[kind]:
            drawn[kind].add(names[place])
    for kind, word in ((True, "occluded"), (False, "unoccluded")):
        if len(drawn[kind]) < wanted[kind]:
            raise DataError(
                f"there are only {len(drawn[kind])} of {wanted[kind]} {word} pictures among {len(names)}; request fewer"
            )
    return [name for name in names if name in drawn[True]], [name for name in names if name in drawn[False]]
