"""Synthetic faces made in the training process against actors of Ray Data: how long the consumer waits, as ratios.

    python benchmarks/ingest.py [--size 64] [--batch 32] [--steps 40] [--actors 1] [--work 1.5] [--json FILE]

The consumer computes for `work` times as long as a batch takes to make, as a training step would. In process, a thread
makes the next batches meanwhile. On a machine with two cores both compete with the consumer in either way.
"""

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from focus_ray.data.ingest import BatchFunction, StepStream
from focus_ray.data.sampler import batch_indices
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.data.synthetic_folder import WORLD_MODES
from focus_ray.face_models.parametric import parametric_face
from focus_ray.training.batch_source import PrefetchSource

FACES, WARMUP_STEPS = 8000, 10  # faces in a pass; steps before the clock starts


def batches(size: int, batch: int) -> BatchFunction:
    """The batches of a data set in its first pass."""
    faces = SyntheticFaces(parametric_face("small", *WORLD_MODES), SyntheticConfig(image_size=size))
    return lambda step: faces.batch(batch_indices(0, step, batch, FACES))


def passes_for(seconds: float) -> int:
    """How many passes of `work` take that long."""
    work(2)
    started = perf_counter()
    work(10)
    return max(1, round(10 * seconds / (perf_counter() - started)))


def work(passes: int) -> None:
    """A consumer that computes."""
    images, weights = torch.ones(8, 16, 64, 64), torch.ones(16, 16, 3, 3)
    for _ in range(passes):
        torch.conv2d(images, weights, padding=1)


def time_consumer(take: Callable[[int], Any], steps: int, passes: int) -> dict[str, float]:
    """ms a step in all, and the share of it that was spent waiting for the batch."""
    waited, started = 0.0, 0.0
    for step in range(WARMUP_STEPS + steps):
        if step == WARMUP_STEPS:
            waited, started = 0.0, perf_counter()
        asked = perf_counter()
        take(step)
        waited += perf_counter() - asked
        work(passes)
    total = perf_counter() - started
    return {"ms_a_step": 1000 * total / steps, "waiting": waited / total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--work", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    make = partial(batches, arguments.size, arguments.batch)
    batch_of, last = make(), WARMUP_STEPS + arguments.steps
    batch_of(0)  # compiles or loads the kernels
    started = perf_counter()
    for step in range(5):
        batch_of(step)
    making = (perf_counter() - started) / 5
    passes = passes_for(arguments.work * making)
    results: dict[str, dict[str, float]] = {"making alone": {"ms_a_step": 1000 * making}}
    with PrefetchSource(batch_of, last) as ahead:
        results["in process"] = time_consumer(ahead.targets, arguments.steps, passes)
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray makes workers stand behind everything else on the machine
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    ray.init(address="local", num_cpus=1 + arguments.actors, include_dashboard=False, log_to_driver=False)
    for name, work_passes in (("Ray Data", passes), ("Ray Data, nothing else to do", 0)):
        with StepStream(make, 0, last, actors=arguments.actors) as stream:
            results[name] = time_consumer(stream.batch, arguments.steps, work_passes)
    ray.shutdown()
    for name, figures in results.items():
        waiting = f", waits {100 * figures['waiting']:.0f}%" if "waiting" in figures else ""
        ratio = figures["ms_a_step"] / results["in process"]["ms_a_step"]
        print(f"{name}: {figures['ms_a_step']:.0f} ms a step ({ratio:.2f} of in process){waiting}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**vars(arguments), "json": None, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
