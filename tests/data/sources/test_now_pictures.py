"""NoW's pictures for prediction, and the truth beside them."""

import io
import zipfile

import numpy as np
import pytest

from focus_ray.data.sources.now import NowDataset
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.errors import DataError, ImageError, LandmarkError


def test_pictures_landmarks_and_truth_by_name(now):
    pictures = NowPictures(NowDataset(now))
    assert pictures.aligned
    assert pictures.names == [one.name for one in pictures.dataset.pictures]
    for name in pictures.names:
        points = pictures.landmarks(name)
        assert points is not None
        side = pictures.picture(name).shape[0]
        assert ((points > -side / 2) & (points < 1.5 * side)).all()
    first, second, other = (pictures.true_neutral(pictures.names[row]) for row in (0, 1, 8))
    assert np.array_equal(first, second)
    assert first.shape == other.shape
    assert np.abs(first - other).max() > 1
    assert pictures.true_neutral("nobody/selfie/1") is None


def test_the_published_set_has_pictures_alone(now, copied):
    root = copied(now)
    for name in ("truth.npz", "pairs.txt", "landmarks.csv", "dataset.json"):
        (root / name).unlink()
    pictures = NowPictures(NowDataset(root))
    assert not pictures.aligned
    assert pictures.pairs() == []
    assert pictures.landmarks(pictures.names[0]) is None
    assert pictures.true_neutral(pictures.names[0]) is None
    (root / "iphone_pictures" / f"{pictures.names[0]}.png").unlink()
    with pytest.raises(ImageError, match="there is no such file"):
        pictures.picture(pictures.names[0])
    with pytest.raises(DataError, match="no picture 'x'"):
        pictures.picture("x")


def npy(values: np.ndarray, shape: str | None = None) -> bytes:
    """An array as .npy; with a shape in its header that is not its own."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, version=(1, 0))
    own = str(values.shape)
    content = stream.getvalue()
    return content if shape is None else content.replace(own.encode(), shape.encode().ljust(len(own)), 1)


SUBJECTS, FACES = np.array(["a", "b"]), np.zeros((2, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"subjects": npy(SUBJECTS)}, "neutral"),
        ({"subjects": npy(SUBJECTS), "neutral": npy(FACES[:1])}, "a face for each subject"),
        ({"subjects": npy(SUBJECTS), "neutral": npy(FACES.astype(np.int64))}, "unexpected type"),
        ({"subjects": npy(np.arange(2.0)), "neutral": npy(FACES)}, "unexpected type|a face for each"),
        ({"subjects": npy(SUBJECTS), "neutral": npy(FACES * np.nan)}, "not finite"),
        ({"subjects": npy(SUBJECTS), "neutral": npy(FACES, "(99999, 999, 3)")[:200]}, "cannot be read"),
        ({"subjects": npy(SUBJECTS), "neutral": b"\x93NUMPY"}, "cannot be read"),
        ({"subjects": npy(SUBJECTS), "neutral": npy(FACES)[:-4]}, "cannot be read"),
    ],
)
def test_a_damaged_truth_is_a_data_error(now, copied, entries, message):
    root = copied(now)
    with zipfile.ZipFile(root / "truth.npz", "w") as archive:
        for key, content in entries.items():
            archive.writestr(f"{key}.npy", content)
    with pytest.raises(DataError, match=message) as told:
        NowPictures(NowDataset(root))
    assert "\n" not in str(told.value)


def test_a_truth_that_could_be_a_bomb_is_refused(now, copied):
    root = copied(now)
    with zipfile.ZipFile(root / "truth.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("subjects.npy", npy(SUBJECTS))
    with pytest.raises(DataError, match="subjects is compressed"):
        NowPictures(NowDataset(root))
    (root / "truth.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="truth cannot be read"):
        NowPictures(NowDataset(root))


def test_damaged_files_beside_the_pictures_are_told(now, copied):
    root = copied(now)
    (root / "pairs.txt").write_text("one\n")
    with pytest.raises(DataError, match=r"pairs\.txt, line 1"):
        NowPictures(NowDataset(root)).pairs()
    (root / "landmarks.csv").write_text("a,1\n")
    with pytest.raises(LandmarkError, match="instead of 136"):
        NowPictures(NowDataset(root))
