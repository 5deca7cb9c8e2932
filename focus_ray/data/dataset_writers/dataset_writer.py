"""Writes a synthetic data set in one of the paper's layouts; `data.sources` reads it like the real one."""

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
    """Write n synthetic pictures, `size` px wide, as a data set of the paper is laid out, with a dataset.json.

    Pictures are aligned crops of held-out faces of the small parametric face unless another world is given. A person of
    ar has 3 pictures, of now 8, of celebahq 1; the last one has what is left of n.
    The folder appears whole or not at all. `progress` is told pictures done and pictures in all.
    Raises DataError where `out` holds something already, StorageError where the disk refuses.
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
