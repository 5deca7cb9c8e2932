"""What is planted on faces: where it lies, what it shows, and who is right about it."""

import pytest
import torch

from focus_ray.training.occlusion_probe import donor_indices, paste_patches, probe_overlap

SIZE = 64
LANDMARKS = torch.rand(4, 68, 2, generator=torch.Generator().manual_seed(0)) * 32 + 16
IMAGES = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
OTHERS = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def test_pieces_of_the_others_lie_there_and_nowhere_else():
    changed, where = paste_patches(IMAGES, LANDMARKS, OTHERS, range(4))
    inside = where.bool().expand_as(changed)
    assert torch.equal(changed[~inside], IMAGES[~inside])
    for row in range(4):
        assert 0 < where[row].sum() < 0.3 * SIZE * SIZE
        assert torch.isin(changed[row][inside[row]], OTHERS[row]).all()
        centre = where[row, 0].nonzero().float().mean(dim=0).flip(0)
        assert (LANDMARKS[row] - centre).norm(dim=-1).min() < 3


def test_the_same_picture_gets_the_same_piece_in_any_batch():
    changed, where = paste_patches(IMAGES, LANDMARKS, OTHERS, [5, 6, 7, 8])
    alone, there = paste_patches(IMAGES[2:3], LANDMARKS[2:3], OTHERS[2:3], [7])
    assert torch.equal(changed[2:3], alone)
    assert torch.equal(where[2:3], there)
    assert not torch.equal(where, paste_patches(IMAGES, LANDMARKS, OTHERS, [0, 1, 2, 3])[1])


def test_partners_are_others():
    for count in (2, 3, 50):
        found = donor_indices(range(count), count)
        assert all(0 <= one < count and one != number for number, one in enumerate(found))
    assert donor_indices([0], 1) == [0]


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        (1.0, "found", 1.0),
        (1.0, 1.0, 0.0),  # leaves out nothing
        (0.0, 0.0, 0.0),  # leaves out everything, and did before
        (1.0, 0.0, 0.25),  # gives up
        (0.5, "found", 0.5),  # had half of it out before
    ],
)
def test_intersection_and_union(before, after, share):
    where = torch.zeros(1, 1, 8, 8)
    where[..., :4, :4] = 1
    region = torch.ones(1, 1, 8, 8)
    start = torch.full_like(region, before)
    end = start * (1 - where) if after == "found" else torch.full_like(region, after)
    both, either = probe_overlap(start, end, where, region)
    assert float(both / either) == pytest.approx(share)


def test_outside_the_region_nothing_counts():
    where, region = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    both, either = probe_overlap(where, 0 * where, where, region)
    assert float(both) == float(either) == 0
