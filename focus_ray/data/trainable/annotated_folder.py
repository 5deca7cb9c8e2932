"""Folders with landmark files beside their pictures: 300-W (.pts), 300W-LP and AFLW2000-3D (.mat)."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources.true_landmarks import MAT, PTS, read_beside
from focus_ray.data.trainable.now_set import local_folder
from focus_ray.data.trainable.trainable_set import FileVersions, TrainableFace, TrainableSet
from focus_ray.errors import DataError

_VIEW = re.compile(r"_\d+$")  # HELEN_232194_1_4.jpg is view 4 of HELEN_232194_1
_FLIPPED = "_Flip"
_TRAIN_FOLDERS, _TEST_FOLDERS = ("trainset", "afw"), ("testset", "ibug", "01_indoor", "02_outdoor")


def open_300w_lp(location: str) -> TrainableSet:
    """Open 300W-LP. A photograph's synthetic views and their mirror images are one person.

    Raises:
        DataError: the folder or its .mat files are missing.
    """
    return _open(location, "300W-LP", MAT, _person_of_view, lambda name: "train")


def open_aflw2000(location: str) -> TrainableSet:
    """Open AFLW2000-3D, for evaluation.

    Raises:
        DataError: the folder or its .mat files are missing.
    """
    return _open(location, "AFLW2000-3D", MAT, str, lambda name: "test")


def open_300w(location: str) -> TrainableSet:
    """Open 300-W. trainset and afw are train, testset, ibug and the indoor and outdoor pictures of 300-W itself test.

    One of these folders may be given alone.

    Raises:
        DataError: the folder or its .pts files are missing.
    """
    above = Path(location).absolute().parts[-2:]  # helen/testset
    return _open(location, "300-W", PTS, str, lambda name: _split_of_300w((*above, *PurePosixPath(name).parts[:-1])))


def _open(
    location: str, label: str, suffix: str, person: Callable[[str], str], split: Callable[[str], str]
) -> TrainableSet:
    root = local_folder(location, label)
    source = open_picture_source(root)
    names = list(source.list_pictures(recursive=True).versions)
    annotated = [name for name in names if (root / name).with_suffix(suffix).is_file()]
    if not annotated:
        raise DataError(
            f"{root}: none of its {len(names)} pictures has a {suffix} file beside it; give the unpacked folder of "
            f"{label}, where NAME.jpg and NAME{suffix} lie in one folder"
        )
    versions, known = FileVersions(source), set(annotated)
    faces = [
        TrainableFace(name, name, person(name), split(name), versions(name, str(Path(name).with_suffix(suffix))))
        for name in annotated
    ]

    def landmarks(face: TrainableFace) -> Float[np.ndarray, "68 2"] | None:
        found = read_beside(root / face.file)
        return None if found is None else found.points

    left_out = {name: "no_annotation" for name in names if name not in known}
    return TrainableSet(source, faces, left_out, True, landmarks)


def _person_of_view(name: str) -> str:
    path = PurePosixPath(name)
    return f"{path.parent.name.removesuffix(_FLIPPED)}/{_VIEW.sub('', path.stem)}"


def _split_of_300w(folders: Sequence[str]) -> str:
    """Return the split of the innermost folder that has one."""
    splits = dict.fromkeys(_TRAIN_FOLDERS, "train") | dict.fromkeys(_TEST_FOLDERS, "test")
    return next((splits[folder.lower()] for folder in reversed(folders) if folder.lower() in splits), "")
