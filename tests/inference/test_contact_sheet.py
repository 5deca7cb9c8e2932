"""The sheet shows every picture in five tiles: boxes, overlay, mask and two heads; captions stay inside."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from focus_ray.inference import Reconstructor
from focus_ray.inference.contact_sheet import ContactSheet
from focus_ray.inference.face_result import FaceResult
from focus_ray.model import Model

TILE, CAPTION = 192, 18
GREEN = np.array([80, 220, 100])


@pytest.fixture
def face(reconstructor: Reconstructor, portrait: np.ndarray) -> FaceResult:
    (face,) = reconstructor.reconstruct(portrait, refine=0)
    return face._replace(arrays=replace(face.arrays, soft_mask=face.arrays.region.astype(np.float32)))


@pytest.fixture
def sheet(untrained: Model) -> ContactSheet:
    return ContactSheet(untrained.focus.face_model, untrained.settings.camera)


def drawn(sheet: ContactSheet) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(sheet.to_png(), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found[..., ::-1]


def tiles(sheet: ContactSheet, row: int = 0) -> list[np.ndarray]:
    line = drawn(sheet)[row * (TILE + CAPTION) :][:TILE]
    return [line[:, start : start + TILE] for start in range(0, line.shape[1], TILE)]


def test_every_picture_has_an_entry_and_two_are_in_a_row(face: FaceResult, portrait: np.ndarray, sheet: ContactSheet):
    assert drawn(sheet).shape == (TILE + CAPTION, 5 * TILE, 3)
    sheet.add("one", portrait, [face])
    assert drawn(sheet).shape == (TILE + CAPTION, 5 * TILE, 3)
    sheet.add("größe", np.zeros((1, 900, 3), np.uint8), [])
    sheet.add("damaged", None, [])
    found = drawn(sheet)
    assert found.shape == (2 * (TILE + CAPTION), 10 * TILE, 3)
    assert (found[TILE + CAPTION :][:TILE] == 255).all()  # nothing of what could not be read


def test_the_tiles_are_boxes_overlay_mask_and_the_head_from_two_sides(
    face: FaceResult, portrait: np.ndarray, sheet: ContactSheet
):
    sheet.add("one", portrait, [face])
    sheet.add("hidden", portrait, [face._replace(arrays=replace(face.arrays, soft_mask=0 * face.arrays.soft_mask))])
    (boxed, overlay, mask, left, right), (_, nothing, hidden, *_) = tiles(sheet)[:5], tiles(sheet)[5:]
    box = (boxed == GREEN).all(axis=2)
    assert box.any()
    assert np.abs(overlay.astype(int) - nothing)[~box].mean() > 2
    red = (hidden[..., 0].astype(int) - hidden[..., 1:].max(axis=2)) > 150
    assert red.sum() > 2000
    assert np.abs(mask[red].astype(int) - nothing[red]).mean() < 2  # visible: as in the photograph
    middle = cv2.erode((~red).astype(np.uint8), np.ones((5, 5))) > 0
    assert hidden[middle].mean() < 0.4 * nothing[middle].mean()  # dark around the face
    for head in (left, right):
        assert head[0, 0].tolist() == [225, 225, 225]
        assert (head != 225).any(axis=2).mean() > 0.3
    assert np.abs(left.astype(int) - right).mean() > 5


def test_the_box_lies_on_the_face_and_small_pictures_are_enlarged(
    face: FaceResult, portrait: np.ndarray, sheet: ContactSheet
):
    sheet.add("large", portrait, [face])
    small = cv2.resize(portrait, (70, 60), interpolation=cv2.INTER_AREA)
    ratio = np.array([[5.0, 0.0, 2.0], [0.0, 5.0, 2.0], [0.0, 0.0, 1.0]])
    x, y, width, height = face.face.box
    resized = FaceResult(
        face.face.model_copy(update={"box": (x / 5, y / 5, width / 5, height / 5)}),
        replace(face.arrays, transform=face.arrays.transform @ ratio),
    )
    sheet.add("small", small, [resized])
    found = tiles(sheet)
    places = [np.argwhere((tile == GREEN).all(axis=2)) for tile in (found[0], found[5])]
    corners = [np.concatenate([place.min(axis=0), place.max(axis=0)]) for place in places]
    assert np.abs(corners[0] - corners[1]).max() < 8


def test_of_several_faces_the_largest_has_the_thick_box_and_the_heads(
    face: FaceResult, portrait: np.ndarray, sheet: ContactSheet
):
    x, y, width, height = face.face.box
    smaller = face._replace(face=face.face.model_copy(update={"box": (x + 10, y + 10, width / 2, height / 2)}))
    other = replace(smaller.arrays.mesh, colours=np.zeros_like(smaller.arrays.mesh.colours))
    smaller = smaller._replace(arrays=replace(smaller.arrays, mesh=other))
    sheet.add("alone", portrait, [face])
    sheet.add("two", portrait, [smaller, face])
    alone, two = tiles(sheet)[:5], tiles(sheet)[5:]
    np.testing.assert_array_equal(alone[3], two[3])
    assert (two[0] == GREEN).all(axis=2).sum() > 1.8 * (alone[0] == GREEN).all(axis=2).sum()


@pytest.mark.parametrize("letter", ["i", "m"])
def test_a_long_caption_keeps_its_end(letter: str, sheet: ContactSheet, monkeypatch):
    written = []
    monkeypatch.setattr(cv2, "putText", lambda image, text, *rest: written.append(text))
    sheet.add(300 * letter + ": 1 face, occluded 12%", None, [])
    sheet.add("short: 1 face, occluded 12%", None, [])
    long, short = written
    assert long.startswith("..." + 10 * letter)
    assert long.endswith(letter + ": 1 face, occluded 12%")
    assert 5 * TILE - 30 < cv2.getTextSize(long, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] < 5 * TILE
    assert short == "short: 1 face, occluded 12%"


def test_of_many_pictures_the_first_200_are_shown(sheet: ContactSheet):
    for number in range(203):
        sheet.add(str(number), None, [])
    assert drawn(sheet).shape[0] == 100 * (TILE + CAPTION)
