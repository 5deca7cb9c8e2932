"""Overlays and masks lie where the face is, in the picture's own size; the sheet shows every picture."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from focus_ray.inference import Reconstructor
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.overlay import (
    ContactSheet,
    composite_layers,
    crop_to_faces,
    crop_window,
    draw_overlay,
    encode_png,
    image_mask,
    render_layer,
    shrink_to_fit,
)
from focus_ray.model import Model


@pytest.fixture
def face(reconstructor: Reconstructor, portrait: np.ndarray) -> FaceResult:
    (face,) = reconstructor.reconstruct(portrait, refine=0)
    arrays = face.arrays
    upper = arrays.region.copy()
    upper[16:] = False  # the lower half of the crop is occluded
    return face._replace(arrays=replace(arrays, mask=upper))


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_mask_has_the_size_of_the_picture_and_lies_on_the_face(face: FaceResult, portrait: np.ndarray):
    mask = image_mask(face.arrays, *portrait.shape[:2])
    assert mask.shape == portrait.shape[:2]
    landmarks = np.array(face.face.landmarks).round().astype(int)
    brows, mouth = landmarks[17:27], landmarks[48:68]
    assert mask[brows[:, 1], brows[:, 0]].all()
    assert not mask[mouth[:, 1], mouth[:, 0]].any()
    scale = np.sqrt(abs(np.linalg.det(face.arrays.transform[:, :2])))
    assert mask.sum() == pytest.approx(face.arrays.mask.sum() / scale**2, rel=0.05)


def test_the_overlay_changes_what_is_seen_and_nothing_else(face: FaceResult, portrait: np.ndarray, untrained: Model):
    result = draw_overlay(portrait, [face], untrained.focus.face_model, untrained.settings.camera)
    assert result.image.shape == portrait.shape
    changed = (result.image != portrait).any(axis=2)
    assert not changed[result.visibility == 0].any()
    assert changed[result.visibility > 0.9].mean() > 0.9
    assert (result.region >= result.visibility - 1e-9).all()
    nothing = draw_overlay(portrait, [], untrained.focus.face_model, untrained.settings.camera)
    np.testing.assert_array_equal(nothing.image, portrait)


def test_a_layer_is_the_face_alone_and_several_lie_one_over_the_other(
    face: FaceResult, portrait: np.ndarray, untrained: Model
):
    model, camera = untrained.focus.face_model, untrained.settings.camera
    height, width = portrait.shape[:2]
    one = render_layer(face, height, width, model, camera)
    rows, columns = one.window
    assert one.colours.shape[:2] == one.coverage.shape == (rows.stop - rows.start, columns.stop - columns.start)
    whole = draw_overlay(portrait, [face], model, camera)
    np.testing.assert_array_equal(composite_layers(portrait, [one]).image, whole.image)
    np.testing.assert_array_equal(whole.region[one.window], one.coverage)
    assert whole.region.sum() == pytest.approx(one.coverage.sum(), rel=1e-6)
    opaque = one.visibility == 1
    assert opaque.any()
    shown = one.colours[opaque].round().astype(np.uint8)
    np.testing.assert_array_equal(composite_layers(portrait, [one, one]).image[one.window][opaque], shown)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (-160.0, 40.0), (5000.0, 0.0), (0.0, -5000.0)])
def test_the_window_holds_all_of_a_face_wherever_it_lies(
    face: FaceResult, untrained: Model, shift: tuple[float, float]
):
    """Also where the crop reaches over the edge of the picture, or lies beside it."""
    arrays = face.arrays
    moved = arrays.transform.copy()
    moved[:, 2] -= moved[:, :2] @ np.array(shift)
    shifted = face._replace(arrays=replace(arrays, transform=moved, mask=arrays.region))
    rows, columns = crop_window(shifted.arrays, 300, 350)
    assert 0 <= rows.start < rows.stop <= 300
    assert 0 <= columns.start < columns.stop <= 350
    inverse = cv2.invertAffineTransform(moved)
    everywhere = cv2.warpAffine(arrays.region.astype(np.float64), inverse, (350, 300)) >= 0.5
    found = image_mask(shifted.arrays, 300, 350)
    assert (found != everywhere).mean() < 1e-3
    assert found.any() == everywhere.any() == (max(map(abs, shift)) < 1000)
    render_layer(shifted, 300, 350, untrained.focus.face_model, untrained.settings.camera)


def test_a_shrunk_picture_shows_the_face_at_the_same_place(face: FaceResult, portrait: np.ndarray, untrained: Model):
    model, camera = untrained.focus.face_model, untrained.settings.camera
    small, (adapted,) = shrink_to_fit(portrait, [face], 175)
    assert small.shape == (150, 175, 3)
    expected = cv2.resize(
        draw_overlay(portrait, [face], model, camera).region, (175, 150), interpolation=cv2.INTER_AREA
    )
    found = draw_overlay(small, [adapted], model, camera).region
    assert np.abs(found - expected).mean() < 0.01
    same, _ = shrink_to_fit(portrait, [face], 5000)
    assert same is portrait


def test_png_keeps_channels():
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 255
    assert decode(encode_png(red))[0, 0].tolist() == [0, 0, 255]
    assert decode(encode_png(np.full((4, 5), 7, np.uint8))).shape == (4, 5)
    assert decode(encode_png(np.dstack([red, red[..., 0] // 2])))[0, 0].tolist() == [0, 0, 255, 127]


def test_a_picture_is_cropped_to_its_faces(face: FaceResult, portrait: np.ndarray, untrained: Model):
    wide = np.hstack([np.zeros((300, 900, 3), np.uint8), portrait])
    moved = face.arrays.transform.copy()
    moved[:, 2] -= moved[:, :2] @ np.array([900.0, 0.0])
    x, y, width, height = face.face.box
    aside = FaceResult(
        face.face.model_copy(update={"box": (x + 900.0, y, width, height)}), replace(face.arrays, transform=moved)
    )
    cropped, (adapted,) = crop_to_faces(wide, [aside])
    expected, (same,) = crop_to_faces(portrait, [face])
    np.testing.assert_array_equal(cropped, expected)
    assert adapted.face.box == pytest.approx(same.face.box)
    np.testing.assert_allclose(adapted.arrays.transform, same.arrays.transform, atol=1e-9)
    left, top = adapted.face.box[:2]
    assert 0 < left < cropped.shape[1] < 350
    assert 0 < top < cropped.shape[0]
    assert crop_to_faces(wide, [])[0] is wide


def test_the_sheet_has_a_tile_for_every_picture(face: FaceResult, portrait: np.ndarray, untrained: Model):
    sheet = ContactSheet(untrained.focus.face_model, untrained.settings.camera)
    assert decode(sheet.to_png()).ndim == 3
    sheet.add("one", portrait, [face])
    sheet.add("größe", np.zeros((1, 900, 3), np.uint8), [])
    sheet.add("damaged", None, [])
    width = decode(sheet.to_png()).shape[1]
    sheet.add("four", portrait, [])
    sheet.add("five", portrait, [])
    picture = decode(sheet.to_png())
    assert picture.shape[1] == width * 4 / 3
    assert picture.shape[0] % 2 == 0
