"""Tests of focus_ray.data.synthetic_folder."""

import io
import shutil
import zipfile

import cv2
import numpy as np
import pytest
import torch

from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.data.synthetic_folder import read_folder, write_folder
from focus_ray.errors import DataError, ImageError, LandmarkError
from tests.ellipsoid_face import ellipsoid_face

N = 5


@pytest.fixture(scope="module")
def world():
    return ellipsoid_face(90, 64, 80)


@pytest.fixture(scope="module")
def written(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "set"
    told = []
    write_folder(folder, n=N, seed=3, size=64, world=world, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (N, N)
    return folder


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def test_layout(written, world):
    names = [f"{index:06d}.png" for index in range(N)]
    assert sorted(path.name for path in (written / "images").iterdir()) == names
    assert sorted(path.name for path in (written / "masks").iterdir()) == names
    assert {path.name for path in written.iterdir()} == {"images", "masks", "landmarks.csv", "truth.npz"}
    rows = [line.split(",") for line in (written / "landmarks.csv").read_text().splitlines()]
    assert [row[0] for row in rows] == [f"images/{name}" for name in names]
    assert {len(row) for row in rows} == {137}
    assert set(np.unique(cv2.imread(str(written / "masks" / names[0]), cv2.IMREAD_UNCHANGED))) == {0, 255}
    with np.load(written / "truth.npz", allow_pickle=False) as truth:
        assert truth["theta"].shape == (N, 257)
        assert truth["vertices"].shape == (N, world.n_vertices, 3)
        assert truth["vertices"].dtype == np.float32


def test_what_is_read_is_what_was_made(written, world):
    faces = read_folder(written)
    read, made = faces.batch(range(N)), SyntheticFaces(world, SyntheticConfig(seed=3), "heldout").batch(range(N))
    assert len(faces) == N
    assert faces.unseen_families == SyntheticConfig().unseen_families
    for name in ("images", "masks", "region", "theta", "vertices", "landmarks_true"):
        torch.testing.assert_close(getattr(read, name), getattr(made, name), rtol=0, atol=1e-5, msg=name)
    torch.testing.assert_close(read.landmarks, made.landmarks, rtol=0, atol=0.0051)
    assert read.families == made.families
    assert torch.equal(faces.batch([3, 1]).images, read.images[[3, 1]])


def test_another_size_scales_pictures_masks_and_landmarks(written):
    half, full = read_folder(written, image_size=32).batch([0, 1]), read_folder(written).batch([0, 1])
    assert half.images.shape == (2, 3, 32, 32)
    assert half.masks is not None
    assert half.masks.shape == (2, 1, 32, 32)
    torch.testing.assert_close((half.landmarks + 0.5) * 2 - 0.5, full.landmarks)
    torch.testing.assert_close(half.images.mean((2, 3)), full.images.mean((2, 3)), rtol=0, atol=5e-3)
    assert half.masks.mean() == pytest.approx(full.masks.mean().item(), abs=0.02)


def test_truth_and_masks_may_be_missing(copy):
    (copy / "truth.npz").unlink()
    shutil.rmtree(copy / "masks")
    faces = read_folder(copy)
    batch = faces.batch([0])
    assert batch.masks is batch.theta is batch.vertices is batch.families is batch.region is None
    assert faces.unseen_families == ()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, world):
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_folder(tmp_path, n=1, size=16, world=world)
    assert (tmp_path / "keep.txt").read_text() == "mine"
    with pytest.raises(DataError, match="not empty"):
        write_folder(tmp_path / "keep.txt", n=1, size=16, world=world)


def test_an_interrupted_writer_leaves_nothing(tmp_path, world):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "out", n=2, size=32, world=world, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_filled(tmp_path, world):
    (tmp_path / "out").mkdir()
    write_folder(tmp_path / "out", n=1, size=32, world=world)
    assert len(read_folder(tmp_path / "out")) == 1


def _break_truth(folder, **changes):
    with np.load(folder / "truth.npz") as truth:
        arrays = {key: truth[key] for key in truth.files} | changes
    np.savez(folder / "truth.npz", **arrays)


def test_damaged_folders_are_refused(copy, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path / "missing")
    with pytest.raises(LandmarkError, match=r"landmarks\.csv"):
        read_folder(copy / "images")
    _break_truth(copy, theta=np.zeros((N, 12), np.float32))
    with pytest.raises(DataError, match="theta has shape"):
        read_folder(copy)
    _break_truth(copy, theta=np.full((N, 257), np.nan, np.float32))
    with pytest.raises(DataError, match="not finite"):
        read_folder(copy)
    (copy / "truth.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(copy)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vertices": np.full((N, 7, 3), "x")}, "vertices holds values of type <U1"),
        ({"vertices": np.zeros((N, 7))}, "vertices has shape"),
        ({"theta": np.zeros((N, 257), complex)}, "theta holds values of type complex128"),
        ({"theta": np.full((N, 257), 1e300)}, "not finite"),
        ({"families": np.zeros(N)}, "families holds values"),
        ({"unseen_families": np.array("hand")}, "unseen_families has shape"),
        ({"region": np.zeros((N, 512))}, "region holds values of type float64"),
    ],
)
def test_wrong_truth_is_refused(arrays, message, copy):
    _break_truth(copy, **arrays)
    with pytest.raises(DataError, match=message):
        read_folder(copy)


def _header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("content", [_header((N, 6 * 10**9, 3)), _header((N, 7, 3))[:30], b"", b"x" * 200])
def test_damaged_members_are_refused_whatever_they_claim(content, copy):
    with zipfile.ZipFile(copy / "truth.npz", "w") as archive:
        archive.writestr("vertices.npy", content)
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(copy)


def test_an_array_in_the_place_of_the_truth_is_refused(copy):
    with (copy / "truth.npz").open("wb") as stream:
        np.save(stream, np.zeros((N, 257)))
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(copy)


def test_a_truth_with_a_flipped_byte_is_refused(copy):
    content = bytearray((copy / "truth.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (copy / "truth.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(copy)


def test_unknown_arrays_are_passed_over(copy):
    _break_truth(copy, notes=np.zeros(3, complex))
    assert read_folder(copy).batch([0]).theta is not None


def test_the_truth_is_in_the_order_of_the_lines(copy):
    before = read_folder(copy).batch(range(N))
    lines = (copy / "landmarks.csv").read_text().splitlines()
    renamed = []
    for index, line in enumerate(lines):  # names that sort the other way round
        old, new = f"{index:06d}.png", f"{N - index:06d}-new.png"
        for folder in ("images", "masks"):
            (copy / folder / old).rename(copy / folder / new)
        renamed.append(line.replace(old, new))
    (copy / "landmarks.csv").write_text("\n".join(renamed) + "\n")
    after = read_folder(copy).batch(range(N))
    assert torch.equal(after.images, before.images)
    assert torch.equal(after.theta, before.theta)
    assert torch.equal(after.landmarks, before.landmarks)


def test_pickled_truth_is_refused(copy):
    np.savez(copy / "truth.npz", theta=np.array([{}] * N, dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(copy)


def test_masks_of_0_and_1_are_refused(copy):
    cv2.imwrite(str(copy / "masks" / "000002.png"), np.eye(64, dtype=np.uint8))
    with pytest.raises(ImageError, match=r"000002\.png: the mask holds 0 and 1 only; write 0 and 255"):
        read_folder(copy).batch([2])


def test_missing_or_unfit_pictures_are_refused(copy):
    cv2.imwrite(str(copy / "images" / "000001.png"), np.zeros((64, 32, 3), np.uint8))
    cv2.imwrite(str(copy / "masks" / "000002.png"), np.zeros((32, 32), np.uint8))
    faces = read_folder(copy)
    with pytest.raises(ImageError, match="not square"):
        faces.batch([1])
    with pytest.raises(ImageError, match="size"):
        faces.batch([2])
    cv2.imwrite(str(copy / "images" / "000003.png"), np.zeros((16, 16, 3), np.uint8))
    (copy / "masks" / "000003.png").unlink()
    with pytest.raises(DataError, match="different sizes"):
        faces.batch([0, 3])
    (copy / "images" / "000000.png").unlink()
    with pytest.raises(ImageError, match="no such file"):
        read_folder(copy)
