"""Overlays lie where the face is, in the picture's own size."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from focus_ray.inference import Reconstructor
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.overlay import (
    composite_layers,
    crop_to_faces,
    draw_overlay,
    encode_png,
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
    return face._replace(arrays=replace(arrays, mask=upper, soft_mask=upper.astype(np.float32)))


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


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
    one = render_layer(portrait, face, model, camera)
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
