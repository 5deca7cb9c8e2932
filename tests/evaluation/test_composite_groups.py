"""Groups of composites: by the skin of the photograph and by attributes."""

import math

import numpy as np
import pytest

from focus_ray.data.composites.composite_folder import CompositeRow
from focus_ray.data.composites.paste import OpenPhoto
from focus_ray.evaluation.composite_groups import attribute_groups, photo_tones, summarise_groups, tone_groups
from focus_ray.evaluation.composite_scoring import CompositeScores, PictureScores
from focus_ray.numerics.bootstrap import GroupBootstrap
from tests.data.composites.photographs import astronaut

ATTRIBUTES = {"a.jpg": {"glasses": True, "open": False}, "b.jpg": {"glasses": False, "open": True}}


def row(number: int, source: str, family: str) -> CompositeRow:
    training = "none" if family == "none" else "seen"
    return CompositeRow(f"images/{number:06d}.png", source, source, family, training, 0.2)


ROWS = [row(0, "a.jpg", "bar"), row(1, "a.jpg", "none"), row(2, "b.jpg", "bar")]


class Photographs:
    """Composites of pictures in memory; in those of the family bar, the left half is hidden."""

    def __init__(self, rows: list[CompositeRow], photos: dict[str, OpenPhoto]) -> None:
        self.rows = rows
        self.photos = photos

    def __len__(self) -> int:
        return len(self.rows)

    def picture(self, row: CompositeRow) -> np.ndarray:
        image = self.photos[row.source].rgb.copy()
        image[self.occluder(row, *image.shape[:2])] = (0, 0, 255)
        return image

    def landmarks(self, row: CompositeRow) -> np.ndarray:
        return self.photos[row.source].landmarks

    def occluder(self, row: CompositeRow, height: int, width: int) -> np.ndarray:
        hidden = np.zeros((height, width), dtype=bool)
        if row.family != "none":
            hidden[:, : width // 2] = True
        return hidden


def photograph(factor: float, saturation: float = 1.0) -> OpenPhoto:
    photo = astronaut()
    grey = photo.rgb.mean(axis=2, keepdims=True)
    rgb = factor * (grey + saturation * (photo.rgb - grey))
    return OpenPhoto(rgb.astype(np.uint8), photo.landmarks)


def test_the_tone_is_measured_where_most_of_the_cheeks_is_visible():
    photos = {"a.jpg": photograph(1.0), "b.jpg": photograph(0.4)}
    tones = photo_tones(Photographs(ROWS, photos))
    assert list(tones) == ["a.jpg", "b.jpg"]
    assert tones["a.jpg"] == photo_tones(Photographs(ROWS[1:2], photos))["a.jpg"]
    assert tones["a.jpg"] == pytest.approx(photo_tones(Photographs(ROWS[:1], photos))["a.jpg"], abs=15)
    assert tones["b.jpg"] is not None
    assert tones["b.jpg"] < tones["a.jpg"] - 30


def test_photographs_in_black_and_white_and_hidden_ones_have_no_tone():
    photos = {"a.jpg": photograph(1.0, saturation=0.0), "b.jpg": photograph(1.0)}
    composites = Photographs(ROWS, photos)
    composites.occluder = lambda row, height, width: np.full((height, width), row.source == "b.jpg")
    tones = photo_tones(composites)
    assert tones["a.jpg"] is None
    assert math.isnan(tones["b.jpg"])
    groups = tone_groups(ROWS, tones)["skin tone"]
    assert {name: members.tolist() for name, members in groups.items()} == {
        "black and white": [True, True, False],
        "unknown": [False, False, True],
    }


def test_tone_groups_are_pooled_by_their_number_of_persons():
    rows = [row(number, f"{number // 2}.jpg", "bar") for number in range(64)]
    tones = {f"{number}.jpg": 5.0 if number < 16 else 20.0 if number < 31 else None for number in range(32)}
    groups = tone_groups(rows, tones)["skin tone"]
    assert {name: int(members.sum()) for name, members in groups.items()} == {
        "brown": 32,
        "tan": 30,
        "black and white": 2,
    }
    tones |= {"16.jpg": None, "17.jpg": None}
    assert list(tone_groups(rows, tones)["skin tone"]) == ["brown to tan", "black and white"]


def test_attributes_other_than_open_are_groups():
    groups = attribute_groups(ROWS, ATTRIBUTES)
    assert {name: members.tolist() for name, members in groups["glasses"].items()} == {
        "yes": [True, True, False],
        "no": [False, False, True],
    }
    assert list(groups) == ["glasses"]
    assert attribute_groups(ROWS, {}) == {}


@pytest.mark.parametrize("detected", [False, True])
def test_figures_of_the_models_own_mask_by_group(detected: bool):
    table = np.array(
        [
            PictureScores(80, 20, 10, 190, 0.3, 0.04, 20.0, 50.0),
            PictureScores(0, 0, 30, 270, 0.1, 0.02, 20.0, 40.0),
            PictureScores(*[np.nan] * 8),
        ]
    )
    scores = CompositeScores(
        ROWS, np.array([True, True, False]), {("one_pass", "own"): table, ("one_pass", "all_ones"): table}
    )
    composites = Photographs(ROWS, {"a.jpg": photograph(1.0), "b.jpg": photograph(1.0)})
    bootstrap = GroupBootstrap([one.person for one in ROWS])
    groups = summarise_groups(composites, scores, bootstrap, ATTRIBUTES, detected)
    wearers = groups["glasses"]["yes"]
    assert wearers["persons"] == 1
    figures = wearers["figures"]["one_pass"]
    assert figures["occluded"]["outlier_iou"]["value"] == pytest.approx(80 / 110)
    assert figures["open"]["false_alarms"]["value"] == pytest.approx(10.0)
    tone = photo_tones(composites)["a.jpg"]
    assert tone is not None
    assert figures["all"]["tone_difference"]["value"] == pytest.approx(45.0 - tone)
    assert wearers["differences"]["one_pass"]["occluded"]["nme"]["value"] is None  # nobody else was found
    others = groups["glasses"]["no"]
    assert others["figures"]["one_pass"]["occluded"] == {
        "pictures": 0,
        **{key: {"value": None, "low": None, "high": None} for key in list(figures["occluded"])[1:]},
    }
    assert (None if others["detection"] is None else others["detection"]["found"]) == (0 if detected else None)
    (everybody,) = groups["skin tone"].values()
    assert everybody["persons"] == 2
