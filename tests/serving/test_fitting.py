"""Batches of several requests: each answer is that of its picture alone, and a poisoned one fails alone."""

from dataclasses import replace

import numpy as np
import pytest

from focus_ray import load
from focus_ray.data.detectors.detection import Detection
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.errors import ModelError
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.reconstructor import Reconstructor
from focus_ray.serving import fitting
from focus_ray.serving.fitting import FitRequest, FitResult, Fitter, split_faces
from focus_ray.serving.settings import BatchingSettings

SETTINGS = BatchingSettings(batch=4)


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    shipped = load("embedded")
    model = shipped.model
    few = model.photo.with_steps(15)  # enough for a last digit to become visible
    return Fitter(
        Reconstructor(replace(model, photo=few), prior=shipped.prior, require_prior=False), SETTINGS, "focus/3"
    )


@pytest.fixture(scope="module")
def pictures(world_face) -> list[FaceLocations]:
    """Aligned crops, two of which are one picture with two faces."""
    batch = SyntheticFaces(world_face, split="heldout").batch(range(5))
    crops = [(255 * image.permute(1, 2, 0).numpy()).round().astype(np.uint8) for image in batch.images]
    whole = Detection((0.0, 0.0, 64.0, 64.0))
    aligned = [FaceLocations(crop, [whole], "picture") for crop in crops[:3]]
    beside = np.hstack(crops[3:])
    return [*aligned, FaceLocations(beside, [whole, Detection((64.0, 0.0, 64.0, 64.0))], "box")]


def theta_of(found: FitResult) -> np.ndarray:
    return np.array([[*face.theta.identity, *face.theta.expression, *face.theta.camera] for face, _ in found.faces])


@pytest.mark.parametrize("refine", [False, True])
def test_an_answer_does_not_depend_on_its_company(refine: bool, fitter: Fitter, pictures: list[FaceLocations]):
    asked = [FitRequest(picture, refine) for picture in pictures]
    together = fitter.fit(asked)
    assert [len(found.faces) for found in together] == [1, 1, 1, 2]
    for one, found in zip(asked, together, strict=True):
        np.testing.assert_array_equal(theta_of(fitter.fit([one])[0]), theta_of(found))
    backwards = fitter.fit(asked[::-1])[::-1]
    for one, other in zip(together, backwards, strict=True):
        np.testing.assert_array_equal(theta_of(one), theta_of(other))


def test_refined_and_plain_answers_in_one_batch(fitter: Fitter, pictures: list[FaceLocations]):
    plain, refined = fitter.fit([FitRequest(pictures[0], False), FitRequest(pictures[0], True)])
    np.testing.assert_array_equal(theta_of(plain), theta_of(fitter.fit([FitRequest(pictures[0], False)])[0]))
    np.testing.assert_array_equal(theta_of(refined), theta_of(fitter.fit([FitRequest(pictures[0], True)])[0]))
    assert not np.array_equal(theta_of(plain), theta_of(refined))


def test_a_poisoned_picture_is_refused_alone(fitter: Fitter, pictures: list[FaceLocations]):
    point = Detection((3.0, 3.0, 1.0, 1.0), landmarks=np.full((68, 2), 3.0))  # they span no face
    poisoned = FaceLocations(pictures[0].image, [point], "landmarks")
    bad, good = fitter.fit([FitRequest(poisoned, False), FitRequest(pictures[1], False)])
    assert bad.error
    assert not bad.faces
    np.testing.assert_array_equal(theta_of(good), theta_of(fitter.fit([FitRequest(pictures[1], False)])[0]))


def test_a_model_that_fails_is_not_the_pictures_fault(
    fitter: Fitter, pictures: list[FaceLocations], monkeypatch: pytest.MonkeyPatch
):
    whole = fitter._reconstructor.fit

    def sick(asked: list[FaceLocations], refine: int | None) -> list:
        if any(picture is pictures[2] for picture in asked):
            raise RuntimeError("device lost")
        return whole(asked, refine)

    monkeypatch.setattr(fitter._reconstructor, "fit", sick)
    bad, good = fitter.fit([FitRequest(pictures[2], False), FitRequest(pictures[1], False)])
    assert bad == FitResult(failed=True)
    assert len(good.faces) == 1


def test_a_stuck_batch_is_noticed(fitter: Fitter, monkeypatch: pytest.MonkeyPatch):
    fitter.check_health()
    now = 1000.0
    monkeypatch.setattr(fitting.time, "monotonic", lambda: now)
    monkeypatch.setattr(fitter, "_batch_started", now - SETTINGS.stuck_seconds / 2)
    fitter.check_health()
    monkeypatch.setattr(fitter, "_batch_started", now - 1e4)
    with pytest.raises(ModelError, match="a batch has taken 10000 s"):
        fitter.check_health()


def test_the_card_says_what_answers(fitter: Fitter):
    info = fitter.model_info
    assert info.version == load("embedded").model.version
    assert (info.registered, info.image_size, info.refine_steps) == ("focus/3", 64, 15)
    assert info.prior == "one_pass"
    assert fitter.render_context.face_model.n_vertices == info.vertices


def test_a_picture_with_many_faces_comes_in_parts():
    faces = [Detection((float(place), 0.0, 9.0, 9.0)) for place in range(5)]
    picture = FaceLocations(np.zeros((20, 20, 3), np.uint8), faces)
    assert [part.faces for part in split_faces(picture, 2)] == [faces[:2], faces[2:4], faces[4:]]
    assert split_faces(FaceLocations(picture.image, []), 2) == []
