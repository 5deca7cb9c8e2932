"""Writer of synthetic data sets in the layouts of the paper's data sets; `data.sources` reads both."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from focus_ray.data.dataset_writers import ar_writer, celebahq_writer, now_writer
from focus_ray.data.dataset_writers.picture_kinds import faces_by_kind
from focus_ray.data.sample import Batch
from focus_ray.data.sources.description import DESCRIPTION, DatasetDescription, Layout
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.data.synthetic_folder import CountProgress, check_unoccupied, default_world
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.storage import atomic

_KINDS = {"now": now_writer.KINDS, "ar": ar_writer.KINDS, "celebahq": celebahq_writer.KINDS}


def write_dataset(
    layout: Layout,
    out: str | Path,
    n: int,
    seed: int = 0,
    size: int = 224,
    progress: CountProgress | None = None,
    world: MorphableModel | None = None,
) -> None:
    """Write synthetic pictures in the layout of a data set of the paper, with a dataset.json.

    Pictures are aligned crops of held-out faces. A person of ar has 3 pictures, of now 8, of celebahq 1; the last one
    has the rest of n. The folder is written atomically.

    Args:
        layout: layout of the data set.
        out: a new or empty folder.
        n: number of pictures.
        seed: seed of the faces.
        size: side of the pictures, px.
        progress: called with pictures done and pictures in all.
        world: face model that people are drawn from; None means the small parametric face.

    Raises:
        DataError: `out` exists and is not empty.
        StorageError: the folder cannot be written.
    """
    target = check_unoccupied(out)
    faces = faces_by_kind(_KINDS[layout], default_world() if world is None else world, seed, size)
    described = DatasetDescription(layout=layout, synthetic=True, aligned=True, image_size=size, seed=seed, n=n)
    write = {
        "now": partial(now_writer.write_now, faces=faces[0]),
        "ar": ar_writer.write_ar,
        "celebahq": celebahq_writer.write_celebahq,
    }[layout]
    with atomic.new_folder(target) as folder:
        write(folder, _pictures(faces, n), lambda index: progress and progress(index + 1, n))
        (folder / DESCRIPTION).write_text(described.model_dump_json(indent=1) + "\n")


def _pictures(faces: list[SyntheticFaces], n: int) -> Iterator[tuple[int, Batch]]:
    for index in range(n):
        yield index, faces[index % len(faces)].batch([index])
