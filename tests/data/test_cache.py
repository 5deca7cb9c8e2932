"""Tests of focus_ray.data.cache."""

import torch

from focus_ray.data.cache import CachedFaces
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticFaces
from tests.ellipsoid_face import ellipsoid_face


class _Counted:
    """Faces that remember what they were asked for."""

    def __init__(self, faces):
        self.faces = faces
        self.asked = []

    def batch(self, indices):
        self.asked += list(indices)
        return self.faces.batch(indices)


def test_a_kept_image_has_the_bits_of_a_fresh_one_and_is_made_once():
    counted = _Counted(SyntheticFaces(ellipsoid_face()))
    kept = CachedFaces(counted, vertices=True)
    for rows in ([3, 1], [1, 2, 3, 1]):
        found, fresh = kept.batch(rows), counted.faces.batch(rows)
        assert found.families == fresh.families
        assert found.names == fresh.names
        for name in ("images", "landmarks", "landmarks_true", "masks", "region", "theta", "vertices"):
            assert torch.equal(getattr(found, name), getattr(fresh, name)), name
    assert sorted(counted.asked) == [1, 2, 3]


def test_vertices_are_kept_only_when_asked_for():
    assert CachedFaces(SyntheticFaces(ellipsoid_face())).batch([0]).vertices is None


def test_what_is_not_known_stays_unknown():
    class Photos:
        def batch(self, indices):
            return Batch(images=torch.ones(len(indices), 3, 8, 8), landmarks=torch.zeros(len(indices), 68, 2))

    batch = CachedFaces(Photos()).batch([4, 4])
    assert batch.images.shape == (2, 3, 8, 8)
    assert batch.masks is batch.families is batch.names is batch.theta is None
