"""Cut-outs: read with their transparency, placed on the face with their own colours."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from focus_ray.data.composites.cutouts import CutoutFamily, read_cutout
from focus_ray.data.occluders.drawing import FaceFrame
from focus_ray.errors import DataError, ImageError
from tests.data.composites.photographs import astronaut


def write_square(path: Path, border: int = 20) -> None:
    """A blue square with a red right half, in a transparent border with another colour."""
    bgra = np.zeros((40 + 2 * border, 60 + 2 * border, 4), np.uint8)
    bgra[..., 1] = 255
    bgra[border : border + 40, border : border + 60] = (255, 0, 0, 255)
    bgra[border : border + 40, border + 30 : border + 60] = (0, 0, 255, 255)
    cv2.imwrite(str(path), bgra)


def test_the_transparent_border_is_cut_off(tmp_path: Path):
    write_square(tmp_path / "square.png")
    rgb, alpha = read_cutout(tmp_path / "square.png")
    assert alpha.shape == (40, 60)
    assert (alpha == 255).all()
    assert rgb[0, 0].tolist() == [0, 0, 255]


def test_a_cutout_lies_on_the_face_in_its_own_colours(tmp_path: Path):
    write_square(tmp_path / "square.png")
    family, points = CutoutFamily(tmp_path), astronaut().landmarks
    frame = FaceFrame.from_landmarks(points)
    rng = np.random.default_rng(0)
    for _ in range(20):
        layer = family(rng, 260, points, np.ones(3))
        rows, columns = np.nonzero(layer.alpha > 0.5)
        x, y = ((np.array([columns.mean(), rows.mean()]) - frame.origin[0]) @ frame.axes.T) / frame.unit
        assert -0.8 < x < 0.8
        assert -0.7 < y < 1.6
        area = len(rows) / frame.unit**2
        assert 0.9 * 1.0**2 * 40 / 60 < area < 1.1 * 2.4**2 * 40 / 60
        colours = layer.rgb[layer.alpha > 0.99]
        assert colours[:, 1].max() < 0.01  # the colour of the transparent border is not seen
        assert colours[:, 0].mean() == pytest.approx(0.5, abs=0.05)


def test_a_large_cutout_is_shrunk_without_loss(tmp_path: Path):
    stripes = np.zeros((800, 800, 4), np.uint8)
    stripes[::2, :, :3] = 255
    stripes[..., 3] = 255
    cv2.imwrite(str(tmp_path / "stripes.png"), stripes)
    layer = CutoutFamily(tmp_path)(np.random.default_rng(0), 260, astronaut().landmarks, np.ones(3))
    inner = cv2.erode((layer.alpha > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert layer.rgb[inner] == pytest.approx(0.5, abs=0.05)


def test_the_digest_is_that_of_the_pixels(tmp_path: Path):
    for name, border in (("a", 5), ("b", 9)):
        (tmp_path / name).mkdir()
        write_square(tmp_path / name / "x.png", border)
    assert CutoutFamily(tmp_path / "a").digest() == CutoutFamily(tmp_path / "b").digest()
    write_square(tmp_path / "b" / "y.png")
    assert CutoutFamily(tmp_path / "a").digest() != CutoutFamily(tmp_path / "b").digest()


def test_unusable_cutouts_are_errors(tmp_path: Path):
    with pytest.raises(DataError, match="no such folder"):
        CutoutFamily(tmp_path / "gone")
    with pytest.raises(DataError, match="no pictures"):
        CutoutFamily(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(ImageError, match="no transparency"):
        CutoutFamily(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20, 4), np.uint8))
    with pytest.raises(ImageError, match="transparent everywhere"):
        CutoutFamily(tmp_path)
