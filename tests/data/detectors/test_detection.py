"""Detections: overlapping boxes of one face become one."""

import numpy as np

from focus_ray.data.detectors.detection import Detection, overlap_ratio, suppress_overlaps


def test_overlapping_boxes_leave_the_surest():
    big = Detection((10.0, 10.0, 100.0, 100.0), score=3.0)
    shifted = Detection((20.0, 15.0, 90.0, 100.0), score=9.0)
    inside = Detection((40.0, 40.0, 20.0, 20.0), score=1.0)
    apart = Detection((200.0, 10.0, 80.0, 80.0), score=2.0)
    assert suppress_overlaps([big, shifted, inside, apart], 0.4) == [shifted, apart]
    assert suppress_overlaps([], 0.4) == []


def test_intersection_is_the_share_of_the_smaller_box():
    assert overlap_ratio((0.0, 0.0, 10.0, 10.0), (5.0, 0.0, 10.0, 10.0)) == 0.5
    assert overlap_ratio((0.0, 0.0, 10.0, 10.0), (2.0, 2.0, 5.0, 5.0)) == 1.0
    assert overlap_ratio((0.0, 0.0, 10.0, 10.0), (10.0, 0.0, 5.0, 5.0)) == 0.0


def test_centre_and_side():
    face = Detection((10.0, 20.0, 30.0, 50.0))
    np.testing.assert_array_equal(face.centre, [25, 45])
    assert face.side == 40
