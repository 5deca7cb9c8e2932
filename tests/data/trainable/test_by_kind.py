"""Data sets by kind: names, persons, splits, and what a wrong folder says."""

import numpy as np
import pytest

from focus_ray.data.sources.celeba_split import IDENTITIES, MAPPING, PARTITION
from focus_ray.data.trainable import KINDS, open_trainable
from focus_ray.errors import DataError
from tests.data.trainable import layouts

EXPECTED = {
    "celebahq": "no CelebA-HQ-img/; give the folder that CelebAMask-HQ.zip",
    "ar": "no picture with a mask",
    "now": "neither imagepathsvalidation.txt nor imagepathstest.txt",
    "300w-lp": "NAME.jpg and NAME.mat lie in one folder",
    "aflw2000": "NAME.jpg and NAME.mat lie in one folder",
    "300w": "NAME.jpg and NAME.pts lie in one folder",
    "deep3d": "there are no pictures",
    "folder": "there are no pictures",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_folder_says_what_is_missing_and_where(kind, tmp_path):
    with pytest.raises(DataError, match=EXPECTED[kind]):
        open_trainable(kind, str(tmp_path))
    with pytest.raises(DataError, match="there is no such folder"):
        open_trainable(kind, str(tmp_path / "nowhere"))


def test_celebahq_has_the_split_of_its_mapping_and_the_persons_of_celeba(celebahq, copied):
    place = copied(celebahq)
    faces = {face.name: face for face in open_trainable("celebahq", str(place)).faces}
    assert [faces[name].split for name in "01234"] == ["train", "train", "train", "val", "test"]
    assert len({face.person for face in faces.values()}) == 12
    (place / IDENTITIES).write_text("000001.jpg 7\n000002.jpg 7\n")
    (place / PARTITION).write_text("".join(f"{line.split()[2]} 2\n" for line in lines_of(place)))
    changed = {face.name: face for face in open_trainable("celebahq", str(place)).faces}
    assert {face.split for face in changed.values()} == {"test"}
    assert changed["0"].person == changed["1"].person == "7"
    (place / MAPPING).write_text("\n".join(lines_of(place)[:3]))
    fewer = open_trainable("celebahq", str(place))
    assert (len(fewer.faces), set(fewer.left_out.values())) == (3, {"not_in_mapping"})
    (place / MAPPING).write_text("0 0\n")
    with pytest.raises(DataError, match="line 1: '0 0' is not idx, orig_idx and orig_file"):
        open_trainable("celebahq", str(place))
    (place / MAPPING).unlink()
    with pytest.raises(DataError, match=rf"no {MAPPING}, which CelebAMask-HQ.zip holds beside CelebA-HQ-img/"):
        open_trainable("celebahq", str(place))


def lines_of(place):
    return (place / MAPPING).read_text().splitlines()[1:]


def test_ar_and_now_are_for_evaluation_and_know_their_persons(ar, now):
    faces = open_trainable("ar", str(ar)).faces
    assert {(face.person, face.split) for face in faces} == {(face.name[:5], "test") for face in faces}
    assert {face.split for face in open_trainable("now", str(now)).faces} == {"validation"}
    assert {face.person for face in open_trainable("now", str(now)).faces} == {"subject_000", "subject_001"}


def test_the_box_of_now_is_read_as_data(now, copied):
    place = copied(now)
    data = open_trainable("now", str(place))
    face = data.faces[0]
    assert data.box(face) is None
    path = place / "detected_face" / face.file.removeprefix("iphone_pictures/").replace(".png", ".npy")
    layouts.write_detected_face(path, (1.0, 2.0, 30.0, 40.0))
    assert data.box(face) == (1.0, 2.0, 30.0, 40.0)
    np.save(path, np.array({"left": np.array}, dtype=object))
    with pytest.raises(DataError, match="the face box cannot be read"):
        data.box(face)


def test_views_of_a_photograph_are_one_person(ar, tmp_path):
    data = open_trainable("300w-lp", str(layouts.write_300w_lp(ar, tmp_path)))
    assert [face.person for face in data.faces] == ["AFW/AFW_0_1", "AFW/AFW_1_1", "AFW/AFW_0_1", "AFW/AFW_1_1"]
    assert data.left_out == {"AFW/alone.png": "no_annotation"}
    assert data.landmarks(data.faces[0]).shape == (68, 2)


def test_300w_has_the_usual_split(ar, tmp_path):
    data = open_trainable("300w", str(layouts.write_300w(ar, tmp_path)))
    assert {face.name: face.split for face in data.faces} == {
        "helen/trainset/one.png": "train",
        "ibug/one.png": "test",
        "01_Indoor/one.png": "test",
    }


def test_deep3d_has_five_points_beside_its_pictures(ar, tmp_path):
    pictures = layouts._pictures(ar)
    root = layouts.write_deep3d(pictures[:2], tmp_path / "set")
    (root / pictures[2][0].name).write_bytes(pictures[2][0].read_bytes())
    data = open_trainable("deep3d", str(root))
    assert data.left_out == {pictures[2][0].name: "no_five_points"}
    x, _, width, height = data.box(data.faces[0])
    assert x <= pictures[0][1][36:48, 0].mean() <= x + width
    assert height > 3
    (root / "detections" / f"{pictures[0][0].stem}.txt").write_text("1 2\n3 4\n")
    with pytest.raises(DataError, match="not five lines of x and y"):
        data.box(data.faces[0])
