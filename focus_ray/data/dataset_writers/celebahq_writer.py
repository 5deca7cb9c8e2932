"""Synthetic faces in the layout of CelebAMask-HQ: one picture a person, a mask for each part, two subsets."""

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float

from focus_ray.data.dataset_writers.picture_kinds import PictureKind
from focus_ray.data.dataset_writers.picture_writer import (
    first_picture,
    region_mask,
    visible_mask,
    write_mask,
    write_picture,
)
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.sample import UNOCCLUDED as NO_OCCLUDER
from focus_ray.data.sample import Batch
from focus_ray.data.sources.celeba_split import LAST_TRAIN, LAST_VAL, MAPPING
from focus_ray.data.sources.celebahq import ANNOTATIONS, PICTURES, PICTURES_PER_FOLDER
from focus_ray.data.sources.labelled import LANDMARKS
from focus_ray.data.sources.subset_lists import OCCLUDED, OVERALL, UNOCCLUDED, write_names
from focus_ray.face_models import landmarks as ibug

KINDS = (PictureKind("any"),)
"""One kind, with the distributions of the synthetic world: each person has one picture."""

# Landmarks around each part; left and right are the subject's.
_OUTLINES = {
    "r_brow": ibug.RIGHT_BROW,
    "l_brow": ibug.LEFT_BROW,
    "nose": (27, *ibug.NOSE_BASE),
    "r_eye": ibug.RIGHT_EYE,
    "l_eye": ibug.LEFT_EYE,
    "mouth": ibug.INNER_LIP,
    "u_lip": (*range(48, 55), *range(64, 59, -1)),
    "l_lip": (48, *range(59, 53, -1), 64, *range(67, 64, -1), 60),
}
# The part that annotators mark for an occluder family; other occluders are only missing skin.
_OCCLUDERS = {"glasses": "eye_g", "sunglasses": "eye_g", "hair": "hair", "cap": "hat", "scarf": "cloth"}


def write_celebahq(folder: Path, pictures: Iterable[tuple[int, Batch]], on_written: Callable[[int], object]) -> None:
    """Write pictures in the layout of CelebAMask-HQ.

    Pictures are JPEG, because readers of the published set look for that suffix. Masks are PNG and exact.

    Args:
        folder: an empty folder.
        pictures: number of each picture and a batch of it alone.
        on_written: called with the number of each written picture.

    Raises:
        DataError: a picture cannot be encoded.
    """
    landmarks: dict[str, np.ndarray] = {}
    families: dict[str, str] = {}
    for index, batch in pictures:
        assert batch.families is not None
        assert batch.landmarks_true is not None
        file, (family,) = f"{index}.jpg", batch.families
        write_picture(folder / PICTURES / file, first_picture(batch))
        parts = part_masks(visible_mask(batch), region_mask(batch), batch.landmarks_true[0].numpy(), family)
        for part, mask in parts.items():
            write_mask(folder / ANNOTATIONS / str(index // PICTURES_PER_FOLDER) / f"{index:05d}_{part}.png", mask)
        landmarks[file], families[file] = batch.landmarks[0].numpy(), family
        on_written(index)
    write_landmarks(folder / LANDMARKS, landmarks)
    write_split(folder, len(families))
    write_names(folder / OVERALL, families)
    write_names(folder / OCCLUDED, [file for file, family in families.items() if family != NO_OCCLUDER])
    write_names(folder / UNOCCLUDED, [file for file, family in families.items() if family == NO_OCCLUDER])


def write_split(folder: Path, n: int) -> None:
    """Write a mapping to pictures of CelebA that puts three of five pictures in train, one in val and one in test.

    Args:
        folder: folder of the set.
        n: number of pictures.
    """
    lines, taken = [f"{'idx':<12}{'orig_idx':<12}orig_file"], [0, LAST_TRAIN, LAST_VAL]
    for index in range(n):
        split = (0, 0, 0, 1, 2)[index % 5]
        taken[split] += 1
        lines.append(f"{index:<12}{taken[split] - 1:<12}{taken[split]:06d}.jpg")
    (folder / MAPPING).write_text("\n".join(lines) + "\n")


def part_masks(
    visible: Bool[np.ndarray, "H W"],
    region: Bool[np.ndarray, "H W"],
    landmarks: Float[np.ndarray, "68 2"],
    family: str,
) -> dict[str, Bool[np.ndarray, "H W"]]:
    """Split the visible face into the parts that an annotator would mark; merged again they give `visible` exactly.

    Features are the visible pixels within the outlines of their landmarks; skin is the rest of the visible face. The
    occluder has a part if there is one for its family.

    Args:
        visible: True where the face is visible.
        region: True where the face is, visible or hidden.
        landmarks: px, iBUG order.
        family: family of the occluder.

    Returns:
        Masks by part.
    """
    outlines = {
        part: _fill_outline(visible.shape, landmarks[list(points)]) & visible for part, points in _OUTLINES.items()
    }
    parts = {"skin": visible & ~np.logical_or.reduce(list(outlines.values()))}
    parts |= {part: mask for part, mask in outlines.items() if mask.any()}
    hidden = region & ~visible
    if family in _OCCLUDERS and hidden.any():
        parts[_OCCLUDERS[family]] = hidden
    return parts


def _fill_outline(size: tuple[int, ...], outline: Float[np.ndarray, "N 2"]) -> Bool[np.ndarray, "H W"]:
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], (1,))
    return canvas > 0
