"""Public-domain portraits: copies the listed files of a checkout of the public collection into one folder per split.

The package has the list of the files (portraits.csv: name, sha256, split), not the pictures. Files that are not listed
are never copied.
"""

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from focus_ray.data.detectors.weight_files import sha256
from focus_ray.data.picture_folder import list_pictures
from focus_ray.errors import DataError, StorageError
from focus_ray.geometry.mesh_reader import read_limited_bytes
from focus_ray.storage import atomic

PORTRAIT_LIST = Path(__file__).with_name("portraits.csv")
SNAPSHOT = "commit 20531e9 of github.com/Hainish/congress-images-225x275"
SPLITS = ("report", "choose", "train")

# Where the pictures of 225 x 275 px lie in a checkout: of the snapshot, of unitedstates/images, or beside each other.
FOLDERS = ("images", "congress/225x275", ".")

_MEGABYTES = 1.0  # the largest portrait has 0.1 MB
_MAX_NAMED = 5  # files that a message names

CountProgress = Callable[[str, int, int], object]  # phase, done, total


class Portrait(NamedTuple):
    """A listed picture: its file name, the SHA-256 of its file, and its split."""

    name: str
    sha256: str
    split: str


def read_portrait_list(path: Path = PORTRAIT_LIST) -> list[Portrait]:
    """Read a list of portraits.

    Args:
        path: CSV file with the columns name, sha256 and split.

    Returns:
        The portraits, in the order of the file.
    """
    with path.open(newline="") as stream:
        return [Portrait(**row) for row in csv.DictReader(stream)]


def are_portraits(hashes: Iterable[str]) -> bool:
    """Return whether all of these files are listed portraits, which are in the public domain.

    Args:
        hashes: SHA-256 (hex) of the files.
    """
    given = set(hashes)
    return bool(given) and given <= {portrait.sha256 for portrait in read_portrait_list()}


def prepare_portraits(
    checkout: Path,
    out: Path,
    listed: Iterable[Portrait] | None = None,
    progress: CountProgress = lambda *_: None,
) -> dict[str, int]:
    """Copy the listed portraits of a checkout to OUT/SPLIT/NAME.

    All files are verified before the first one is written. Files that an interrupted call has written are kept.

    Args:
        checkout: checkout of the collection, in one of the layouts of FOLDERS.
        out: folder of the training set; the splits are its subfolders.
        listed: the portraits; None: the package's list.
        progress: called with phase, files done and files in all.

    Returns:
        Number of portraits by split.

    Raises:
        DataError: a portrait is missing in the checkout or differs from the list, or `out` has other pictures.
        StorageError: `out` cannot be read or written.
    """
    portraits = read_portrait_list() if listed is None else list(listed)
    contents = _read_verified(_find_folder(checkout, portraits), portraits, progress)
    _check_out(out, portraits)
    for done, portrait in enumerate(portraits, start=1):
        target = out / portrait.split / portrait.name
        if not target.exists():
            atomic.write_file(target, contents[portrait.name])
        progress("copying", done, len(portraits))
    return {split: sum(portrait.split == split for portrait in portraits) for split in SPLITS}


def _find_folder(checkout: Path, portraits: list[Portrait]) -> Path:
    """Return the folder of the checkout that has most of the portraits. Raises DataError if none has any."""
    counts = {
        checkout / folder: sum((checkout / folder / portrait.name).is_file() for portrait in portraits)
        for folder in FOLDERS
    }
    folder = max(counts, key=lambda one: counts[one])
    if not counts[folder]:
        raise DataError(
            f"{checkout}: none of the {len(portraits)} portraits is in it, in images/ or in congress/225x275/; "
            f"give a checkout of {SNAPSHOT}"
        )
    return folder


def _read_verified(folder: Path, portraits: list[Portrait], progress: CountProgress) -> Mapping[str, bytes]:
    """Read the portraits. Raises DataError if one is missing or has another hash."""
    contents: dict[str, bytes] = {}
    missing, differing = [], []
    for done, portrait in enumerate(portraits, start=1):
        path = folder / portrait.name
        if not path.is_file():
            missing.append(portrait.name)
        elif _hash_of(path, contents) != portrait.sha256:
            differing.append(portrait.name)
        progress("verifying", done, len(portraits))
    if missing or differing:
        wrong = [_describe(names, reason) for names, reason in ((missing, "missing"), (differing, "other files"))]
        raise DataError(
            f"{folder}: of {len(portraits)} portraits {' and '.join(filter(None, wrong))}; nothing is copied: "
            f"give a checkout of {SNAPSHOT}"
        )
    return contents


def _hash_of(path: Path, contents: dict[str, bytes]) -> str | None:
    """Add the content of a file to `contents` and return its hash; None if it cannot be read or is too large."""
    try:
        contents[path.name] = read_limited_bytes(path, _MEGABYTES)
    except DataError:
        return None
    return sha256(contents[path.name])


def _describe(names: list[str], reason: str) -> str:
    more = ", ..." if len(names) > _MAX_NAMED else ""
    return f"{len(names)} are {reason} ({', '.join(names[:_MAX_NAMED])}{more})" if names else ""


def _check_out(out: Path, portraits: list[Portrait]) -> None:
    """Check that the folders of the splits have no other pictures. Raises DataError, StorageError."""
    hashes = {(portrait.split, portrait.name): portrait.sha256 for portrait in portraits}
    try:
        found = [path for split in SPLITS if (out / split).is_dir() for path in list_pictures(out / split).pictures]
        foreign = [path for path in found if hashes.get((path.parent.name, path.name)) != sha256(path.read_bytes())]
    except OSError as error:
        raise StorageError(f"{out} cannot be read ({error.strerror or error}); choose another folder") from None
    if foreign:
        raise DataError(
            f"{out}: {len(foreign)} pictures are not portraits of their split (first: {foreign[0]}); "
            "choose another folder, or remove them"
        )
