"""Each person is seen in each kind of picture."""

import torch

from focus_ray.data.dataset_writers.picture_kinds import PictureKind, faces_by_kind
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from tests.data.dataset_writers.sets import world

KINDS = (PictureKind("bare", occluded=0.0, expression=0.0), PictureKind("scarf", occluded=1.0, families=("scarf",)))


def test_a_person_keeps_identity_and_albedo_and_the_kind_decides_the_rest():
    bare, scarf = faces_by_kind(KINDS, world(), seed=4, size=32)
    one, other, next_one = bare.batch([0]), scarf.batch([1]), bare.batch([2])
    assert torch.equal(one.theta[:, :80], other.theta[:, :80])
    assert torch.equal(one.theta[:, 144:224], other.theta[:, 144:224])
    assert not torch.equal(one.theta[:, :80], next_one.theta[:, :80])
    assert one.families == ["none"]
    assert other.families == ["scarf"]
    assert torch.equal(one.theta[:, 80:144], torch.zeros(1, 64))
    assert other.theta[:, 80:144].abs().max() > 0.5
    assert torch.equal(bare.neutral_vertices([0]), scarf.neutral_vertices([1]))
    assert torch.equal(bare.neutral_vertices([0]), one.vertices), "without expression a face is at rest"


def test_a_kind_without_laws_is_the_held_out_world_itself():
    (any_face,) = faces_by_kind((PictureKind("any"),), world(), seed=4, size=32)
    faces = SyntheticFaces(world(), SyntheticConfig(seed=4, image_size=32), "heldout")
    assert torch.equal(any_face.batch([3]).images, faces.batch([3]).images)
