"""What a run would take: steps by phase, shares of the workers, memory, disk, and hours on a GPU as an estimate."""

import os
from pathlib import Path
from typing import Any

from focus_ray.config import RunConfig
from focus_ray.focus.parameters import THETA_MODES
from focus_ray.focus.replica_group import ReplicaGroup
from focus_ray.model import EncoderSettings, ModelSettings
from focus_ray.runtime.ray_cluster import ClusterSettings

# Parameters, and floating-point operations of a forward pass of an image of 224 px, by torch's FlopCounterMode.
_ENCODERS = {"resnet50": (23.5e6, 8.2e9), "resnet18": (11.2e6, 3.6e9), "small": (0.7e6, 0.5e9)}
_SEGMENTER = (34.5e6, 100.2e9)  # UNet of width 64 and 5 levels
_RECOGNISER = (65.2e6, 24.2e9)  # IResNet-100, the largest one; its crops have 112 px in any case
_MEASURED_SIZE = 224  # px

# Fitted to the peaks that docs/performance.md lists: `paper` in batches of 2 and 4, 53,149 vertices.
_PROCESS_BYTES = 0.75e9  # Python, torch and numba
_COPIES = 6  # of each parameter: gradient, two optimiser states, and a checkpoint with its copies while it is written
_IMAGE_BYTES = 0.45e9  # kept for the backward pass, an image of 224 px
_DEFAULT_VERTICES = {"small": 2_500, "full": 7_400, "fine": 29_000}

GPU, GPU_PEAK_FLOPS = "NVIDIA A100", 19.5e12  # float32, without TensorFloat-32
_UTILISATION = (0.2, 0.6)  # share of the peak that convolutions of this size reach


def plan_run(
    config: RunConfig, cluster: ClusterSettings, vertices: int | None = None, *, local: bool = False
) -> dict[str, Any]:
    """Estimate what a run takes.

    Args:
        config: the run's configuration.
        cluster: workers and their resources.
        vertices: of the face model; None: those of the parametric face.
        local: whether the run trains in one process, without Ray.

    Returns:
        JSON values by name: how it runs, batch_size, batch_per_worker, image_size, steps by phase and in all,
        memory_gb of each worker, memory_available_gb, disk_gb, gpu_hours (fewest and most, on one GPU), the
        arithmetic.
    """
    schedule = config.schedule
    steps = {
        "warmup": schedule.warmup_steps,
        "init": schedule.init_steps,
        "pretrain_seg": schedule.pretrain_seg_steps,
        "em_seg": schedule.cycles * schedule.seg_steps,
        "em_face": schedule.cycles * schedule.face_steps,
    }
    shares = [len(ReplicaGroup(rank, cluster.workers).shard(config.batch_size)) for rank in range(cluster.workers)]
    vertices = vertices or _DEFAULT_VERTICES[config.face.resolution]
    operations = _operations(config, steps)
    seconds = [operations / (GPU_PEAK_FLOPS * share) for share in reversed(_UTILISATION)]
    arithmetic = (
        f"{operations:.2g} floating-point operations of the networks / ({GPU_PEAK_FLOPS / 1e12:g} TFLOPS, float32 x "
        f"{_UTILISATION[1]:.0%} to {_UTILISATION[0]:.0%}); not measured on a GPU; without rendering, data and "
        "evaluation, which may double it"
    )
    return {
        "how": _how(cluster, local=local),
        "batch_size": config.batch_size,
        "batch_per_worker": shares,
        "image_size": config.model.camera.image_size,
        "steps": steps,
        "total_steps": schedule.total_steps,
        "memory_gb": round(_memory(config, -(-max(shares) // config.compute.accumulate), vertices) / 1e9, 1),
        "memory_available_gb": _available_gb(),
        "disk_gb": round(_disk(config, vertices) / 1e9, 1),
        "gpu_hours": [round(one / 3600, 1) for one in seconds],
        "gpu": GPU,
        "arithmetic": arithmetic,
    }


def _how(cluster: ClusterSettings, *, local: bool) -> str:
    device = "GPU" if cluster.gpu else "CPU"
    if local:
        return f"one process, {device}"
    backend = "NCCL" if cluster.gpu else "Gloo"
    each = "one GPU each" if cluster.gpu else "on the CPU"
    count = f"{cluster.workers} worker{'s' * (cluster.workers != 1)}"
    return f"Ray Train: {count}, {each}; DistributedDataParallel over {backend}"


def _scale(config: RunConfig) -> float:
    return (config.model.camera.image_size / _MEASURED_SIZE) ** 2


def _segmenter_share(settings: ModelSettings) -> float:
    return (settings.segmenter.width / 64) ** 2


def _encoder(settings: EncoderSettings) -> tuple[float, float]:
    return _ENCODERS[settings.kind]


def _recogniser(config: RunConfig) -> tuple[float, float]:
    if config.model.perceptual.kind == "warmup_encoder":
        parameters, operations = _encoder(config.model.encoder)
        return parameters, operations * _scale(config)
    return _RECOGNISER


def _operations(config: RunConfig, steps: dict[str, int]) -> float:
    """Operations of the networks over all steps; a backward pass takes two forward ones."""
    encoder = _encoder(config.model.encoder)[1] * _scale(config)
    segmenter = _SEGMENTER[1] * _segmenter_share(config.model) * _scale(config)
    recogniser = _recogniser(config)[1]
    # The recogniser sees the photograph, and the rendering with a backward pass to its pixels.
    face = 3 * encoder + 3 * recogniser
    images = {
        "warmup": 3 * encoder * config.warmup.batch_size / config.batch_size,
        "init": face,
        "pretrain_seg": encoder + 3 * segmenter,
        "em_seg": encoder + 3 * segmenter + 6 * recogniser / 4,  # shallow maps of two masked pairs
        "em_face": face + segmenter,
    }
    return config.batch_size * sum(steps[name] * images[name] for name in steps)


def _parameters(config: RunConfig) -> float:
    return _encoder(config.model.encoder)[0] + _SEGMENTER[0] * _segmenter_share(config.model)


def _face_bytes(vertices: int) -> float:
    return 4.0 * 3 * vertices * sum(THETA_MODES)


def _memory(config: RunConfig, images: int, vertices: int) -> float:
    """Peak of a worker, bytes: process, parameters, face model twice (it is copied to be sent), kept activations."""
    networks = 4 * (_COPIES * _parameters(config) + _recogniser(config)[0])
    activations = images * _IMAGE_BYTES * _scale(config) * max(_segmenter_share(config.model), 0.2)
    return _PROCESS_BYTES + networks + 3 * _face_bytes(vertices) + activations


def _disk(config: RunConfig, vertices: int) -> float:
    """Kept checkpoints (parameters and two optimiser states), the best one, the model and the face, bytes."""
    checkpoints = (config.cadence.keep + 2) * 3 * 4 * _parameters(config)
    return checkpoints + 4 * (_parameters(config) + _recogniser(config)[0]) + 2 * _face_bytes(vertices)


def _available_gb() -> float | None:
    """Memory that this machine has left, GB; None where the system does not say."""
    try:
        pages = Path("/proc/meminfo").read_text()
        return round(int(pages.partition("MemAvailable:")[2].split()[0]) * 1024 / 1e9, 1)
    except (OSError, ValueError, IndexError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1) if os.name == "posix" else None
