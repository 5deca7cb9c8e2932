"""The AR layout as it is written."""

import numpy as np

from focus_ray.data.dataset_writers.ar_writer import KINDS, file_name
from focus_ray.data.dataset_writers.picture_kinds import faces_by_kind
from focus_ray.data.dataset_writers.picture_writer import first_picture, visible_mask
from focus_ray.data.sources.ar import read_ar
from tests.data.dataset_writers.sets import SEED, SIZE, N, world


def test_what_is_read_is_what_was_made(ar):
    pictures, faces = read_ar(ar), faces_by_kind(KINDS, world(), SEED, SIZE)
    assert pictures.missing == []
    assert pictures.aligned
    assert sorted(pictures.names) == sorted(file_name(index)[:-4] for index in range(N["ar"]))
    for index in range(N["ar"]):
        made, name = faces[index % 3].batch([index]), file_name(index)[:-4]
        assert np.array_equal(pictures.picture(name), first_picture(made))
        assert np.array_equal(pictures.mask(name), visible_mask(made))
        np.testing.assert_allclose(pictures.landmarks(name), made.landmarks[0], atol=0.0051)
        assert made.families is not None
        allowed = {"01": {"none"}, "08": {"sunglasses", "glasses"}, "11": {"scarf"}}[name[-2:]]
        assert made.families[0] in allowed


def test_persons_and_numbers_make_the_name():
    assert [file_name(index) for index in (0, 1, 2, 3, 6)] == [
        "m-001-01.png",
        "m-001-08.png",
        "m-001-11.png",
        "w-001-01.png",
        "m-002-01.png",
    ]
