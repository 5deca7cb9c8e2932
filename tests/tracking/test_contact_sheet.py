"""Contact sheets: every pixel where it belongs."""

import numpy as np
import pytest
import torch

from focus_ray.tracking.contact_sheet import CELL_PX, GAP_PX, TITLE_BAND_PX, contact_sheet


def cell(sheet, row: int, column: int, size: int) -> np.ndarray:
    left = GAP_PX + column * (size + GAP_PX)
    top = TITLE_BAND_PX + row * (size + GAP_PX)
    return np.asarray(sheet)[top : top + size, left : left + size]


def test_pictures_and_masks_lie_row_by_row_enlarged_by_a_whole_factor():
    pictures, masks = torch.rand(3, 3, 32, 32), (torch.rand(3, 1, 32, 32) > 0.5).float()
    sheet = contact_sheet({"target": pictures, "mask": masks})
    assert sheet.size == (2 * (CELL_PX + GAP_PX) + GAP_PX, 3 * (CELL_PX + GAP_PX) + TITLE_BAND_PX)
    for row in range(3):
        shown = cell(sheet, row, 0, CELL_PX)[::4, ::4]
        expected = (pictures[row].permute(1, 2, 0) * 255).round().numpy()
        assert np.array_equal(shown, expected)
        assert np.array_equal(cell(sheet, row, 1, CELL_PX)[::4, ::4, 0], masks[row, 0].numpy() * 255)


def test_values_outside_are_clipped_and_nan_is_black():
    values = torch.tensor([-1.0, 2.0, float("nan"), 0.5]).reshape(4, 1, 1, 1).expand(4, 1, 128, 128)
    sheet = contact_sheet({"x": values})
    assert [int(cell(sheet, row, 0, 128)[0, 0, 0]) for row in range(4)] == [0, 255, 0, 128]


def test_each_column_has_its_title_and_long_ones_are_cut():
    plain = contact_sheet({"": torch.zeros(1, 3, 128, 128), " ": torch.zeros(1, 3, 128, 128)})
    titled = contact_sheet({"target": torch.zeros(1, 3, 128, 128), "mask " * 40: torch.zeros(1, 3, 128, 128)})
    changed = np.argwhere(np.asarray(plain) != np.asarray(titled))
    assert changed[:, 0].max() < TITLE_BAND_PX
    columns = set((changed[:, 1] - GAP_PX) // (128 + GAP_PX))
    assert columns >= {0, 1}
    assert changed[:, 1].max() < titled.size[0] - GAP_PX


def test_columns_must_agree():
    with pytest.raises(ValueError, match="one size"):
        contact_sheet({"a": torch.zeros(2, 3, 8, 8), "b": torch.zeros(1, 3, 8, 8)})
    with pytest.raises(ValueError, match="one size"):
        contact_sheet({})
