"""Face models that stored models refer to by name and digest."""

from pathlib import Path

import pytest

from focus_ray.errors import CheckpointError, ModelError
from focus_ray.face_models import by_name
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.face_models.shipped_face import load_shipped, shipped_name


@pytest.fixture
def shipped(ellipsoid_face: MorphableModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MorphableModel:
    """The ellipsoid as a face model that the package ships, as float16."""
    path = tmp_path / "shipped.face"
    path.write_bytes(ellipsoid_face.to_bytes(half=True))
    monkeypatch.setattr(by_name, "SHIPPED_FACES", {ellipsoid_face.name: path})
    return by_name.load_face(ellipsoid_face.name)


def altered(face: MorphableModel, name: str, factor: float) -> MorphableModel:
    return MorphableModel.from_tensors(face.tensors() | {name: getattr(face, name) * factor}, face.description())


def test_only_the_same_face_has_the_name_of_the_shipped_one(shipped, ellipsoid_face):
    assert shipped_name(shipped) == ellipsoid_face.name
    assert shipped_name(ellipsoid_face.round_to_half()) == ellipsoid_face.name
    assert shipped_name(altered(shipped, "shape_basis", 0.5)) is None
    same_digest = altered(shipped, "uv", 0.5)  # the digest leaves uv out, textures do not
    assert same_digest.digest == shipped.digest
    assert shipped_name(same_digest) is None


def test_another_origin_is_another_face(shipped):
    renamed = MorphableModel.from_tensors(shipped.tensors(), shipped.description() | {"name": "other"})
    assert shipped_name(renamed) is None


def test_a_package_without_its_faces_ships_none(shipped, monkeypatch, tmp_path):
    monkeypatch.setattr(by_name, "SHIPPED_FACES", {shipped.name: tmp_path / "absent.face"})
    assert shipped_name(shipped) is None
    with pytest.raises(ModelError, match=r"which this copy of focus-ray lacks .* use a model folder that has its own"):
        load_shipped(shipped.name, shipped.digest)


def test_the_digest_is_verified(shipped):
    assert load_shipped(shipped.name, shipped.digest).digest == shipped.digest
    with pytest.raises(CheckpointError, match=f"with digest 000000000000, this version .* {shipped.digest[:12]}"):
        load_shipped(shipped.name, "0" * 64)


def test_a_name_of_a_later_version_is_refused(shipped):
    with pytest.raises(CheckpointError, match=r"needs the face model 'later' of focus-ray, this version has"):
        load_shipped("later", shipped.digest)
