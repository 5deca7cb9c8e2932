"""A run of two workers in which the pictures of one turn into NaN: `python poisoned_run.py FOLDER`."""

import sys
from pathlib import Path

import torch

from focus_ray import cli
from focus_ray.training import worker
from tests.system.runs import MINIATURE, set_options

POISONED_FROM = 30
original_work = worker.train_worker


def work(settings: dict) -> None:
    """What a worker does, but the second one sees nothing but NaN from a step on."""
    import ray.train

    from focus_ray.training.batch_source import PrefetchSource

    honest = PrefetchSource.targets

    def targets(self, step: int):
        batch = honest(self, step)
        if ray.train.get_context().get_world_rank() == 1 and step >= POISONED_FROM:
            return batch._replace(images=torch.full_like(batch.images, torch.nan))
        return batch

    PrefetchSource.targets = targets
    original_work(settings)


if __name__ == "__main__":
    worker.train_worker = work
    two = ("--workers", "2", "--cpus-per-worker", "1")
    sys.exit(cli.main(["train", *set_options(MINIATURE), *two, "--out", str(Path(sys.argv[1]))]))
