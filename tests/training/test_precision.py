"""Mixed precision: the networks in half the bits where the device has them, and everything else as it was."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from focus_ray.focus.optimizers import UpdateRule
from focus_ray.focus.replica_group import ReplicaGroup
from focus_ray.training import precision
from focus_ray.training.loop import train_steps
from focus_ray.training.precision import autocast_context, supports_bfloat16

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["with_bfloat16", "without"])
def capable(request, monkeypatch) -> bool:
    """Devices that multiply bfloat16 in hardware, and such that do not."""

    def supported(*, including_emulation: bool) -> bool:
        return request.param or including_emulation  # torch emulates it on every GPU

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: request.param)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    return request.param


@pytest.fixture
def half(monkeypatch) -> None:
    """As if this machine multiplied bfloat16."""
    monkeypatch.setattr(precision, "supports_bfloat16", lambda device: True)


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:3"])
def test_a_device_has_it_or_has_not(capable, device):
    assert supports_bfloat16(torch.device(device)) is capable


def test_mixed_is_half_the_bits_where_the_device_has_them_only(capable):
    layer, x = nn.Linear(3, 2), torch.ones(1, 3)
    with autocast_context("mixed", CPU):
        assert layer(x).dtype == (torch.bfloat16 if capable else torch.float32)
    assert layer(x).dtype == torch.float32


def test_float32_is_float32_everywhere(half):
    with autocast_context("float32", CPU):
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.float32


def mixed(miniature):
    """A miniature run in mixed precision."""
    compute = miniature.config.compute.model_copy(update={"precision": "mixed"})
    miniature.config = miniature.config.model_copy(update={"compute": compute})
    return miniature


class Pooling(ReplicaGroup):
    """Remembers the terms that are not added up in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: set[str] = set()

    def all_reduce(self, terms):
        self.halves |= {
            name for name, pooled in terms.items() if {number.dtype for number in pooled} != {torch.float32}
        }
        return super().all_reduce(terms)


def test_networks_in_half_the_bits_and_the_rest_in_float32(miniature, half):
    state = mixed(miniature).state()
    state.process_group = Pooling()
    seen: dict[str, set[torch.dtype]] = {}

    def watch(name: str, module: nn.Module) -> None:
        def look(module, inputs, output) -> None:
            if dataclasses.is_dataclass(output):  # a rendering
                values = (getattr(output, field.name) for field in dataclasses.fields(output))
                types = {value.dtype for value in values if value.is_floating_point()}
            else:
                types = {output.dtype}
            seen.setdefault(name, set()).update(types)

        module.register_forward_hook(look)

    focus = state.focus
    watched = {
        "first layer of R": focus.encoder.stem[0],
        "last map of R": focus.encoder.res4,
        "theta": focus.encoder.head,
        "rendering": focus.renderer,
        "first layer of S": focus.segmenter.down[0][0],
        "last layer of S": focus.segmenter.last,
    }
    for name, module in watched.items():
        watch(name, module)
    for record in train_steps(state, miniature.config, miniature.targets_of, miniature.guard()):
        if record.step == 4:  # F is made when the warm-up is over
            watch("first layer of F", focus.perceptual.network.stem[0])
    halves = {"first layer of R", "last map of R", "first layer of S", "last layer of S", "first layer of F"}
    assert seen == {name: {torch.bfloat16} if name in halves else {torch.float32} for name in [*watched, *halves]}
    assert state.process_group.halves == set()
    tensors = [*focus.encoder.state_dict().values(), *focus.segmenter.state_dict().values()]
    tensors += [value for optimizer in state.optimizers.values() for value in moments(optimizer)]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}


def moments(optimizer: UpdateRule) -> list[torch.Tensor]:
    """The tensors that an optimiser keeps."""
    return [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]


def test_a_short_run_in_mixed_precision_stays_finite_and_near_the_exact_one(miniature, half):
    def losses() -> list[float]:
        records = list(train_steps(miniature.state(), miniature.config, miniature.targets_of, miniature.guard()))
        assert not any(record.metrics.skipped for record in records)
        assert all(math.isfinite(value) for record in records for value in record.metrics.losses.values())
        return [record.metrics.losses["total"] for record in records]

    exact = losses()
    mixed(miniature)
    rounded = losses()
    assert rounded != exact
    # The first steps of R and of S, before two runs drift apart.
    assert rounded[:2] == pytest.approx(exact[:2], rel=0.02)
    assert rounded[4] == pytest.approx(exact[4], rel=0.1)
