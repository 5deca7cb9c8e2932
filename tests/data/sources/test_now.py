"""The NoW folder."""

import numpy as np
import pytest

from focus_ray.data.sources.now import LANDMARK_NAMES, NOW_LANDMARK_INDICES, NowDataset
from focus_ray.errors import DataError, LandmarkError
from tests.evaluation.now.faces import picked, scan, write_dataset

NAMES = ["anna/multiview_neutral/IMG 1.jpg", "anna/selfie/IMG_2.jpg", "bert/selfie/IMG_3.jpg"]


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path, NAMES)


def test_pictures_and_scans_are_read(root):
    dataset = NowDataset(root)
    assert dataset.missing == []
    assert [one.name for one in dataset.pictures] == [name[:-4] for name in NAMES]
    assert [one.challenge for one in dataset.pictures] == ["multiview_neutral", "selfie", "selfie"]
    assert all(one.path.is_file() for one in dataset.pictures)
    assert dataset.subjects == ["anna", "bert"]
    assert dataset.measurable == dataset.pictures
    for number, subject in enumerate(dataset.subjects):
        read = dataset.scan(subject)
        np.testing.assert_allclose(read.vertices, scan(number).vertices, atol=1e-6)
        np.testing.assert_allclose(read.landmarks, scan(number).landmarks)


@pytest.mark.parametrize("place", ["final_release_version", "NoW_Dataset/final_release_version"])
def test_the_published_folders_are_found(place, root):
    (root / place).mkdir(parents=True)
    (root / "iphone_pictures").rename(root / place / "iphone_pictures")
    dataset = NowDataset(root)
    assert dataset.missing == []
    assert dataset.pictures[0].path == root / place / "iphone_pictures" / NAMES[0]


def test_missing_items_have_a_line_each_and_the_rest_goes_on(root):
    (root / "iphone_pictures" / NAMES[1]).unlink()
    (root / "scans" / "bert" / "scan.obj").unlink()
    (root / "scans_lmks_onlypp" / "bert" / "scan.pp").write_text(picked(scan(1).landmarks[:5]))
    (root / "scans" / "anna" / "second.obj").write_text("v 0 0 0\n")
    dataset = NowDataset(root)
    assert len(dataset.missing) == 4
    for piece in ("IMG_2.jpg: there is no", "bert: there is no", "2 *.obj; scan.obj is used", "5 points instead of 7"):
        assert sum(piece in line for line in dataset.missing) == 1, piece
    assert [one.subject for one in dataset.measurable] == ["anna", "anna"]
    with pytest.raises(DataError, match="no scan of bert"):
        dataset.scan("bert")
    with pytest.raises(LandmarkError, match="no landmarks of bert"):
        dataset.landmarks("bert")


def test_without_scans_there_is_a_line_for_the_folder(root):
    (root / "imagepathsvalidation.txt").rename(root / "imagepathstest.txt")
    (root / "scans").rename(root / "elsewhere")
    dataset = NowDataset(root, "test")
    assert [line for line in dataset.missing if "no such folder" in line] == dataset.missing
    assert len(dataset.missing) == 1
    assert dataset.measurable == []


def test_lines_that_name_no_picture(root):
    path = root / "imagepathsvalidation.txt"
    path.write_text(path.read_text() + f"\n../../../etc/x/../y.jpg\nIMG.jpg\nfull/path/to/{NAMES[0]}\n")
    dataset = NowDataset(root)
    assert [one.name for one in dataset.pictures] == [name[:-4] for name in NAMES]
    assert [line.partition("line ")[2][:2] for line in dataset.missing] == ["5:", "6:", "7:"]
    assert "twice" in dataset.missing[2]


def test_folders_that_are_no_now(root, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        NowDataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"imagepathstest\.txt: there is no such file"):
        NowDataset(root, "test")
    (root / "imagepathsvalidation.txt").write_text("\n\n")
    with pytest.raises(DataError, match="contains no pictures"):
        NowDataset(root)


def test_seven_of_68():
    assert len(NOW_LANDMARK_INDICES) == len(LANDMARK_NAMES) == 7
    assert NOW_LANDMARK_INDICES == (36, 39, 42, 45, 33, 48, 54)
