"""Sets with masks: merged, scaled, with a clear word for what is damaged."""

import pickle  # noqa: TID251  (how Ray sends a set to a worker)
from pathlib import Path

import cv2
import numpy as np
import pytest

from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.sources.ar import read_ar
from focus_ray.data.sources.labelled import LabelFiles, LabelledPictures
from focus_ray.errors import DataError, ImageError, LandmarkError

HALF = np.zeros((4, 4), np.uint8)
HALF[:, :2] = 255
TOP = np.zeros((4, 4), np.uint8)
TOP[:1] = 128


def one(root: Path, **masks: np.ndarray) -> LabelledPictures:
    """A set of one picture of 12 x 8 px and these masks; `hair` hides."""
    cv2.imwrite(str(root / "a.png"), np.full((8, 12, 3), 9, np.uint8))
    for part, mask in masks.items():
        cv2.imwrite(str(root / f"a_{part}.png"), mask)
    files = {part: f"a_{part}.png" for part in masks}
    hiding = {part: files.pop(part) for part in ("hair",) if part in files}
    return LabelledPictures("ar", open_picture_source(root), {"a": LabelFiles("a.png", files, hiding)}, {}, [], False)


def test_parts_are_merged_and_scaled_to_the_picture(tmp_path):
    pictures = one(tmp_path, skin=HALF, nose=HALF[:, ::-1] // 3, hair=TOP)
    mask = pictures.mask("a")
    assert mask.shape == pictures.picture("a").shape[:2] == (8, 12)
    expected = np.zeros((8, 12), bool)
    expected[2:, :6] = True
    assert np.array_equal(mask, expected)
    assert set(pictures.parts("a")) == {"skin", "nose", "hair"}
    assert not pictures.parts("a")["nose"].any(), "85 of 255 is not set"
    assert pictures.root == str(tmp_path)
    assert pictures.landmarks("a") is None


def test_a_set_goes_to_another_process(ar):
    pictures = read_ar(ar)
    again = pickle.loads(pickle.dumps(pictures))
    assert again.names == pictures.names
    assert np.array_equal(again.mask(again.names[0]), pictures.mask(pictures.names[0]))


def test_masks_of_two_sizes_are_an_image_error(tmp_path):
    pictures = one(tmp_path, skin=HALF, nose=np.zeros((5, 5), np.uint8))
    with pytest.raises(ImageError, match="different sizes"):
        pictures.mask("a")


def test_masks_of_0_and_1_are_an_image_error_and_all_0_is_not(tmp_path):
    with pytest.raises(ImageError, match=r"a_nose\.png: the mask holds 0 and 1 only; write 0 and 255"):
        one(tmp_path, skin=HALF, nose=HALF // 255).mask("a")
    assert not one(tmp_path, skin=HALF * 0).mask("a").any()


def test_what_is_damaged_or_gone_is_an_image_error_when_it_is_read(tmp_path):
    pictures = one(tmp_path, skin=HALF)
    (tmp_path / "a_skin.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"a_skin\.png: the content is not a picture"):
        pictures.mask("a")
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError, match=r"a\.png: there is no such file"):
        pictures.picture("a")
    with pytest.raises(DataError, match="no picture 'b'"):
        pictures.mask("b")


def test_a_damaged_landmark_file_is_told_when_the_set_is_opened(ar, copied):
    root = copied(ar)
    (root / "landmarks.csv").write_text("m-001-01.png,1,2\n")
    with pytest.raises(LandmarkError, match="2 numbers instead of 136"):
        read_ar(root)
