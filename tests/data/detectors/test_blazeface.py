"""BlazeFace: the anchors of both networks, and a candidate in px of the picture."""

import numpy as np
import pytest

from focus_ray.data.align import rotated_view
from focus_ray.data.detectors.blazeface import FULL_RANGE, SHORT_RANGE, BlazeFace, BlazeFaceVersion, _anchor_centres
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.mesh import whole_view
from focus_ray.data.detectors.weight_files import FULL_RANGE_FILE, SHORT_RANGE_FILE


@pytest.mark.parametrize(("version", "count"), [(SHORT_RANGE, 896), (FULL_RANGE, 2304)])
def test_anchors_lie_in_the_middle_of_their_cells(version: BlazeFaceVersion, count: int):
    anchors = _anchor_centres(version)
    assert anchors.shape == (count, 2)
    stride, repeats = version.anchors[0]
    np.testing.assert_array_equal(anchors[:repeats], np.full((repeats, 2), stride / 2))
    np.testing.assert_array_equal(anchors[repeats], [1.5 * stride, stride / 2])
    np.testing.assert_array_equal(anchors.mean(axis=0), [version.side / 2] * 2)


@pytest.mark.parametrize(("file", "version"), [(SHORT_RANGE_FILE, SHORT_RANGE), (FULL_RANGE_FILE, FULL_RANGE)])
@pytest.mark.parametrize("degrees", [0.0, 90.0])
def test_a_candidate_lies_at_the_face(
    file: str, version: BlazeFaceVersion, degrees: float, mesh_spec: DetectorSpec, astronaut: np.ndarray
):
    turned = rotated_view(255.5, 255.5, 1.0, -degrees, 512)
    picture = turned.warp(astronaut)
    view = whole_view(picture, version.side, degrees)
    best = BlazeFace(mesh_spec.weights[file], version).propose(view.warp(picture), view, 0.5)[0]
    assert 0.5 <= best.score <= 1
    eyes = turned.to_image(best.keypoints[:2])
    assert np.linalg.norm(eyes.mean(axis=0) - [222.0, 107.0]) < 10
    assert eyes[0, 0] < eyes[1, 0]  # the right eye is on the picture's left
    assert np.degrees(best.roll) == pytest.approx(degrees, abs=12)  # the head itself is tilted
    assert np.linalg.norm(turned.to_image(best.centre) - [225.0, 125.0]) < 15
