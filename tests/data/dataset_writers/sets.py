"""Small data sets in the layouts of the paper, of a tiny world."""

from pathlib import Path

from focus_ray.data.dataset_writers import write_dataset
from focus_ray.data.sources.description import Layout
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.storage.open_store import open_store
from tests.ellipsoid_face import ellipsoid_face

SEED, SIZE = 3, 48
N: dict[Layout, int] = {"now": 12, "ar": 8, "celebahq": 12}


def world() -> MorphableModel:
    """The people's face."""
    return ellipsoid_face(90, 64, 80)


def written(layout: Layout, folder: Path, n: int | None = None) -> Path:
    """A set in a new folder."""
    write_dataset(layout, folder / layout, n or N[layout], seed=SEED, size=SIZE, world=world())
    return folder / layout


def uploaded(folder: Path, place: str) -> str:
    """Everything in a folder and below, in a store too; returns its place."""
    store = open_store(place)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.write(path.relative_to(folder).as_posix(), path.read_bytes())
    return place
