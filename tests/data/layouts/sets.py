"""Small data sets in the layouts of the paper, of a tiny world."""

from pathlib import Path

from focus_ray.data.layouts import write_layout
from focus_ray.data.sources.description import Layout
from focus_ray.focus.face.morphable_model import MorphableModel
from focus_ray.focus.face.toy import toy_model
from focus_ray.storage.objects import open_store

SEED, SIZE = 3, 48
N: dict[Layout, int] = {"now": 12, "ar": 8, "celebahq": 12}


def world() -> MorphableModel:
    """The people's face."""
    return toy_model(90, 64, 80)


def written(layout: Layout, folder: Path) -> Path:
    """A set in a new folder."""
    write_layout(layout, folder / layout, N[layout], seed=SEED, size=SIZE, world=world())
    return folder / layout


def uploaded(folder: Path, place: str) -> str:
    """Everything in a folder and below, in a store too; returns its place."""
    store = open_store(place)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.write(path.relative_to(folder).as_posix(), path.read_bytes())
    return place
