"""Pictures and masks as files."""

import numpy as np
import pytest

from focus_ray.data.dataset_writers.picture_writer import (
    first_picture,
    region_mask,
    visible_mask,
    write_mask,
    write_picture,
)
from focus_ray.data.image_file import read_image
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.errors import DataError
from tests.data.dataset_writers.sets import world


def test_png_keeps_every_bit_and_jpeg_nearly(tmp_path):
    batch = SyntheticFaces(world(), SyntheticConfig(image_size=48), "heldout").batch([0])
    picture, visible = first_picture(batch), visible_mask(batch)
    assert np.allclose(picture / 255, batch.images[0].permute(1, 2, 0))
    write_picture(tmp_path / "new" / "a.png", picture)
    write_picture(tmp_path / "a.jpg", picture)
    write_mask(tmp_path / "mask.png", visible)
    assert np.array_equal(read_image(tmp_path / "new" / "a.png"), picture)
    away = np.abs(read_image(tmp_path / "a.jpg").astype(int) - picture)
    assert 0 < away.mean() < 2
    assert np.array_equal(read_image(tmp_path / "mask.png")[..., 0], np.where(visible, 255, 0))
    assert (visible <= region_mask(batch)).all()
    assert (read_image(tmp_path / "a.jpg").mean((0, 1)) - picture.mean((0, 1)) < 1).all(), "colours in their order"


def test_a_picture_without_pixels_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be encoded"):
        write_picture(tmp_path / "a.jpg", np.zeros((1, 70_000, 3), np.uint8))
