import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models import by_name
from focus_ray.face_models.by_name import load_face


def test_a_file(ellipsoid_face, tmp_path):
    ellipsoid_face.save(tmp_path / "own.face")
    assert load_face(str(tmp_path / "own.face")).digest == ellipsoid_face.digest


@pytest.mark.parametrize("name", ["basel", ""])
def test_an_unknown_name(name):
    with pytest.raises(FaceModelError, match="there is no face model"):
        load_face(name)


def test_a_copy_without_the_shipped_faces(monkeypatch, tmp_path):
    monkeypatch.setattr(by_name, "SHIPPED_FACES", {"ict": tmp_path / "ict.face"})
    with pytest.raises(FaceModelError, match="jobs are sent without it"):
        load_face("ict")
