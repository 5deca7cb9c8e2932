"""Skin tone: the typology angle, its classes, the cheeks of a photograph, and pooled classes."""

import math

import numpy as np
import pytest
from skimage.color import rgb2lab

from focus_ray.evaluation.skin_tone import cheek_pixels, pool_classes, tone_class, typology_angle
from tests.data.composites.photographs import astronaut


@pytest.mark.parametrize("rgb", [(0.9, 0.75, 0.65), (0.3, 0.2, 0.15), (0.6, 0.45, 0.35)])
def test_the_angle_is_that_of_its_formula(rgb: tuple[float, float, float]):
    lightness, _, yellow = rgb2lab(np.array(rgb))
    assert typology_angle(np.array(rgb)) == pytest.approx(math.degrees(math.atan((lightness - 50) / yellow)), abs=0.5)


def test_classes_lie_between_the_published_limits():
    assert [tone_class(angle) for angle in (-31.0, -29.0, 11.0, 29.0, 42.0, 56.0)] == [0, 1, 2, 3, 4, 5]


def test_cheeks_are_skin_and_what_hides_them_is_left_out():
    photo = astronaut()
    nothing = np.zeros(photo.rgb.shape[:2], dtype=bool)
    pixels = cheek_pixels(photo.rgb, photo.landmarks, nothing)
    assert len(pixels) > 200
    red, green, blue = np.median(pixels, axis=0)
    assert red > green > blue > 0.3
    left = nothing.copy()
    left[:, : int(photo.landmarks[30, 0])] = True
    assert 0.3 < len(cheek_pixels(photo.rgb, photo.landmarks, left)) / len(pixels) < 0.7
    assert not len(cheek_pixels(photo.rgb, photo.landmarks, ~nothing))


@pytest.mark.parametrize(
    ("persons", "groups"),
    [
        (
            {0: 1, 1: 11, 2: 46, 3: 63, 4: 32, 5: 8},
            ["dark to tan"] * 3 + ["intermediate"] + ["light to very light"] * 2,
        ),
        ({0: 15, 2: 15}, ["dark", "tan"]),
        ({0: 14, 2: 15}, ["dark to tan"] * 2),
        ({1: 20, 2: 3, 3: 18}, ["brown", "tan to intermediate", "tan to intermediate"]),
        ({4: 2, 5: 0}, ["light"]),
        ({}, []),
    ],
)
def test_small_classes_are_pooled_with_the_smaller_neighbour(persons: dict[int, int], groups: list[str]):
    assert pool_classes(persons) == {
        number: group for number, group in zip([one for one in persons if persons[one]], groups, strict=True)
    }
