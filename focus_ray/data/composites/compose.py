"""Writes a folder of composites; the same call continues an interrupted one."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from focus_ray.data.composites.composite_config import (
    UNSEEN_FAMILIES,
    CompositeConfig,
    PlannedComposite,
    plan_composites,
)
from focus_ray.data.composites.composite_folder import (
    IMAGES,
    LANDMARKS,
    MASKS,
    OCCLUDERS,
    ROWS,
    SETTINGS,
    CompositeFolder,
    CompositeRow,
    write_rows,
)
from focus_ray.data.composites.cutouts import CUTOUT, CutoutFamily
from focus_ray.data.composites.face_region import face_region
from focus_ray.data.composites.paste import OccludedPhoto, OccluderFamily, OpenPhoto, paste_occluder
from focus_ray.data.dataset_writers.picture_writer import write_mask, write_picture
from focus_ray.data.image_file import read_content, read_image, read_size
from focus_ray.data.landmark_check import validate_landmarks
from focus_ray.data.landmark_csv import read_landmarks, write_landmarks
from focus_ray.data.occluders import FAMILIES, DrawOccluder
from focus_ray.data.sample import UNOCCLUDED
from focus_ray.data.synthetic import OcclusionDistributions
from focus_ray.errors import ConfigError, DataError, LandmarkError, printable
from focus_ray.storage import atomic
from focus_ray.storage.json_lines import JsonLinesFile, read_json_lines

FORMAT = 1

_PARTIAL = "composites.partial.jsonl"
_MAX_COVERED = OcclusionDistributions().hidden[1]
_ATTEMPTS = 100
_STREAM = 2  # word of the seed of each composite's random numbers

CountProgress = Callable[[int, int], object]
LandmarksByName = Mapping[str, Float[np.ndarray, "68 2"]]


def write_composites(
    photos: Path,
    out: Path,
    config: CompositeConfig,
    *,
    landmarks: Path | None = None,
    cutouts: Path | None = None,
    progress: CountProgress | None = None,
) -> list[CompositeRow]:
    """Write a folder of composites; finished composites of an interrupted call with the same arguments are kept.

    Args:
        photos: folder of photographs of open faces.
        out: a new or empty folder, or one of the same composites.
        config: options of the composites.
        landmarks: landmark file with names relative to `photos`; None: landmarks.csv in `photos`.
        cutouts: folder of pictures with transparency, of the family "cutout"; None: there is no such family.
        progress: called with composites done and composites in all.

    Returns:
        The row of each composite.

    Raises:
        ConfigError: `out` holds other composites, a family is unknown, or cut-outs are given without their family.
        DataError: there are no such folders, `out` holds something else, or no drawing of an occluder covers enough of
            a face.
        ImageError: a photograph or a cut-out is missing or damaged.
        LandmarkError: the landmark file is missing or malformed, or landmarks are not those of a face.
        StorageError: the folder cannot be written.
    """
    if not photos.is_dir():
        raise DataError(f"{printable(photos)}: there is no such folder of photographs; check the path")
    points = read_landmarks(photos / LANDMARKS if landmarks is None else landmarks)
    families = _load_families(config, cutouts)
    settings = _settings(config, points, families)
    _check_target(out, settings)
    if (out / ROWS).is_file():
        return CompositeFolder(out).rows
    plan = plan_composites(list(points), list(families), config)
    _check_sources(photos, points, plan)
    atomic.write_file(out / SETTINGS, json.dumps(settings, indent=1) + "\n")
    return _CompositeWriter(photos, out, config, points, families).write(plan, progress)


class _CompositeWriter:
    """Makes and writes the composites of a plan."""

    def __init__(
        self,
        photos: Path,
        out: Path,
        config: CompositeConfig,
        landmarks: LandmarksByName,
        families: Mapping[str, DrawOccluder],
    ) -> None:
        self.photos = photos
        self.out = out
        self.config = config
        self.landmarks = landmarks
        self.families = families

    def write(self, plan: list[PlannedComposite], progress: CountProgress | None) -> list[CompositeRow]:
        """Write the composites that are not finished, then the files about all of them."""
        lines = read_json_lines(self.out / _PARTIAL)[: len(plan)]
        finished = JsonLinesFile(self.out / _PARTIAL)
        finished.rewrite(lines)
        try:
            for index in range(len(lines), len(plan)):
                if progress is not None:
                    progress(index, len(plan))
                with atomic.translate_os_errors(self.out):
                    lines.append(self._write_one(index, plan[index]))
                finished.append(lines[-1])
        finally:
            finished.close()
        if progress is not None:
            progress(len(plan), len(plan))
        points = {line["row"]["picture"]: np.array(line["landmarks"]) for line in lines}
        rows = [CompositeRow(**line["row"]) for line in lines]
        write_landmarks(self.out / LANDMARKS, points)
        write_rows(self.out / ROWS, rows)
        atomic.remove(self.out / _PARTIAL)
        return rows

    def _write_one(self, index: int, planned: PlannedComposite) -> dict[str, Any]:
        """Write the pictures of one composite; returns its row and its landmarks."""
        photo = self._read_photo(planned.source)
        height, width = photo.rgb.shape[:2]
        pasted = OccludedPhoto(photo.rgb, np.zeros((height, width), dtype=bool), 0.0)
        if planned.family != UNOCCLUDED:
            pasted = self._paste(index, planned, photo)
        file = f"{index:06d}.png"
        write_picture(self.out / IMAGES / file, pasted.rgb)
        write_mask(self.out / OCCLUDERS / file, pasted.occluder)
        write_mask(self.out / MASKS / file, face_region(photo.landmarks, height, width) & ~pasted.occluder)
        training = "unseen" if planned.family in UNSEEN_FAMILIES else "seen"
        row = CompositeRow(
            picture=f"{IMAGES}/{file}",
            source=planned.source,
            person=planned.person,
            family=planned.family,
            training=UNOCCLUDED if planned.family == UNOCCLUDED else training,
            covered=round(pasted.covered, 4),
        )
        return {"row": asdict(row), "landmarks": photo.landmarks.round(2).tolist()}

    def _read_photo(self, name: str) -> OpenPhoto:
        """The photograph and its landmarks, scaled down if it is too large."""
        image = read_image(self.photos / name)
        height, width = image.shape[:2]
        points = _validate(name, self.landmarks[name], height, width)
        ratio = min(1.0, self.config.max_side / max(height, width))
        if ratio == 1.0:
            return OpenPhoto(image, points)
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        scales = np.array(size) / np.array([width, height])
        return OpenPhoto(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (points + 0.5) * scales - 0.5)

    def _paste(self, index: int, planned: PlannedComposite, photo: OpenPhoto) -> OccludedPhoto:
        rng = np.random.default_rng((self.config.seed, _STREAM, index))
        limits = (self.config.min_covered, _MAX_COVERED)
        family = OccluderFamily(planned.family, self.families[planned.family])
        pasted = paste_occluder(rng, photo, family, limits, _ATTEMPTS)
        if pasted is None:
            raise DataError(
                f"{printable(planned.source)}: none of {_ATTEMPTS} drawings of {planned.family} covers "
                f"{limits[0]:.0%} to {limits[1]:.0%} of the face; lower the smallest share, or leave the family out"
            )
        return pasted


def _load_families(config: CompositeConfig, cutouts: Path | None) -> dict[str, DrawOccluder]:
    known = (*FAMILIES, *([] if cutouts is None else [CUTOUT]))
    names = known if config.families is None else tuple(dict.fromkeys(config.families))
    unknown = sorted({*names} - {*known})
    if unknown or not names:
        hint = f"; {CUTOUT} needs a folder of cut-outs" if CUTOUT in unknown else ""
        raise ConfigError(f"families are empty or unknown: {unknown}; choose from {', '.join(known)}{hint}")
    if cutouts is not None and CUTOUT not in names:
        raise ConfigError(f"cut-outs are given, but {CUTOUT} is not among the families; add it, or give no cut-outs")
    return {name: CutoutFamily(cutouts) if cutouts is not None and name == CUTOUT else FAMILIES[name] for name in names}


def _settings(
    config: CompositeConfig, landmarks: LandmarksByName, families: Mapping[str, DrawOccluder]
) -> dict[str, Any]:
    """The content of composites.json: all that decides the composites, but the pixels of the photographs."""
    seen = hashlib.sha256()
    for name in sorted(landmarks):
        seen.update(name.encode(errors="surrogateescape") + b"\0" + landmarks[name].tobytes())
    cutouts = families.get(CUTOUT)
    return {
        "format": FORMAT,
        **config.model_dump(mode="json"),
        "families": list(families),
        "unseen_families": [name for name in families if name in UNSEEN_FAMILIES],
        "landmarks": seen.hexdigest(),
        "cutouts": cutouts.digest() if isinstance(cutouts, CutoutFamily) else None,
    }


def _check_target(out: Path, settings: Mapping[str, Any]) -> None:
    """Check that a folder is new, empty, or one of composites with these settings."""
    path = out / SETTINGS
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(not atomic.is_unfinished(one.name) for one in out.iterdir())):
            raise DataError(f"{printable(out)} is not empty and holds no composites; choose a new folder")
        return
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{printable(path)} is damaged; choose a new folder")
    differing = sorted(key for key in {*found, *settings} if found.get(key) != settings.get(key))
    if differing:
        raise ConfigError(
            f"{printable(out)} holds other composites ({', '.join(differing)} differ); give the options of those, or a "
            "new folder"
        )


def _check_sources(photos: Path, landmarks: LandmarksByName, plan: list[PlannedComposite]) -> None:
    """Check that the photographs of a plan exist and have landmarks of a face, before one is made."""
    for name in dict.fromkeys(planned.source for planned in plan):
        size = read_size(read_content(photos / name), name=printable(photos / name))
        _validate(name, landmarks[name], max(size), max(size))  # the header's size may be that of the turned picture


def _validate(name: str, points: Float[np.ndarray, "68 2"], height: int, width: int) -> Float[np.ndarray, "68 2"]:
    try:
        return validate_landmarks(points, height, width)
    except LandmarkError as error:
        raise LandmarkError(f"{printable(name)}: {error}") from None
