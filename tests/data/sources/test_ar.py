"""The AR database: names, subsets, what is missing; a store reads the same."""

import shutil

import cv2
import numpy as np
import pytest

from focus_ray.data.sources.ar import read_ar
from focus_ray.errors import DataError, ImageError
from tests.data.dataset_writers.sets import uploaded


def test_subsets_follow_the_numbers(ar):
    pictures = read_ar(ar)
    assert set(pictures.subsets) == {"neutral", "glasses", "scarf"}
    assert set(pictures.subsets["neutral"]) == {"m-001-01", "m-002-01", "w-001-01"}
    assert set(pictures.subsets["glasses"]) == {"m-001-08", "m-002-08", "w-001-08"}
    assert set(pictures.subsets["scarf"]) == {"m-001-11", "w-001-11"}


def test_the_published_database_has_no_lists_and_few_masks(tmp_path, ar):
    """Pictures of any kind, masks of some; nothing says that they are aligned."""
    picture, mask = cv2.imread(str(ar / "m-001-01.png")), cv2.imread(str(ar / "masks" / "m-001-01.png"))
    (tmp_path / "masks").mkdir()
    numbers = (1, 2, 7, 8, 10, 11, 13, 14, 20, 21, 23, 24, 26)
    for number in numbers:
        cv2.imwrite(str(tmp_path / f"W-040-{number:02d}.bmp"), picture)
        if number != 2:
            cv2.imwrite(str(tmp_path / "masks" / f"W-040-{number:02d}.png"), mask)
    shutil.copy(ar / "masks" / "m-001-01.png", tmp_path / "masks" / "m-009-01.png")
    (tmp_path / "readme.png").write_bytes(b"")
    pictures = read_ar(tmp_path)
    assert pictures.names == [f"W-040-{number:02d}" for number in numbers if number != 2]
    assert not pictures.aligned
    assert pictures.landmarks("W-040-01") is None
    assert pictures.missing == [f"{tmp_path / 'masks' / 'm-009-01.png'}: there is no picture m-009-01 for this mask"]
    of = {subset: [int(name[-2:]) for name in names] for subset, names in pictures.subsets.items()}
    assert of == {"neutral": [1, 14], "glasses": [8, 10, 21, 23], "scarf": [11, 13, 24, 26]}


def test_what_the_list_names_and_is_not_there_has_a_line_each(ar, copied):
    root = copied(ar)
    (root / "masks" / "m-001-01.png").unlink()
    (root / "m-001-08.png").unlink()
    (root / "m-001-11.png").write_bytes((root / "m-001-11.png").read_bytes()[:99])
    pictures = read_ar(root)
    assert len(pictures.missing) == 2
    for name in ("m-001-01", "m-001-08"):
        assert sum(f"{name} has no picture or no mask" in line for line in pictures.missing) == 1
        assert name not in pictures.names
    assert len(pictures) == 6
    assert pictures.mask("w-001-01").any()
    with pytest.raises(ImageError, match=r"m-001-11\.png: the picture is damaged"):
        pictures.picture("m-001-11")


def test_a_bucket_gives_the_bits_that_the_folder_gives(ar, bucket):
    local, stored = read_ar(ar), read_ar(uploaded(ar, f"{bucket}/ar"))
    assert stored.root == f"{bucket}/ar"
    assert (stored.names, stored.subsets, stored.missing) == (local.names, local.subsets, local.missing)
    assert stored.aligned
    for name in local.names[:2]:
        assert np.array_equal(local.picture(name), stored.picture(name))
        assert np.array_equal(local.mask(name), stored.mask(name))
        assert np.array_equal(local.landmarks(name), stored.landmarks(name))


def test_a_folder_without_masks_is_a_data_error(tmp_path, bucket):
    with pytest.raises(DataError, match="no picture with a mask"):
        read_ar(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_ar(tmp_path / "none")
    with pytest.raises(DataError, match="check bucket and prefix"):
        read_ar(f"{bucket}/none")
