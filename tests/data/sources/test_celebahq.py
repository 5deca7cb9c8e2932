"""CelebAMask-HQ: merged masks, subsets from lists or drawn, what is missing; a store reads the same."""

import cv2
import numpy as np
import pytest

from focus_ray.data.sources.celebahq import draw_subsets, hidden_share, is_occluded, read_celebahq
from focus_ray.errors import DataError
from tests.data.dataset_writers.sets import N, uploaded

SIDE = 40


def disk(x: int, y: int, radius: int) -> np.ndarray:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(canvas, (x, y), radius, 1, -1)
    return canvas > 0


FACE = {"skin": disk(20, 20, 18), "nose": disk(20, 20, 3), "u_lip": disk(20, 28, 2), "l_lip": disk(20, 30, 2)}


def test_a_whole_face_is_unoccluded_and_what_hides_it_is_seen():
    hand = disk(10, 26, 8)
    covered = {part: mask & ~hand for part, mask in FACE.items()}
    fringe = {**FACE, "hair": disk(20, 12, 5)}
    small = {**FACE, "hair": disk(20, 12, 4)}
    assert hidden_share(FACE) < 0.04
    assert is_occluded(FACE) is False
    assert is_occluded(covered) is True
    assert is_occluded({**FACE, "eye_g": disk(12, 14, 2)}) is True
    assert is_occluded({**FACE, "eye_g": np.zeros((SIDE, SIDE), bool)}) is False
    assert is_occluded({**FACE, "hat": disk(20, 2, 2)}) is True
    assert is_occluded({part: mask for part, mask in FACE.items() if part != "nose"}) is True
    assert is_occluded({part: mask for part, mask in FACE.items() if "lip" not in part}) is True
    assert hidden_share(fringe) == pytest.approx(0.08 + hidden_share(FACE), abs=0.02)
    assert is_occluded(small) is None
    assert hidden_share({"skin": np.zeros((SIDE, SIDE), bool)}) == 1


def drawn(seed: int, **sizes: int) -> tuple[list[str], list[str], int]:
    """Names that end in 7 are of hidden faces; how many were looked at."""
    asked = []

    def parts(name):
        asked.append(name)
        return {"skin": FACE["skin"]} if name.endswith("7") else FACE

    occluded, unoccluded = draw_subsets([str(n) for n in range(200)], parts, seed, **sizes)
    return occluded, unoccluded, len(asked)


def test_a_draw_is_the_same_for_a_seed_and_another_for_another():
    occluded, unoccluded, asked = drawn(1, occluded=5, unoccluded=30)
    assert (len(occluded), len(unoccluded)) == (5, 30)
    assert all(name.endswith("7") for name in occluded)
    assert not any(name.endswith("7") for name in unoccluded)
    assert occluded == sorted(occluded, key=int)
    assert asked < 200
    assert drawn(1, occluded=5, unoccluded=30) == (occluded, unoccluded, asked)
    assert drawn(2, occluded=5, unoccluded=30)[0] != occluded
    with pytest.raises(DataError, match="only 20 of 750 occluded pictures among 200"):
        drawn(1)


def test_the_drawn_subsets_of_a_written_set_are_true(celebahq):
    pictures = read_celebahq(celebahq)
    occluded, unoccluded = draw_subsets(pictures.names, pictures.parts, 0, occluded=2, unoccluded=2)
    assert set(occluded) <= set(pictures.subsets["occluded"])
    assert set(unoccluded) <= set(pictures.subsets["unoccluded"])


def test_the_published_set_has_no_lists(celebahq, copied):
    root = copied(celebahq)
    for name in ("overall.txt", "occluded.txt", "unoccluded.txt", "dataset.json", "landmarks.csv"):
        (root / name).unlink()
    for path in (root / "CelebAMask-HQ-mask-anno" / "0").glob("00002_*.png"):
        path.unlink()
    cv2.imwrite(str(root / "CelebAMask-HQ-mask-anno" / "0" / "00003_neck.png"), np.full((9, 9), 255, np.uint8))
    pictures = read_celebahq(root)
    assert pictures.names == [str(n) for n in range(N["celebahq"]) if n != 2]
    assert pictures.subsets == {"overall": pictures.names}
    assert not pictures.aligned
    (line,) = pictures.missing
    assert line.endswith("2.jpg: no part of the face is marked in CelebAMask-HQ-mask-anno")
    assert np.array_equal(pictures.mask("3"), read_celebahq(celebahq).mask("3")), "the neck is no face"


def test_listed_pictures_that_are_not_there_have_a_line_each(celebahq, copied):
    root = copied(celebahq)
    (root / "CelebA-HQ-img" / "1.jpg").unlink()
    (root / "overall.txt").write_text("CelebA-HQ-img/4.jpg\n1.jpg\n0\n")
    (root / "occluded.txt").write_text("0.jpg\n5.jpg\n77.jpg\n")
    pictures = read_celebahq(root)
    assert pictures.names == ["4", "0"]
    assert pictures.subsets["overall"] == ["0", "4"]
    assert pictures.subsets["occluded"] == ["0"]
    assert sum("overall.txt: 1 has no picture" in line for line in pictures.missing) == 1
    assert sum("/occluded.txt: there is no picture 77" in line for line in pictures.missing) == 1
    (root / "occluded.txt").write_text("0.jpg\n0.jpg\n")
    with pytest.raises(DataError, match=r"line 2: 0\.jpg is already in line 1"):
        read_celebahq(root)


def test_a_bucket_gives_the_bits_that_the_folder_gives(celebahq, bucket):
    local, stored = read_celebahq(celebahq), read_celebahq(uploaded(celebahq, f"{bucket}/celebahq"))
    assert (stored.names, stored.subsets, stored.missing) == (local.names, local.subsets, local.missing)
    for name in local.names[:2]:
        assert np.array_equal(local.picture(name), stored.picture(name))
        assert np.array_equal(local.mask(name), stored.mask(name))
