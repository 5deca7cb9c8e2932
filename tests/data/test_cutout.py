"""Cutout and cutmix."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from focus_ray.data.cutout import cut_out
from focus_ray.data.sample import Batch


@dataclass
class Plain:
    """Face n has the colour n / 10 everywhere and is seen everywhere."""

    size: int = 16

    def batch(self, indices: Sequence[int]) -> Batch:
        colours = torch.tensor(list(indices), dtype=torch.float32)[:, None, None, None] / 10
        return Batch(
            images=colours.expand(-1, 3, self.size, self.size).contiguous(),
            landmarks=torch.zeros(len(indices), 68, 2),
            masks=torch.ones(len(indices), 1, self.size, self.size),
        )


@pytest.mark.parametrize("kind", ["cutout", "cutmix"])
def test_what_is_cut_out_is_no_face_and_all_else_is_as_it_was(kind):
    numbers = [0, 1, 2, 3, 4, 5]
    before = Plain().batch(numbers)
    after = cut_out(before, kind, Plain(), 8, seed=0, step=3, numbers=numbers)
    assert after.masks is not None
    kept = after.masks.bool().expand_as(after.images)
    assert torch.equal(after.images[kept], before.images[kept])
    assert 0 < float(after.masks.mean()) < 1
    assert bool((before.masks == 1).all())  # the set itself is not touched


def test_cutout_is_grey_and_half_a_side_at_most():
    numbers = list(range(20))
    after = cut_out(Plain().batch(numbers), "cutout", Plain(), 20, seed=0, step=0, numbers=numbers)
    assert after.masks is not None
    hidden = after.masks == 0
    assert torch.unique(after.images[hidden.expand_as(after.images)]).tolist() == [0.5]
    assert int(hidden.flatten(1).sum(1).max()) == 64
    assert int(hidden.flatten(1).sum(1).min()) >= 16  # a corner of it lies in the picture


def test_cutmix_shows_other_faces_of_the_set():
    numbers = list(range(30))
    after = cut_out(Plain().batch(numbers), "cutmix", Plain(), 100, seed=0, step=0, numbers=numbers)
    assert after.masks is not None
    hidden = (after.masks == 0).expand_as(after.images)
    assert len(torch.unique(after.images[hidden])) > 10


@pytest.mark.parametrize("kind", ["cutout", "cutmix"])
def test_a_face_is_cut_alike_whoever_is_beside_it_and_otherwise_at_another_step(kind):
    def of(numbers: list[int], step: int = 3) -> torch.Tensor:
        return cut_out(Plain().batch(numbers), kind, Plain(), 50, seed=1, step=step, numbers=numbers).images

    assert torch.equal(of([4, 7])[1], of([7, 1, 2])[0])
    assert not torch.equal(of([7]), of([7], step=4))
