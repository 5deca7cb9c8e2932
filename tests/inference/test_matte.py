"""Region and mask at the picture's resolution: at their place, along the picture's edges, and those of the crop."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from focus_ray.data.align import Crop
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera
from focus_ray.inference import Reconstructor
from focus_ray.inference.face_rendering import render_face
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.image_window import warp_to_window
from focus_ray.inference.matte import FaceMatte, compute_matte, face_matte
from focus_ray.model import Model


@pytest.fixture
def face(reconstructor: Reconstructor, portrait: np.ndarray) -> FaceResult:
    (face,) = reconstructor.reconstruct(portrait, refine=0)
    return face


@pytest.fixture
def drawing(untrained: Model) -> tuple[MorphableModel, Camera]:
    return untrained.focus.face_model, untrained.settings.camera


def masked(face: FaceResult, soft: np.ndarray) -> FaceResult:
    arrays = face.arrays
    soft = (soft * arrays.region).astype(np.float32)
    return face._replace(arrays=replace(arrays, soft_mask=soft, mask=soft > 0.5))


def upper_half(face: FaceResult) -> FaceResult:
    """The face with an occluder over the lower half of the crop."""
    soft = np.ones(face.arrays.mask.shape, np.float32)
    soft[len(soft) // 2 :] = 0
    return masked(face, soft)


def occluded(face: FaceResult, height: int, width: int) -> tuple[np.ndarray, np.ndarray, FaceResult]:
    """A picture of skin with a turned blue bar before it, where the bar is, and the face with the bar's mask."""
    rng = np.random.default_rng(0)
    x, y = Crop(face.arrays.transform, len(face.arrays.mask)).to_image(np.array([[16.0, 17.0]]))[0]
    rows, columns = np.mgrid[:height, :width]
    bar = np.abs(0.8 * (columns - x) + 0.6 * (rows - y)) < 17
    picture = np.where(bar[..., None], (40, 60, 150), (205, 160, 135)) + rng.normal(0, 6, (height, width, 3))
    crop = Crop(face.arrays.transform, len(face.arrays.mask))
    return picture.round().clip(0, 255).astype(np.uint8), bar, masked(face, crop.warp((~bar).astype(np.float32)))


def test_the_mask_has_the_size_of_the_picture_and_lies_on_the_face(
    face: FaceResult, portrait: np.ndarray, drawing: tuple[MorphableModel, Camera]
):
    half = upper_half(face)
    matte = face_matte(portrait, half, *drawing)
    mask = matte.mask_image(*portrait.shape[:2])
    assert mask.shape == portrait.shape[:2]
    assert set(np.unique(mask).tolist()) == {0, 255}
    landmarks = np.array(face.face.landmarks).round().astype(int)
    brows, mouth = landmarks[17:27], landmarks[48:68]
    assert mask[brows[:, 1], brows[:, 0]].all()
    assert not mask[mouth[:, 1], mouth[:, 0]].any()
    scale = np.sqrt(abs(np.linalg.det(face.arrays.transform[:, :2])))
    assert matte.mask.sum() == pytest.approx(half.arrays.mask.sum() / scale**2, rel=0.05)
    assert matte.region.sum() == pytest.approx(half.arrays.region.sum() / scale**2, rel=0.05)
    assert not (matte.mask & ~matte.region).any()
    assert (matte.visibility <= matte.coverage).all()


def test_the_mask_follows_the_edge_of_an_occluder(face: FaceResult, drawing: tuple[MorphableModel, Camera]):
    """Much nearer than bilinear interpolation of the crop's mask does, soft or binary."""
    picture, bar, hidden = occluded(face, 300, 350)
    matte = face_matte(picture, hidden, *drawing)
    crop = Crop(hidden.arrays.transform, len(hidden.arrays.mask))
    truth = bar[matte.window]
    inside = cv2.erode(matte.region.astype(np.uint8), np.ones((15, 15))) > 0

    def wrong(mask: np.ndarray) -> int:
        return int(((~mask != truth) & inside).sum())

    binary = warp_to_window(hidden.arrays.mask.astype(np.float32), crop, matte.window) >= 0.5
    soft = warp_to_window(hidden.arrays.soft_mask, crop, matte.window) > 0.5
    assert wrong(matte.mask) < 0.5 * wrong(soft)
    assert wrong(matte.mask) < 0.3 * wrong(binary)
    outlier = truth & inside
    assert wrong(matte.mask) < 0.02 * outlier.sum()


def test_without_edges_in_the_picture_the_mask_is_that_of_the_crop(
    face: FaceResult, drawing: tuple[MorphableModel, Camera]
):
    half = upper_half(face)
    matte = face_matte(np.full((300, 350, 3), 128, np.uint8), half, *drawing)
    crop = Crop(half.arrays.transform, len(half.arrays.mask))
    rows, columns = np.nonzero(matte.region)
    corner = np.array([matte.window[1].start, matte.window[0].start])
    places = crop.to_crop(np.stack([columns, rows], axis=1) + corner.astype(np.float64))
    above = places[:, 1] < len(half.arrays.mask) / 2 - 0.5
    assert (matte.mask[matte.region] != above).mean() < 0.02


def test_m_reaches_up_to_the_silhouette(face: FaceResult, portrait: np.ndarray, drawing: tuple[MorphableModel, Camera]):
    hardly = masked(face, np.full(face.arrays.mask.shape, 0.6, np.float32))
    matte = face_matte(portrait, hardly, *drawing)
    np.testing.assert_allclose(matte.soft_mask[matte.region], 0.6, atol=1e-3)
    np.testing.assert_array_equal(matte.mask, matte.region)
    np.testing.assert_array_equal(matte.visibility, matte.coverage)  # no hem of half-occluded pixels
    blank = replace(face.arrays, region=np.zeros_like(face.arrays.region), soft_mask=0 * face.arrays.soft_mask)
    assert not face_matte(portrait, face._replace(arrays=blank), *drawing).mask.any()


def test_the_silhouette_has_no_steps(face: FaceResult, drawing: tuple[MorphableModel, Camera]):
    """In a picture of 16 times the crop's resolution it is nowhere far from that of a rendering so large."""
    model, camera = drawing
    size = len(face.arrays.mask)
    zoom = np.array([[1 / 32, 0.0, (1 / 32 - 1) / 2], [0.0, 1 / 32, (1 / 32 - 1) / 2]])
    large = face._replace(arrays=replace(face.arrays, transform=zoom))
    matte = face_matte(np.zeros((32 * size, 32 * size, 3), np.uint8), large, model, camera)
    exact = render_face(large, model, camera.model_copy(update={"image_size": 32 * size}))
    assert len(exact.coverage) < 32 * size
    found = cv2.resize(matte.coverage, exact.coverage.shape, interpolation=cv2.INTER_AREA)
    assert ((found >= 0.5) != (exact.coverage >= 0.5)).mean() < 2e-3
    contours, _ = cv2.findContours(matte.region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    (outline,) = contours
    hull = cv2.convexHull(outline)
    assert cv2.arcLength(outline, True) < 1.12 * cv2.arcLength(hull, True)  # stairs would be up to 1.27 times as long


def test_an_image_of_m_is_above_127_where_m_is_above_a_half():
    near = np.float32(0.5)
    soft = np.array([[0.0, near, np.nextafter(near, 0), np.nextafter(near, 1), 1.0]], np.float32)
    matte = FaceMatte((slice(1, 2), slice(2, 7)), np.ones((1, 5), np.float32), soft)
    shown = matte.soft_mask_image(3, 9)
    assert shown[1].tolist() == [0, 0, 0, 127, 127, 128, 255, 0, 0]
    assert not shown[[0, 2]].any()
    np.testing.assert_array_equal(shown > 127, matte.mask_image(3, 9) == 255)
    assert matte.region_image(3, 9)[1].tolist() == [0, 0, *[255] * 5, 0, 0]


@pytest.mark.parametrize("side", [1, 5, 40])
def test_pictures_of_few_pixels_and_crops_beside_them(
    side: int, face: FaceResult, drawing: tuple[MorphableModel, Camera]
):
    half = upper_half(face)
    picture = np.full((side, 2 * side, 3), 90, np.uint8)
    for matrix in (half.arrays.transform, np.array([[0.01, 0.0, 12.0], [0.0, 0.01, 12.0]])):
        for shift in (0.0, 1e4):
            moved = matrix + np.array([[0.0, 0.0, shift], [0.0, 0.0, 0.0]])
            found = face_matte(picture, half._replace(arrays=replace(half.arrays, transform=moved)), *drawing)
            assert np.isfinite(found.soft_mask).all()
            assert 0 <= found.soft_mask.min() <= found.soft_mask.max() <= 1
            assert found.mask_image(side, 2 * side).shape == (side, 2 * side)
            assert not (shift and found.mask.any())


def test_the_filter_is_fitted_to_a_bounded_number_of_pixels(
    face: FaceResult, drawing: tuple[MorphableModel, Camera], monkeypatch
):
    """A large picture has nearly the mask of a small one."""
    picture, _, hidden = occluded(face, 300, 350)
    expected = face_matte(picture, hidden, *drawing)
    monkeypatch.setattr("focus_ray.inference.matte._MAX_FIT_PX", 100)
    rendering = render_face(hidden, *drawing)
    found = compute_matte(picture, hidden.arrays, rendering)
    assert max(found.mask.shape) > 130
    assert (found.mask != expected.mask).sum() < 0.03 * expected.mask.sum()
