"""A tiny whole of networks that every step of the method can be tried on, by one process and by several."""

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from focus_ray import model
from focus_ray.focus.camera import Camera
from focus_ray.focus.state import TrainState

MODEL = model.ModelSettings(
    camera=Camera(image_size=32),
    encoder=model.EncoderSettings(kind="small", width=4),
    segmenter=model.SegmenterSettings(width=4, levels=2, dropout=0.0),
    perceptual=model.PerceptualSettings(kind="warmup_encoder"),
)


@pytest.fixture
def state(ellipsoid_face) -> TrainState:
    focus = model.build(MODEL, ellipsoid_face)
    torch.nn.init.normal_(focus.encoder.head.weight, std=0.02)  # every picture its own face
    return TrainState(focus)


Played = Callable[[str, int], list[dict[str, Tensor]]]


@pytest.fixture(scope="session")
def played(tmp_path_factory, project_root: Path, python: str) -> Played:
    """played(scenario, world): what each copy in a group of `world` computed in a scenario of side_by_side.py."""
    folder = tmp_path_factory.mktemp("side_by_side")
    path = os.pathsep.join([str(project_root), *filter(None, [os.environ.get("PYTHONPATH")])])

    @cache
    def play_group(world: int) -> list[dict[str, Tensor]]:
        done = subprocess.run(
            [python, str(Path(__file__).with_name("side_by_side.py")), str(folder), str(world)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [load_file(folder / f"{world}-{rank}.safetensors") for rank in range(world)]

    def of(scenario: str, world: int) -> list[dict[str, Tensor]]:
        start = f"{scenario}/"
        return [
            {name.removeprefix(start): value for name, value in copy.items() if name.startswith(start)}
            for copy in play_group(world)
        ]

    return of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that asks for `played` waits for its groups."""
    for item in items:
        if "played" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))
