import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.by_name import load_face


def test_a_file(ellipsoid_face, tmp_path):
    ellipsoid_face.save(tmp_path / "own.face")
    assert load_face(str(tmp_path / "own.face")).digest == ellipsoid_face.digest


@pytest.mark.parametrize("name", ["basel", ""])
def test_an_unknown_name(name):
    with pytest.raises(FaceModelError, match="there is no face model"):
        load_face(name)
