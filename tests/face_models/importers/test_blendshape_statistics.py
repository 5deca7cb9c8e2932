import numpy as np

from focus_ray.face_models.importers.blendshape_statistics import weight_covariance_root


def test_sides_go_together_and_eyes_look_the_same_way():
    names = ["jawOpen", "mouthSmile_L", "mouthSmile_R", "eyeLookIn_L", "eyeLookIn_R", "eyeLookOut_L", "eyeLookOut_R"]
    root = weight_covariance_root(names)
    covariance = root @ root.T
    sigma = np.sqrt(np.diag(covariance))
    correlation = covariance / sigma[:, None] / sigma
    np.testing.assert_allclose(sigma[:3], [0.25, 0.3, 0.3])
    assert correlation[1, 2] > 0.8
    assert abs(correlation[0, 1]) < 1e-12
    assert correlation[3, 6] > 0.9
    assert abs(correlation[3, 4]) < 1e-12
