"""Checks of source models: numbers that are not finite, wrong triangles, and faces with other axes or units."""

from dataclasses import replace

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.source_checks import check_faces, check_mean, check_source
from focus_ray.face_models.importers.source_model import Albedo, SourceModel
from focus_ray.face_models.importers.terms import GNM
from focus_ray.face_models.provenance import Provenance
from tests.face_models.importers.writers import toy

FACE = toy()
N = len(FACE.mean)
SOUND = SourceModel(
    name="toy",
    mean=FACE.mean,
    faces=FACE.faces,
    identity=FACE.modes(3),
    expression=FACE.modes(2),
    landmark_triangles=FACE.landmark_triangles,
    landmark_barycentric=FACE.landmark_weights,
    provenance=Provenance(kind="toy", files={}, licence=GNM),
    albedo=Albedo(np.full((N, 3), 0.5), np.zeros((2, N, 3))),
)
NAN = np.full((1, N, 3), np.nan)


def test_a_sound_model_is_returned():
    assert check_source(SOUND) is SOUND


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identity": NAN}, "toy: identity has a number that is not finite; get the file again"),
        ({"expression": NAN}, "toy: expression has a number that is not finite"),
        ({"albedo": Albedo(np.full((N, 3), np.inf), NAN)}, "toy: mean albedo has a number that is not finite"),
        ({"uv": np.full((N, 2), np.nan)}, "toy: uv has a number that is not finite"),
        ({"mean": FACE.mean / 1000}, r"the outer corners of the eyes are 0\.09.* mm apart; check the landmarks"),
        ({"mean": FACE.mean * [1, -1, -1]}, "is not upright, looks not along z or is mirrored; check the landmarks"),
        ({"mean": FACE.mean * [-1, 1, 1]}, "or is mirrored"),
        ({"mean": FACE.mean * [1, 1, -1]}, "looks not along z"),
    ],
)
def test_other_models_are_refused(change, message):
    with pytest.raises(FaceModelError, match=message):
        check_source(replace(SOUND, **change))


def test_triangles_are_checked():
    for faces in (np.zeros((0, 3), int), np.zeros((2, 4), int), np.zeros(3, int), np.zeros((2, 3))):
        with pytest.raises(FaceModelError, match="toy: the triangles have shape"):
            check_faces(faces, N, "toy")
    for vertex in (-1, N):
        with pytest.raises(FaceModelError, match=r"a triangle has a vertex that is not one of 0\.\.350"):
            check_faces(np.array([[0, 1, vertex]]), N, "toy")


@pytest.mark.parametrize("number", [np.nan, -np.inf, 1e300])
def test_places_that_no_face_has_are_refused(number):
    check_mean(FACE.mean, "toy")
    with pytest.raises(
        FaceModelError, match=r"toy: the mean has a number that is not finite or over 1e\+06 mm; get the"
    ):
        check_mean(np.array([[0, number, 0]]), "toy")
