"""What one, two and three copies of a run compute of the same batches; a program, since copies are processes.

    python side_by_side.py FOLDER WORLD

Every scenario is played by a group of WORLD processes that talk over gloo on 127.0.0.1. Each writes
what it ended with to FOLDER/WORLD-RANK.safetensors, under SCENARIO/NAME. What is right about it the tests say.
"""

import copy
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

# Before torch and numba are imported.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["GLOO_SOCKET_IFNAME"] = "lo"

import torch
import torch.distributed
from safetensors.torch import save_file
from torch import Tensor, nn

from focus_ray import model
from focus_ray.focus.camera import Camera
from focus_ray.focus.em import AreaCalibration, EmSettings, reconstruction_step, segmentation_step
from focus_ray.focus.initialise import InitialiseSettings, WarmupSettings, init_step, pretrain_step, warmup_step
from focus_ray.focus.networks.sync_batchnorm import SyncBatchNorm2d, convert_sync_batchnorm
from focus_ray.focus.pooled_ratio import PooledRatio, pooled_mean
from focus_ray.focus.refine import RefineSettings
from focus_ray.focus.render import mesh_numba
from focus_ray.focus.replica_group import ReplicaGroup
from focus_ray.focus.schedule import OptimizerSettings, Phase, SchedulePosition
from focus_ray.focus.state import StepLoss, StepMetrics, Targets, TrainState, optimize_step
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, render_random
from tests.ellipsoid_face import ellipsoid_face

PATIENCE_S = 60  # of a copy that waits for another one
LONGEST_S = 180  # for all that a group plays; a few seconds where the machine has nothing else to do
BATCH = 7  # 3 + 4 and 2 + 2 + 3: shares differ, and one begins at an odd image
ADAM = OptimizerSettings(lr=1e-3, clip_norm=None)  # a gradient that is clipped would hide its length

Results = dict[str, Tensor]
Scenario = Callable[[ReplicaGroup], Results]
SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    """Have every group play it."""
    SCENARIOS[play.__name__] = play
    return play


# What the copies tell each other.


@scenario
def pool(replicas: ReplicaGroup) -> Results:
    """Two means: of 1, 2, .. over the ranks (one pixel each), and of nothing at all."""
    mine = torch.tensor(replicas.rank + 1.0, requires_grad=True)
    weight = torch.tensor(2.0 * replicas.rank + 1.0, requires_grad=True)
    nothing = torch.tensor(0.0)
    pooled = replicas.all_reduce({"some": PooledRatio(mine * weight, weight), "none": PooledRatio(nothing, nothing)})
    some = pooled["some"].ratio()
    some.backward()
    return {
        "names": torch.tensor([list(pooled) == ["some", "none"]]),
        "numerator": pooled["some"].numerator,
        "denominator": pooled["some"].denominator,
        "ratio": some,
        "none": pooled["none"].ratio(),
        "gradient": torch.stack((mine.grad, weight.grad)),
    }


@scenario
def gather(replicas: ReplicaGroup) -> Results:
    """Rank r brings r numbers; then nobody brings any; then the last one alone."""
    rank, last = replicas.rank, replicas.rank == replicas.world_size - 1
    return {
        "uneven": replicas.all_gather(10.0 * rank + torch.arange(float(rank))),
        "whole_numbers": replicas.all_gather(torch.full((3 - rank,), rank)),
        "nothing": replicas.all_gather(torch.zeros(0)),
        "of_the_last": replicas.all_gather(torch.full((2 * last,), 0.5)),
    }


@scenario
def votes(replicas: ReplicaGroup) -> Results:
    """What all agree on when nobody, the last one or everybody says so, and the smallest number of any."""
    last = replicas.rank == replicas.world_size - 1
    said = [replicas.all_reduce_any(flag) for flag in (False, last, True)]
    return {"any": torch.tensor(said), "smallest": torch.tensor(replicas.all_reduce_min(10 - replicas.rank))}


# Batch normalisation.


@scenario
def batch_norm(replicas: ReplicaGroup) -> Results:
    """Three steps in training and a look in evaluation, of images far from zero; a smooth loss of each copy's part."""
    return batch_normalised(replicas, torch.float64, momentum=0.1, centre=20.0)


@scenario
def batch_norm_float32(replicas: ReplicaGroup) -> Results:
    """Closer to zero: far from it, single precision has lost the digits before anything is normalised."""
    return batch_normalised(replicas, torch.float32, momentum=0.1, centre=0.1)


@scenario
def batch_norm_plain_average(replicas: ReplicaGroup) -> Results:
    """Without momentum, running statistics are the mean over the steps."""
    return batch_normalised(replicas, torch.float64, momentum=None, centre=20.0)


def batch_normalised(replicas: ReplicaGroup, dtype: torch.dtype, momentum: float | None, centre: float) -> Results:
    rng = make_generator(11)
    norm = nn.BatchNorm2d(3, momentum=momentum)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0, generator=rng)
        norm.bias.normal_(generator=rng)
    (norm,) = convert_sync_batchnorm(nn.Sequential(norm.to(dtype)))
    rows = slice(replicas.shard(5).start, replicas.shard(5).stop)
    for _ in range(3):
        whole = centre + torch.tensor([0.1, 1.0, 5.0])[:, None, None] * torch.randn(5, 3, 4, 6, generator=rng)
        slope = torch.randn(5, 3, 4, 6, generator=rng)
        images = whole.to(dtype)[rows].contiguous(memory_format=torch.channels_last).requires_grad_()
        norm.zero_grad()
        output = norm(images)
        (slope.to(dtype)[rows] * output + output.pow(3)).sum().backward()
    with torch.no_grad():
        evaluated = copy.deepcopy(norm).eval()(images)
    return {
        "synchronised": torch.tensor([type(norm) is SyncBatchNorm2d]),
        "output": output,
        "evaluated": evaluated,
        "images.grad": images.grad,
        "weight.grad": norm.weight.grad,
        "bias.grad": norm.bias.grad,
        **norm.state_dict(),
    }


# Steps of the method.


def fresh(replicas: ReplicaGroup, *, norm: str = "batch", synchronised: bool = True) -> TrainState:
    """The same small networks for everybody, the ellipsoid face at 32 px, no dropout."""
    settings = model.ModelSettings(
        camera=Camera(image_size=32),
        encoder=model.EncoderSettings(kind="small", width=4),
        segmenter=model.SegmenterSettings(width=4, levels=2, dropout=0.0, norm=norm),
        perceptual=model.PerceptualSettings(kind="warmup_encoder"),
    )
    torch.manual_seed(0)
    focus = model.build(settings, ellipsoid_face())
    nn.init.normal_(focus.encoder.head.weight, std=0.02)  # every picture its own face
    if synchronised:
        convert_sync_batchnorm(focus.encoder)
        convert_sync_batchnorm(focus.segmenter)
    return TrainState(focus, process_group=replicas)


def share_of_batch(state: TrainState, count: int = BATCH, seed: int = 7) -> Targets:
    """This copy's part of a batch of occluded faces."""
    renderer = state.focus.renderer
    images, theta = render_random(renderer, SamplingDistributions(), count, make_generator(seed))
    images[:, :, 10:20, 8:16] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    mine = state.process_group.shard(count)
    return Targets(images, renderer(theta).landmarks).rows(slice(mine.start, mine.stop))


WARMUP = WarmupSettings(batch_size=BATCH)
INITIALISE = InitialiseSettings(xi=0.02, xi_start=0.32)
# Bounds that nothing reaches: the median itself decides.
EM = EmSettings(calibration=AreaCalibration(low=1e-3, high=10.0), refined_comparison=RefineSettings(steps=2, lr=0.15))

Step = Callable[[TrainState, Targets, SchedulePosition, OptimizerSettings], tuple[TrainState, StepMetrics]]
STEPS: dict[Phase, Step] = {
    Phase.WARMUP: lambda state, _, position, optimizer: warmup_step(state, 5, position, WARMUP, optimizer),
    Phase.INIT: lambda state, batch, position, optimizer: init_step(state, batch, position, INITIALISE, optimizer),
    Phase.PRETRAIN_SEG: lambda state, batch, position, optimizer: pretrain_step(
        state, batch, position, INITIALISE, optimizer
    ),
    Phase.EM_SEG: lambda state, batch, position, optimizer: segmentation_step(state, batch, position, EM, optimizer),
    Phase.EM_FACE: lambda state, batch, position, optimizer: reconstruction_step(state, batch, position, EM, optimizer),
}


def take(
    state: TrainState, phase: Phase, batch: Targets, number: int, optimizer: OptimizerSettings = ADAM
) -> StepMetrics:
    """The step of a phase that has this number in it."""
    position = SchedulePosition(phase, cycle=0, in_phase=number, phase_total=10, in_block=number, in_stage=number)
    return STEPS[phase](state, batch, position, optimizer)[1]


def told(metrics: StepMetrics, state: TrainState) -> Results:
    """What a step tells: every number of it, those that there are not left out."""
    numbers = {f"losses/{name}": value for name, value in metrics.losses.items()}
    numbers |= {"mask_mean": metrics.mask_mean, "area_weight": state.area_weight, "skipped": float(metrics.skipped)}
    exact = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items() if value is not None}
    return {f"told/{name}": value for name, value in exact.items()}


def kept(network: nn.Module) -> Results:
    """Parameters and running statistics."""
    return {f"kept/{name}": value.clone() for name, value in network.state_dict().items()}


def moments(state: TrainState, phase: Phase) -> Results:
    """The first moments of Adam: after one step a tenth of the gradient."""
    values = state.optimizers[phase].state_dict()["state"].items()
    return {f"moments/{number}": value["exp_avg"] for number, value in values}


def learning(state: TrainState, phase: Phase) -> nn.Module:
    """The network that learns in a phase."""
    return state.focus.segmenter if phase in (Phase.PRETRAIN_SEG, Phase.EM_SEG) else state.focus.encoder


def named(prefix: object, results: Results) -> Results:
    """The same results one level down."""
    return {f"{prefix}/{name}": value for name, value in results.items()}


def step_by_step(replicas: ReplicaGroup, phase: Phase) -> Results:
    """Two steps in double precision: what differs then is not rounding."""
    state = fresh(replicas)
    state.focus.double()
    batch = share_of_batch(state)
    batch = batch._replace(images=batch.images.double(), landmarks=batch.landmarks.double())
    results = {}
    for number in (1, 2):
        results |= named(number, told(take(state, phase, batch, number), state))
    return results | kept(learning(state, phase)) | moments(state, phase)


for each in Phase:
    SCENARIOS[f"step_{each}"] = lambda replicas, phase=each: step_by_step(replicas, phase)


@scenario
def a_run(replicas: ReplicaGroup) -> Results:
    """Every phase in its turn and two cycles of EM, in the precision that training has."""
    state, gentle = fresh(replicas), OptimizerSettings(rule="adadelta", lr=0.3)
    results = {}
    for number, phase in enumerate([Phase.WARMUP, Phase.INIT, Phase.PRETRAIN_SEG, *[Phase.EM_SEG, Phase.EM_FACE] * 2]):
        metrics = take(state, phase, share_of_batch(state, seed=number), number // 2, gentle)
        results |= named(number, told(metrics, state))
    focus = state.focus
    return results | named("encoder", kept(focus.encoder)) | named("segmenter", kept(focus.segmenter))


def poisoned(batch: Targets, replicas: ReplicaGroup) -> Targets:
    """NaN in the last image of the batch, which the last copy has."""
    if replicas.rank < replicas.world_size - 1:
        return batch
    images = batch.images.clone()
    images[-1, 1, 16, 16] = torch.nan
    return batch._replace(images=images)


@scenario
def poison(replicas: ReplicaGroup) -> Results:
    """A step with a broken picture, which changes nothing, and the next one without it."""
    results = {}
    for phase in (Phase.INIT, Phase.PRETRAIN_SEG, Phase.EM_SEG, Phase.EM_FACE):
        state = fresh(replicas)
        state.area_weight = 0.3
        batch, before = share_of_batch(state), kept(state.focus)
        broken = told(take(state, phase, poisoned(batch, replicas), 1), state)
        unchanged = [torch.equal(value, before[name]) for name, value in kept(state.focus).items()]
        results |= named(phase, {"unchanged": torch.tensor(unchanged), **named("broken", broken)})
        results |= named(phase, named("after", told(take(state, phase, batch, 1), state)))
    return results


@scenario
def own_batch_norm(replicas: ReplicaGroup) -> Results:
    """A step where every copy normalises its own part, and one of a copy of the networks that saw that part alone."""
    state, alone = (fresh(each, synchronised=False) for each in (replicas, ReplicaGroup()))
    batch = share_of_batch(state)
    for one in (state, alone):
        for phase in (Phase.INIT, Phase.EM_SEG):
            take(one, phase, batch, 1)
    return named("together", kept(state.focus)) | named("alone", kept(alone.focus))


# Accumulation.


class Sharing(ReplicaGroup):
    """Shares its gradients after every part, not after the last one only."""

    @contextmanager
    def accumulate_gradients(self, module: nn.Module, *, sync: bool) -> Iterator[None]:
        with super().accumulate_gradients(module, sync=True):
            yield


@scenario
def accumulation(replicas: ReplicaGroup) -> Results:
    """Steps of S normalised by groups, whose denominators are constant: whole, in parts, and in parts shared early."""
    results = {}
    ways = {"whole": (replicas, 1), "parts": (replicas, 2), "shared": (Sharing(replicas.rank, replicas.world_size), 2)}
    for name, (copies, number) in ways.items():
        state = fresh(copies, norm="group")
        state.accumulation_steps = number
        metrics = take(state, Phase.EM_SEG, share_of_batch(state, count=12), 1)
        results |= named(name, told(metrics, state) | moments(state, Phase.EM_SEG))
    return results


@scenario
def ragged_parts(replicas: ReplicaGroup) -> Results:
    """More parts asked for than the smaller shares have images: nobody waits for a part that another has not got."""
    state = fresh(replicas)
    state.accumulation_steps = 4
    metrics = take(state, Phase.EM_FACE, share_of_batch(state), 1)
    return told(metrics, state)


@scenario
def gradients_kept(replicas: ReplicaGroup) -> Results:
    """Of the slope rank + 1: after a part that is kept, and after the next one that is shared."""
    line = nn.Linear(1, 1, bias=False)
    learner = replicas.wrap_ddp(line)
    gradients = []
    for share in (False, True):
        with replicas.accumulate_gradients(learner, sync=share):
            learner(torch.tensor([[replicas.rank + 1.0]])).sum().backward()
        gradients.append(line.weight.grad.clone())
    return {"gradients": torch.cat(gradients).flatten()}


@scenario
def leaders_parameters(replicas: ReplicaGroup) -> Results:
    """Copies that began with other numbers: the learner begins with the leader's."""
    line = nn.Linear(1, 1)
    nn.init.constant_(line.weight, replicas.rank + 5.0)
    replicas.wrap_ddp(line)
    return {"weight": line.weight.flatten()}


@scenario
def broken_gradient(replicas: ReplicaGroup) -> Results:
    """A loss that is finite everywhere, and one copy's gradient that is not."""
    state, line = TrainState(fresh(replicas).focus, process_group=replicas), nn.Linear(1, 1, bias=False)
    nn.init.constant_(line.weight, 2.0)
    last = replicas.rank == replicas.world_size - 1

    def objective(learner: nn.Module, rows: slice) -> StepLoss:
        value = learner(torch.ones(1, 1)).sum()
        root = (value - value.detach()).clamp_min(0).sqrt() if last else 0.0  # its slope at 0 is infinite
        return StepLoss({"bce": pooled_mean(value + root, 1)}, lambda terms: terms["bce"])

    metrics = optimize_step(state, SchedulePosition(Phase.INIT, 0, 0, 10, 0, 0), line, ADAM, 1, objective)
    return {"weight": line.weight.flatten(), **told(metrics, state)}


# The processes.


def play(rank: int, world: int, meeting: str, folder: Path) -> None:
    """All scenarios as copy `rank` of `world`."""
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group(
            "gloo", f"file://{meeting}", timedelta(seconds=PATIENCE_S), rank=rank, world_size=world
        )
    results = {}
    for name, scene in SCENARIOS.items():
        torch.manual_seed(0)
        results |= named(name, scene(ReplicaGroup(rank, world)))
    values = {name: value.detach().clone().contiguous() for name, value in results.items()}
    save_file(values, folder / f"{world}-{rank}.safetensors")
    if world > 1:
        torch.distributed.destroy_process_group()


def main(folder: Path, world: int) -> int:
    """The number of processes that failed."""
    # What takes seconds to load is loaded once, before the copies fork.
    state = fresh(ReplicaGroup())
    share_of_batch(state)
    load_backward_kernels(state)
    return failures(world, folder)


def load_backward_kernels(state: TrainState) -> None:
    """Call the backward kernel without autograd, whose threads do not survive a fork."""
    kept: list[torch.Tensor] = []
    ctx = SimpleNamespace(
        save_for_backward=lambda *tensors: kept.extend(tensors),
        set_materialize_grads=lambda _: None,
        mark_non_differentiable=lambda _: None,
    )
    face, renderer = state.focus.face_model, state.focus.renderer
    mesh = face.mean[None], face.mean_albedo[None], torch.zeros(1, 10, 3), torch.eye(3)[None], torch.full((1, 3), 1e3)
    image, *_ = mesh_numba._RenderMesh.forward(ctx, *mesh, face.faces, renderer.camera, renderer.cull_back)
    ctx.saved_tensors = tuple(kept)
    mesh_numba._RenderMesh.backward(ctx, image, None, None, None)


def failures(world: int, folder: Path) -> int:
    """Have a group play everything; how many of its copies failed."""
    forked = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as meeting:
        file = str(Path(meeting) / "meeting")
        copies = [forked.Process(target=play, args=(rank, world, file, folder)) for rank in range(world)]
        for each in copies:
            each.start()
        deadline = time.monotonic() + LONGEST_S
        for each in copies:
            each.join(max(0.0, deadline - time.monotonic()))
            each.kill()
            each.join()
    return sum(each.exitcode != 0 for each in copies)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
