"""The CelebAMask-HQ layout as it is written."""

import numpy as np

from focus_ray.data.dataset_writers.celebahq_writer import KINDS, part_masks
from focus_ray.data.dataset_writers.picture_kinds import faces_by_kind
from focus_ray.data.dataset_writers.picture_writer import first_picture, region_mask, visible_mask
from focus_ray.data.sources.celebahq import FACE_PARTS, OCCLUDER_PARTS, read_celebahq
from tests.data.dataset_writers.sets import SEED, SIZE, N, world


def test_masks_merge_to_the_truth_and_subsets_are_true(celebahq):
    pictures, (faces,) = read_celebahq(celebahq), faces_by_kind(KINDS, world(), SEED, SIZE)
    batch = faces.batch(range(N["celebahq"]))
    assert pictures.missing == []
    assert pictures.names == [str(index) for index in range(N["celebahq"])]
    for index, name in enumerate(pictures.names):
        one = batch.select([index])
        assert np.array_equal(pictures.mask(name), visible_mask(one))
        assert np.abs(pictures.picture(name).astype(int) - first_picture(one)).mean() < 2
        np.testing.assert_allclose(pictures.landmarks(name), one.landmarks[0], atol=0.0051)
    assert batch.occluded is not None
    occluded = [name for name, hidden in zip(pictures.names, batch.occluded, strict=True) if hidden]
    assert 2 <= len(occluded) <= N["celebahq"] - 2
    assert pictures.subsets == {
        "overall": pictures.names,
        "occluded": occluded,
        "unoccluded": [name for name in pictures.names if name not in occluded],
    }


def test_features_are_where_their_landmarks_are_and_glasses_have_a_part():
    batch = faces_by_kind(KINDS, world(), SEED, 96)[0].batch([0])
    region, landmarks = region_mask(batch), batch.landmarks_true[0].numpy()
    visible = region.copy()
    visible[: int(landmarks[[*range(17, 27), *range(36, 48)], 1].max() + 2)] = False
    parts = part_masks(visible, region, landmarks, "sunglasses")
    assert set(parts) <= {*FACE_PARTS, *OCCLUDER_PARTS}
    assert not {"l_eye", "r_eye", "l_brow", "r_brow"} & set(parts), "they are hidden"
    assert np.array_equal(parts["eye_g"], region & ~visible)
    column, row = np.rint(landmarks[[33, 51, 57]]).astype(int).T
    assert [parts[part][y, x] for part, y, x in zip(("nose", "u_lip", "l_lip"), row, column, strict=True)] == [True] * 3
    faces = [mask for part, mask in parts.items() if part in FACE_PARTS]
    assert np.array_equal(np.logical_or.reduce(faces), visible)
    bare = part_masks(region, region, landmarks, "none")
    assert bare["l_eye"].nonzero()[1].mean() > bare["r_eye"].nonzero()[1].mean(), "the subject's left is at the right"
