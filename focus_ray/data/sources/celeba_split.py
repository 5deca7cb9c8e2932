"""The train, val and test split of CelebA, for the pictures of CelebA-HQ.

CelebA-HQ-to-CelebA-mapping.txt   idx, orig_idx, orig_file: the picture of CelebA that each one of CelebA-HQ was made of
list_eval_partition.txt           optional, of CelebA: 000001.jpg 0; 0 is train, 1 val and 2 test
identity_CelebA.txt               optional, of CelebA: 000001.jpg 2880; the person

Without the partition file, the bounds that CelebA publishes are used: its partition is by number.
"""

import re
from typing import NamedTuple

from focus_ray.data.picture_source import PictureSource
from focus_ray.data.sources.files import read_text
from focus_ray.errors import DataError, printable

MAPPING, PARTITION, IDENTITIES = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt", "identity_CelebA.txt"
SPLITS = ("train", "val", "test")

LAST_TRAIN, LAST_VAL = 162_770, 182_637
"""Numbers of CelebA's last pictures of train and of val; its pictures are numbered from 1."""

_FILE = re.compile(r"(\d{6})\.(jpg|png)")


class CelebaOrigin(NamedTuple):
    """Split of a picture, and its person as CelebA numbers persons, or None."""

    split: str
    person: str | None


def read_celeba_split(source: PictureSource) -> dict[str, CelebaOrigin]:
    """Read split and person of the pictures of CelebA-HQ.

    Args:
        source: the folder of CelebAMask-HQ.

    Returns:
        By name of the picture, as 17.

    Raises:
        DataError: the mapping is missing, or a file is malformed.
        StorageError: the store does not answer.
    """
    if not source.holds(MAPPING):
        raise DataError(
            f"{source}: there is no {MAPPING}, which CelebAMask-HQ.zip holds beside CelebA-HQ-img/; put it there: the "
            "train, val and test split follows from it"
        )
    partition = _read_column(source, PARTITION) if source.holds(PARTITION) else None
    people = _read_column(source, IDENTITIES) if source.holds(IDENTITIES) else {}
    origins: dict[str, CelebaOrigin] = {}
    for number, line in enumerate(read_text(f"{source}/{MAPPING}").splitlines(), start=1):
        words = line.split()
        if not words or not words[0].isdecimal():  # the header
            continue
        if len(words) != 3 or not _FILE.fullmatch(words[2]):
            raise DataError(
                f"{source}/{MAPPING}, line {number}: {printable(line[:80])!r} is not idx, orig_idx and orig_file; use "
                "the published file"
            )
        split = _split_of(words[2], partition, source)
        origins[str(int(words[0]))] = CelebaOrigin(split, people.get(words[2].partition(".")[0]))
    return origins


def _split_of(file: str, partition: dict[str, str] | None, source: PictureSource) -> str:
    name = file.partition(".")[0]
    if partition is None:
        number = int(name)
        return SPLITS[0] if number <= LAST_TRAIN else SPLITS[1] if number <= LAST_VAL else SPLITS[2]
    value = partition.get(name, "")
    if value not in ("0", "1", "2"):
        raise DataError(f"{source}/{PARTITION}: {file} has no 0, 1 or 2; use the published file")
    return SPLITS[int(value)]


def _read_column(source: PictureSource, name: str) -> dict[str, str]:
    """Second word of each line by the number in its first."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(f"{source}/{name}").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not _FILE.fullmatch(words[0]):
            raise DataError(
                f"{source}/{name}, line {number}: {printable(line[:80])!r} is not a file and a number; use the "
                "published file"
            )
        found[words[0].partition(".")[0]] = words[1]
    return found
