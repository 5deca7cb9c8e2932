"""The importers by the kind of face model that they read."""

from collections.abc import Callable, Mapping
from pathlib import Path

from focus_ray.face_models.importers.bfm import read_bfm
from focus_ray.face_models.importers.eos import read_eos
from focus_ray.face_models.importers.flame import read_flame, read_flame_open
from focus_ray.face_models.importers.gnm import read_gnm
from focus_ray.face_models.importers.ict import read_ict
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.source_model import SourceModel

Read = Callable[[Path, ImportOptions], SourceModel]

IMPORTERS: Mapping[str, Read] = {
    "ict": read_ict,
    "bfm": read_bfm,
    "flame": read_flame,
    "flame2023-open": read_flame_open,
    "eos": read_eos,
    "gnm": read_gnm,
}
"""Reads a face model by its kind; raises FaceModelError if it cannot be read."""
