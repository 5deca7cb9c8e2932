"""Times the steps of the embedded preset and the parts they are made of; prints milliseconds per image and shares.

    python benchmarks/training_step.py [--rounds 8] [--threads 2] [--json FILE]

Everything is timed in turns within one process, medians over the rounds: shares hold on a busy machine, absolute times
do not. A part is timed forward and backward where its step needs both.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from focus_ray import model as models
from focus_ray import presets
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.em import reconstruction_step, segmentation_step
from focus_ray.focus.initialise import freeze_perceptual, init_step, pretrain_step, warmup_step
from focus_ray.focus.refine import refine_with_segmenter
from focus_ray.focus.schedule import Phase, SchedulePosition
from focus_ray.focus.state import Targets, TrainState

# Which parts make up each step; what remains are losses, optimiser and bookkeeping.
STEP_PARTS = {
    "init step": ("encoder", "renderer", "perceptual"),
    "em_face step": ("encoder", "renderer", "perceptual", "segmenter forward"),
    "em_seg step": ("encoder forward", "12 refinement steps", "segmenter", "shallow features"),
}


def backward(output: Tensor) -> None:
    output.square().mean().backward()


def steps_and_parts() -> tuple[dict[str, Callable[[], object]], int]:
    """Everything that is timed, by name, and the images each handles."""
    config = presets.embedded()
    world = parametric_face(config.face.resolution, *config.face.world_modes)
    faces = SyntheticFaces(world, config.data.synthetic, "train")
    state = TrainState(models.build(config.model, world.truncate(80, 64, 80), perceptual=False))
    freeze_perceptual(state)
    focus, rates = state.focus, config.optimizers
    assert focus.perceptual is not None
    perceptual = focus.perceptual
    batch: Batch = faces.batch(range(config.batch_size))
    targets = Targets(batch.images, batch.landmarks)
    assert batch.theta is not None
    theta = batch.theta
    drawn = focus.renderer(theta)

    def at(phase: Phase) -> SchedulePosition:
        return SchedulePosition(phase, 0, 1, 100, 1, 1)

    def fresh() -> object:
        return faces.batch(range(config.batch_size))

    def rendered() -> None:
        backward(focus.renderer(theta.clone().requires_grad_()).image)

    def refined() -> object:
        return refine_with_segmenter(focus, batch.images, theta, batch.landmarks, config.em.refined_comparison)

    def segment() -> Tensor:
        with torch.no_grad():
            return focus.segmenter.mask(drawn.image, batch.images)

    def encoded() -> Tensor:
        with torch.no_grad():
            return focus.encoder(batch.images)

    leaf = batch.images.clone().requires_grad_()
    timed: dict[str, Callable[[], object]] = {
        "generation, fresh": fresh,
        "warmup step": lambda: warmup_step(state, 0, at(Phase.WARMUP), config.warmup, rates.warmup),
        "init step": lambda: init_step(state, targets, at(Phase.INIT), config.initialise, rates.init),
        "pretrain_seg step": lambda: pretrain_step(
            state, targets, at(Phase.PRETRAIN_SEG), config.initialise, rates.pretrain_seg
        ),
        "em_seg step": lambda: segmentation_step(state, targets, at(Phase.EM_SEG), config.em, rates.em_seg),
        "em_face step": lambda: reconstruction_step(state, targets, at(Phase.EM_FACE), config.em, rates.em_face),
        "encoder": lambda: backward(focus.encoder(batch.images)),
        "encoder forward": encoded,
        "renderer": rendered,
        "segmenter": lambda: backward(focus.segmenter.requires_grad_(True)(drawn.image, batch.images)),
        "segmenter forward": segment,
        "perceptual": lambda: backward(perceptual.embedding(leaf, batch.landmarks)),
        "shallow features": lambda: backward(perceptual.shallow(leaf, batch.landmarks)),
        "12 refinement steps": refined,
    }
    return timed, config.batch_size


def measure(rounds: int) -> dict[str, float]:
    """Median wall milliseconds per image of each step and part, after one unmeasured round."""
    timed, images = steps_and_parts()
    times: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, call in timed.items():
            started = perf_counter()
            call()
            if number:
                times[name].append(perf_counter() - started)
    return {name: 1e3 * median(values) / images for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    times = measure(options.rounds)
    print(f"embedded preset, {options.threads} threads, ms per image (images per second)")
    for name, milliseconds in times.items():
        print(f"  {name:22}{milliseconds:8.2f}  ({1000 / milliseconds:6.0f})")
    shares = {
        step: {part: times[part] / times[step] for part in parts}
        | {"rest": 1 - sum(times[p] for p in parts) / times[step]}
        for step, parts in STEP_PARTS.items()
    }
    for step, parts in shares.items():
        print(f"{step}: " + ", ".join(f"{part} {share:.0%}" for part, share in parts.items()))
    print(f"generation / em_face step: {times['generation, fresh'] / times['em_face step']:.2f}")
    if options.json:
        options.json.write_text(json.dumps({"ms_per_image": times, "shares": shares}, indent=2) + "\n")


if __name__ == "__main__":
    main()
