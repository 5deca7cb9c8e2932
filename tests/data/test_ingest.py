"""What an actor sends: the bits of its batch, in 8 bits where that is possible, or the error of the package."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from focus_ray.data.ingest import _BatchActor, _unpack
from focus_ray.data.sample import Batch
from focus_ray.errors import StorageError

ROW = {"step": np.array([3])}


def batch(images: torch.Tensor) -> Batch:
    return Batch(images, torch.rand(len(images), 68, 2))


@pytest.mark.parametrize(
    ("images", "kind"),
    [
        ((torch.arange(256 * 3) % 256).float().view(1, 3, 16, 16) / 255, np.uint8),
        (torch.rand(2, 3, 8, 8), np.float32),
        (torch.tensor([-0.5, 0.0, 1.5]).view(1, 3, 1, 1), np.float32),
    ],
)
def test_every_bit_comes_back(images, kind):
    sent = batch(images)
    row = _BatchActor(lambda: lambda step: sent)(ROW)
    assert row["step"].item() == 3
    assert row["images"].dtype == kind
    arrived = _unpack(row)
    assert torch.equal(arrived.images, sent.images)
    assert torch.equal(arrived.landmarks, sent.landmarks)
    arrived.images.zero_()  # not the memory that the row lies in
    assert torch.equal(_unpack(row).images, sent.images)


@pytest.mark.parametrize("name", ["masks", "planted"])
def test_masks_and_planted_pixels_come_back_where_there_are_some(name):
    pixels = (torch.rand(2, 1, 5, 5) > 0.5).float()
    sent = replace(Batch(torch.rand(2, 3, 5, 5), torch.rand(2, 68, 2)), **{name: pixels})
    arrived = _unpack(_BatchActor(lambda: lambda step: sent)(ROW))
    assert torch.equal(getattr(arrived, name), pixels)
    assert getattr(_unpack(_BatchActor(lambda: lambda step: batch(torch.rand(1, 3, 2, 2)))(ROW)), name) is None


def test_a_source_is_built_once():
    built = []

    def make():
        built.append(1)
        return lambda step: batch(torch.full((1, 3, 2, 2), float(step)))

    maker = _BatchActor(make)
    assert [_unpack(maker({"step": np.array([step])})).images.max() for step in range(3)] == [0, 1, 2]
    assert built == [1]


def test_an_error_of_the_package_travels_as_a_row_and_any_other_as_it_is():
    def refuse(step: int) -> Batch:
        raise StorageError("nothing answers; start the server")

    def absent():
        return refuse(0)

    for make in (absent, lambda: refuse):
        row = _BatchActor(make)(ROW)
        assert (row["error"].item(), row["message"].item()) == ("StorageError", "nothing answers; start the server")
    with pytest.raises(ZeroDivisionError):
        _BatchActor(lambda: lambda step: 1 // 0)(ROW)


def test_the_module_is_light(python, python_environment):
    code = "import sys, focus_ray.data.ingest; sys.exit(bool({'ray', 'pyarrow', 'boto3'} & set(sys.modules)))"
    assert subprocess.run([python, "-c", code], env=python_environment, timeout=120).returncode == 0
