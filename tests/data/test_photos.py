"""PhotoFolder: aligned batches, reproducible augmentation, and every unusable picture counted by its reason."""

import os
import pickle  # noqa: TID251  (how Ray sends a folder to an actor)
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from focus_ray.data.align import (
    STANDARD_POINTS,
    as_float,
    compose,
    crop_from_landmarks,
    rotation_transform,
    standard_points,
    transform_points,
)
from focus_ray.data.detectors.detection import Detection
from focus_ray.data.image_file import ImageLimits
from focus_ray.data.landmark_check import MEAN_LANDMARKS
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.photos import PhotoFolder
from focus_ray.errors import DataError, ImageError, LandmarkError
from focus_ray.face_models.landmarks import five_points
from focus_ray.inference.face_locations import locate_faces
from focus_ray.inference.self_alignment import crop_from_detection
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store


class NoDetector:
    """A detector that is not asked."""

    def detect(self, image: np.ndarray) -> list[Detection]:
        raise AssertionError("a picture with landmarks was searched")


def face_points(centre: tuple[float, float], scale: float) -> np.ndarray:
    """68 points around a standard face, `scale` px to a unit."""
    points = MEAN_LANDMARKS[:, :2] * [0.01, -0.01]
    right, left, nose, right_mouth, left_mouth = STANDARD_POINTS[:, :2] * [1, -1]
    points[[36, 39]], points[[42, 45]] = right, left
    points[30], points[48], points[54] = nose, right_mouth, left_mouth
    return points * scale + np.array(centre)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = Image.fromarray(skimage.data.astronaut())
    picture.resize((256, 256)).save(tmp_path / "a.png", compress_level=1)
    picture.save(tmp_path / "b.png", compress_level=1)
    (tmp_path / "text.jpg").write_text("no picture")
    a, b = face_points((111.25, 62.25), 30.0), face_points((223.0, 125.0), 60.0)
    points = {"a.png": a, "gone.png": a, "text.jpg": a, "b.png": b, "flat.png": np.full((68, 2), 5.0)}
    write_landmarks(tmp_path / "landmarks.csv", points)
    picture.resize((8, 8)).save(tmp_path / "flat.png")
    return tmp_path


def test_aligned_batches_and_counted_reasons(folder: Path):
    photos = PhotoFolder(folder, image_size=64)
    assert photos.names == ["a.png", "b.png"]
    assert photos.skipped == {"missing": 1, "unreadable": 1, "with invalid landmarks": 1}
    assert len(photos.messages) == 3
    batch = photos.batch([1, 0, 3])
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.names == ["b.png", "a.png", "b.png"]
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    expected = torch.from_numpy(standard_points(64)).float()
    torch.testing.assert_close(five_points(batch.landmarks), expected.expand(3, 5, 2), atol=0.02, rtol=0)
    # the same face at two resolutions: nearly the same crop
    assert (batch.images[0] - batch.images[1]).abs().mean() < 0.02


def test_what_is_left_out_is_said(folder: Path):
    said = PhotoFolder(folder, image_size=64).left_out
    assert said is not None
    assert said.startswith("2 of 5 photographs are in use: 1 missing, 1 unreadable, 1 with invalid landmarks")
    assert "; first: " in said
    assert "gone.png: there is no such file" in said
    write_landmarks(folder / "landmarks.csv", {"a.png": face_points((111.25, 62.25), 30.0)})
    assert PhotoFolder(folder, image_size=64).left_out is None


def test_landmarks_beside_the_picture_are_left_out(folder: Path):
    points = face_points((111.25, 62.25), 30.0)
    write_landmarks(folder / "landmarks.csv", {"a.png": points, "b.png": points + 1000.0})
    photos = PhotoFolder(folder, image_size=64)
    assert photos.names == ["a.png"]
    assert photos.skipped == {"with invalid landmarks": 1}
    assert "b.png: the landmarks lie outside" in photos.messages[0]


@pytest.mark.parametrize(("scale", "shift"), [([1, -1], [0, 511]), ([-1, 1], [511, 0]), ([1 / 512, 1 / 512], [0, 0])])
def test_landmarks_of_another_convention_are_left_out(folder: Path, scale: list[float], shift: list[float]):
    a, b = face_points((111.25, 62.25), 30.0), face_points((223.0, 125.0), 60.0)
    write_landmarks(folder / "landmarks.csv", {"a.png": a, "b.png": b * scale + shift})
    photos = PhotoFolder(folder, image_size=64)
    assert photos.names == ["a.png"]
    assert photos.skipped == {"with invalid landmarks": 1}


def test_names_that_are_not_utf_8(folder: Path):
    name = os.fsdecode(b"inv\xff.png")
    shutil.copy(folder / "a.png", folder / name)
    write_landmarks(folder / "landmarks.csv", {name: face_points((111.25, 62.25), 30.0)})
    assert PhotoFolder(folder, image_size=64).names == [name]


def test_a_kept_picture_gives_the_crop_that_the_file_gives(folder: Path):
    picture = skimage.data.astronaut()
    crop = crop_from_landmarks(face_points((223.0, 125.0), 60.0), 64)
    direct = torch.from_numpy(crop.warp(picture).transpose(2, 0, 1)) / 255
    kept = PhotoFolder(folder, image_size=64).batch([1]).images[0]
    assert (kept - direct).abs().mean() < 0.02


@given(degrees=st.floats(-180, 180))
@example(degrees=170.0)
@settings(deadline=None, max_examples=6)
def test_a_face_turned_by_any_angle_is_cropped_upright_as_reconstruction_crops_it(
    tmp_path_factory: pytest.TempPathFactory, degrees: float
):
    folder = tmp_path_factory.mktemp("turned")
    picture, points = skimage.data.astronaut(), face_points((223.0, 125.0), 60.0)
    middle = np.array([[1.0, 0.0, 255.5], [0.0, 1.0, 255.5]])
    turn = compose(
        middle, compose(rotation_transform(np.radians(degrees)), np.array([[1.0, 0.0, -255.5], [0.0, 1.0, -255.5]]))
    )
    turned = cv2.warpAffine(picture, turn, (512, 512), flags=cv2.INTER_LINEAR)
    Image.fromarray(turned).save(folder / "a.png", compress_level=1)
    write_landmarks(folder / "landmarks.csv", {"a.png": transform_points(turn, points)})
    trained_on = PhotoFolder(folder, image_size=64).batch([0])

    (face,) = locate_faces(turned, NoDetector(), landmarks=transform_points(turn, points)).faces
    crop = crop_from_detection(face, 64)
    assert np.cos(crop.roll + np.radians(degrees)) == pytest.approx(1, abs=1e-6)
    reconstructed = torch.from_numpy(as_float(crop.warp(turned)))
    assert (trained_on.images[0] - reconstructed).abs().mean() < 0.02
    expected = torch.from_numpy(crop.to_crop(transform_points(turn, points))).float()
    torch.testing.assert_close(trained_on.landmarks[0], expected, atol=0.02, rtol=0)


def test_augmentation_is_reproducible_and_changes_with_epoch_and_index(folder: Path):
    kept, read_again = PhotoFolder(folder, image_size=64), PhotoFolder(folder, image_size=64, memory_mb=0.0)
    one, same = kept.batch([0, 1], seed=3, epoch=2), read_again.batch([0, 1], seed=3, epoch=2)
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.landmarks, same.landmarks)
    assert not torch.equal(one.images, kept.batch([0, 1], seed=3, epoch=3).images)
    assert not torch.equal(one.images, kept.batch([0, 1]).images)
    turned = kept.batch([1, 0], seed=3, epoch=2)
    assert torch.equal(one.images[0], turned.images[1]), "an image does not depend on its neighbours"


def test_nothing_usable_is_a_data_error(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match="no photograph can be used"):
        PhotoFolder(folder, limits=ImageLimits(megapixels=1e-3))
    with pytest.raises(DataError, match="no such folder"):
        PhotoFolder(tmp_path / "none")
    (folder / "landmarks.csv").unlink()
    with pytest.raises(LandmarkError, match="give the landmark file"):
        PhotoFolder(folder)


@pytest.mark.shared
def test_the_shared_photographs(shared_data: Path):
    photos = PhotoFolder(shared_data / "photos", shared_data / "photos" / "landmarks68.csv", image_size=64)
    assert len(photos) == 16
    assert not photos.skipped
    batch = photos.batch(range(16))
    offset = five_points(batch.landmarks) - torch.from_numpy(standard_points(64)).float()
    assert offset.abs().max() < 10


def test_the_digest_is_that_of_names_landmarks_and_pixels(folder: Path):
    before = PhotoFolder(folder, image_size=64).digest
    assert PhotoFolder(folder, image_size=64).digest == before
    Image.fromarray(skimage.data.astronaut()[:, ::-1]).save(folder / "b.png", compress_level=1)
    mirrored = PhotoFolder(folder, image_size=64).digest
    shifted = {"a.png": face_points((113.25, 62.25), 30.0), "b.png": face_points((223.0, 125.0), 60.0)}
    write_landmarks(folder / "landmarks.csv", shifted)
    assert len({before, mirrored, PhotoFolder(folder, image_size=64).digest}) == 3


def uploaded(folder: Path, place: str) -> ObjectStore:
    """Everything that lies in a folder, in a store too."""
    store = open_store(place)
    for path in folder.iterdir():
        store.write(path.name, path.read_bytes())
    return store


def test_a_bucket_gives_the_bits_that_the_folder_gives(folder: Path, bucket: str):
    uploaded(folder, f"{bucket}/photos")
    local, stored = PhotoFolder(folder, image_size=64), PhotoFolder(f"{bucket}/photos", image_size=64)
    assert stored.names == local.names
    assert stored.digest == local.digest
    assert stored.skipped == local.skipped
    assert f"{bucket}/photos/gone.png: there is no such object" in stored.messages[0]
    for seed in (None, 3):
        ours, theirs = local.batch([1, 0, 1], seed, 2), stored.batch([1, 0, 1], seed, 2)
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.landmarks, theirs.landmarks)


def test_landmarks_apart_from_the_pictures_choose_among_them(folder: Path, bucket: str):
    store = uploaded(folder, f"{bucket}/photos")
    store.delete(["landmarks.csv"])
    with pytest.raises(LandmarkError, match="give the landmark file"):
        PhotoFolder(f"{bucket}/photos")
    write_landmarks(folder / "subset.csv", {"b.png": face_points((223.0, 125.0), 60.0)})
    open_store(bucket).write("splits/one.csv", (folder / "subset.csv").read_bytes())
    for place in (f"{bucket}/photos", folder):
        for landmarks in (f"{bucket}/splits/one.csv", folder / "subset.csv", str(folder / "subset.csv")):
            photos = PhotoFolder(place, landmarks, image_size=64)
            assert photos.names == ["b.png"]
            assert photos.left_out is None
    with pytest.raises(LandmarkError, match=r"two\.csv: there is no such landmark file"):
        PhotoFolder(folder, f"{bucket}/splits/two.csv")


def test_what_travels_to_another_process_holds_no_picture(folder: Path, bucket: str):
    uploaded(folder, f"{bucket}/photos")
    photos = PhotoFolder(f"{bucket}/photos", image_size=64)
    sent = pickle.dumps(photos)
    assert len(sent) < 20_000
    arrived = pickle.loads(sent)
    assert arrived.digest == photos.digest
    assert torch.equal(arrived.batch([0, 1], 5).images, photos.batch([0, 1], 5).images)
    open_store(f"{bucket}/photos").delete(["b.png"])
    assert torch.equal(arrived.batch([1]).images, photos.batch([1]).images), "what was read once is kept"
    with pytest.raises(ImageError, match=r"b\.png: there is no such object"):
        pickle.loads(sent).batch([1])
