"""ResNet-18 and -50: the names and shapes of torchvision's and timm's files, loading them, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.encoder import ResNet18Encoder, ResNet50Encoder
from focus_ray.focus.networks.resnet import ResNet18, ResNet50
from focus_ray.storage.weights import read_weights


def batch_norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return parts | {f"{name}.num_batches_tracked": ()}


def torchvision_layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes of resnet50's published state dict, written down from its description."""
    layout = {"conv1.weight": (64, 3, 7, 7)} | batch_norm("bn1", 64)
    n_in = 64
    for stage, (width, depth) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for i in range(depth):
            name = f"layer{stage}.{i}"
            layout[f"{name}.conv1.weight"] = (width, n_in, 1, 1)
            layout[f"{name}.conv2.weight"] = (width, width, 3, 3)
            layout[f"{name}.conv3.weight"] = (4 * width, width, 1, 1)
            for norm, channels in (("bn1", width), ("bn2", width), ("bn3", 4 * width)):
                layout |= batch_norm(f"{name}.{norm}", channels)
            if i == 0:
                layout[f"{name}.downsample.0.weight"] = (4 * width, n_in, 1, 1)
                layout |= batch_norm(f"{name}.downsample.1", 4 * width)
            n_in = 4 * width
    return layout | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


def resnet18_layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes of resnet18's published state dict, the same in torchvision and timm."""
    layout = {"conv1.weight": (64, 3, 7, 7)} | batch_norm("bn1", 64)
    for stage, (n_in, width) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for i in range(2):
            name = f"layer{stage}.{i}"
            layout[f"{name}.conv1.weight"] = (width, n_in if i == 0 else width, 3, 3)
            layout[f"{name}.conv2.weight"] = (width, width, 3, 3)
            layout |= batch_norm(f"{name}.bn1", width) | batch_norm(f"{name}.bn2", width)
        if n_in != width:
            layout[f"layer{stage}.0.downsample.0.weight"] = (width, n_in, 1, 1)
            layout |= batch_norm(f"layer{stage}.0.downsample.1", width)
    return layout | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """A stand-in for torchvision's file: its names and shapes, other numbers."""
    generator = torch.Generator().manual_seed(3)
    layout = torchvision_layout()
    return {
        name: torch.tensor(7) if shape == () else 0.05 * torch.rand(shape, generator=generator)
        for name, shape in layout.items()
    }


def test_names_and_shapes_are_torchvisions():
    with torch.device("meta"):
        own = {name: tuple(value.shape) for name, value in ResNet50().state_dict().items()}
    expected = {name: shape for name, shape in torchvision_layout().items() if not name.startswith("fc.")}
    assert own == expected
    assert len(expected) == 318
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet50().parameters()) == 23_508_032


def test_published_weights_load_and_the_head_stays_zero(published):
    encoder = ResNet50Encoder()
    encoder.load_imagenet(published)
    state = encoder.state_dict()
    assert all(torch.equal(state[name], value) for name, value in published.items() if not name.startswith("fc."))
    assert not state["head.weight"].any()


def test_files_without_batch_counters_load(published):
    trunk = ResNet50()
    trunk.load_imagenet({k: v for k, v in published.items() if not k.endswith("num_batches_tracked")})
    assert torch.equal(trunk.state_dict()["layer4.2.conv3.weight"], published["layer4.2.conv3.weight"])


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: without(s, "layer3.5.bn2.weight"), "lacks layer3.5.bn2.weight"),
        (lambda s: {k: v for k, v in s.items() if k.startswith("fc.")}, "lacks conv1.weight, .* and 262 more"),
        (lambda s: s | {"layer5.weight": torch.ones(1)}, "also holds layer5.weight"),
        (lambda s: s | {"conv1.weight": torch.ones(64, 3, 3, 3)}, "another shape for conv1.weight"),
        (lambda s: s | {"bn1.bias": torch.full((64,), float("nan"))}, "not finite for bn1.bias"),
    ],
)
def test_other_files_are_refused_and_change_nothing(published, change, reason):
    trunk = ResNet50()
    before = trunk.conv1.weight.clone()
    with pytest.raises(CheckpointError, match=f"ResNet-50 of torchvision or timm.*{reason}"):
        trunk.load_imagenet(change(published))
    assert torch.equal(trunk.conv1.weight, before)


def test_features_and_shallow_map_have_the_documented_shapes():
    trunk = ResNet50().eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert trunk.features(images).shape == (2, 2048)
        assert trunk.shallow(images).shape == (2, 256, 16, 16)


def test_names_and_shapes_of_resnet18_are_the_published_ones():
    with torch.device("meta"):
        own = {name: tuple(value.shape) for name, value in ResNet18().state_dict().items()}
        assert sum(p.numel() for p in ResNet18().parameters()) == 11_176_512
    assert own == {name: shape for name, shape in resnet18_layout().items() if not name.startswith("fc.")}


@pytest.mark.parametrize(
    ("file", "prefix"), [("resnet18.pth", ""), ("resnet18.safetensors", ""), ("resnet18.pth", "module.")]
)
def test_resnet18_loads_from_files_of_torchvision_and_timm(tmp_path, file, prefix):
    state = {prefix + k: torch.full(shape, 0.25) for k, shape in resnet18_layout().items() if shape}
    (save_file if file.endswith("safetensors") else torch.save)(state, tmp_path / file)
    encoder = ResNet18Encoder()
    encoder.load_imagenet(read_weights(tmp_path / file))
    own = encoder.state_dict()
    assert all(torch.equal(own[k.removeprefix(prefix)], v) for k, v in state.items() if "fc." not in k)
    images = torch.rand(2, 3, 64, 64)
    assert encoder.eval().features(images).shape == (2, 512)
    assert encoder.shallow(images).shape == (2, 64, 16, 16)


def test_the_other_depth_is_refused(published):
    with pytest.raises(CheckpointError, match=r"ResNet-18 of torchvision or timm.*holds layer1\.0\.conv3"):
        ResNet18().load_imagenet(published)
