"""Skin pieces come from the faces given."""

import numpy as np
import pytest

from focus_ray.data.composites.training.skin_pieces import SkinPieces
from focus_ray.errors import DataError
from tests.data.composites.photographs import astronaut


def test_no_face_is_refused():
    with pytest.raises(DataError, match="at least one face"):
        SkinPieces([])


def test_a_piece_has_the_colours_of_its_face():
    photo = astronaut()
    green = np.zeros_like(photo.rgb)
    green[..., 1] = 200
    family = SkinPieces([(green, photo.landmarks)])
    for seed in range(10):
        rgb, alpha = family(np.random.default_rng(seed), 230, photo.landmarks, np.array([0.0, 0.7, 0.0]))
        assert rgb[alpha > 0.5, 1].mean() > 0.4
        assert rgb[alpha > 0.5][:, [0, 2]].max() == 0
