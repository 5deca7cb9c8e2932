"""Sources of batches that actors of Ray build: light ones that say which process made which step, and real ones."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from focus_ray.data.cache import CachedFaces
from focus_ray.data.ingest import BatchFunction
from focus_ray.data.photos import PhotoFolder
from focus_ray.data.sample import Batch
from focus_ray.data.sampler import batch_indices, epoch_of
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.errors import ImageError
from focus_ray.face_models.parametric import parametric_face


@dataclass(frozen=True)
class RandomBatches:
    """Random batches of a rank; every third one does not fit into 8 bits. Each step made is a line of `log`."""

    log: Path
    rank: int = 0
    seconds: float = 0.0
    failing_step: int | None = None  # the step that cannot be made

    def __call__(self) -> BatchFunction:
        return self.batch

    def batch(self, step: int) -> Batch:
        with self.log.open("a") as log:
            log.write(f"{step} {os.getpid()}\n")
        time.sleep(self.seconds)
        if step == self.failing_step:
            raise ImageError("b.png: the picture is damaged; get a whole copy")
        random = torch.Generator().manual_seed(1000 * self.rank + step)
        images = torch.randint(0, 256, (4, 3, 16, 16), generator=random).float() / 255
        return Batch(images * 0.9 if step % 3 == 0 else images, 16 * torch.rand(4, 68, 2, generator=random))

    def read_log(self) -> list[tuple[int, int]]:
        """Steps with the processes that made them."""
        return [(int(step), int(pid)) for step, pid in map(str.split, self.log.read_text().splitlines())]


def synthetic_batches(size: int, batch: int, rank: int = 0, ranks: int = 1) -> BatchFunction:
    """A rank's rows of batches of `size` small synthetic faces."""
    world = parametric_face("small", 120, 80, 120)
    faces = CachedFaces(SyntheticFaces(world, SyntheticConfig(image_size=32)))
    mine = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
    return lambda step: faces.batch(batch_indices(0, step, batch, size)[mine])


def photo_batches(photos: PhotoFolder, batch: int) -> BatchFunction:
    """Augmented photographs."""

    def batch_of(step: int) -> Batch:
        chosen = batch_indices(0, step, batch, len(photos))
        return photos.batch(chosen, seed=0, epoch=epoch_of(step, batch, len(photos)))

    return batch_of
