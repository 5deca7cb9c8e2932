"""Learning the appearance prior: from photographs with a face in colour, and from nothing less."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from focus_ray import model as models
from focus_ray.data.detectors.detection import Detection, bounding_box
from focus_ray.errors import DataError
from focus_ray.focus.photo_fit import PhotoFitSettings
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta
from focus_ray.inference import learn_appearance as module
from focus_ray.inference.learn_appearance import (
    learn_appearance,
    skin_harmonics,
    skin_tones,
    skin_triangles,
    store_appearance,
)
from focus_ray.inference.overlay import encode_png
from focus_ray.model import Model
from focus_ray.model_location import SHIPPED_MODELS

FACES = 6


@pytest.fixture(scope="module")
def model() -> Model:
    return models.load(SHIPPED_MODELS["embedded"])


@pytest.fixture(scope="module")
def photographs(model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, np.ndarray]]:
    """Rendered faces as files, by name, with their landmarks; the last one in black and white."""
    folder = tmp_path_factory.mktemp("photographs")
    with torch.no_grad():
        rendering = model.focus.renderer(sample_theta(SamplingDistributions(), FACES, make_generator(7)))
    found = {}
    for number in range(FACES):
        picture = rendering.image[number].clamp(0, 1).mul(255).byte().permute(1, 2, 0).numpy()
        if number == FACES - 1:
            picture = np.repeat(picture.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        path = folder / f"{number}.png"
        path.write_bytes(encode_png(np.ascontiguousarray(picture)))
        found[path.name] = (path, rendering.landmarks[number].double().numpy())
    return found


class KnownFaces:
    """A detector that finds one face after the other."""

    def __init__(self, landmarks: list[np.ndarray]) -> None:
        self.left = list(landmarks)

    def detect(self, image: np.ndarray) -> list[Detection]:
        points = self.left.pop(0)
        return [Detection(bounding_box(points), landmarks=points)]


def test_it_learns_from_the_faces_in_colour(model: Model, photographs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MIN_FACES", FACES - 1)
    paths, landmarks = zip(*photographs.values(), strict=True)
    parts = []
    prior, faces = learn_appearance(
        model.focus, paths, KnownFaces(list(landmarks)), lambda name, done, total: parts.append(name)
    )
    assert faces == FACES - 1
    assert set(parts) == {"photographs", "light", "residuals"}
    assert float(prior.light_mean[[0, 9, 18]].min()) > 0.5
    assert float(prior.residuals.median()) < 0.12  # renders are explained better than photographs


def test_the_prior_is_written_into_the_model(
    model: Model, photographs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    models.save(tmp_path / "model", dataclasses.replace(model, appearance=None))
    assert models.load(tmp_path / "model").appearance is None
    known = model.appearance
    assert known is not None
    monkeypatch.setattr(module, "learn_appearance", lambda *_: (known, 7))
    paths = [path for path, _ in photographs.values()]
    assert store_appearance(tmp_path / "model", paths, KnownFaces([])) == 7
    stored = models.load(tmp_path / "model")
    assert stored.appearance is not None
    assert torch.equal(stored.appearance.residuals, known.residuals)
    assert stored.lineage.appearance == "photographs"
    assert stored.photo == PhotoFitSettings()
    looser = PhotoFitSettings(expression=1e-5)
    store_appearance(tmp_path / "model", paths, KnownFaces([]), None, looser)
    assert models.load(tmp_path / "model").photo == looser
    unknown = dataclasses.replace(known, residuals=torch.full_like(known.residuals, torch.nan))
    monkeypatch.setattr(module, "learn_appearance", lambda *_: (unknown, 7))
    with pytest.raises(DataError, match="show too little of 7 faces"):
        store_appearance(tmp_path / "model", paths, KnownFaces([]))
    assert models.load(tmp_path / "model").appearance is not None


def test_too_few_faces_are_refused(model: Model, photographs):
    paths, landmarks = zip(*photographs.values(), strict=True)
    with pytest.raises(DataError, match="at least 20"):
        learn_appearance(model.focus, paths, KnownFaces(list(landmarks)))


def test_tones_of_a_perfect_fit_under_white_light_agree(model: Model):
    theta = sample_theta(SamplingDistributions(), 1, make_generator(8))
    with torch.no_grad():
        rendering = model.focus.renderer(theta)
    photo, albedo = skin_tones(model.focus.face_model, rendering.image[0], rendering, theta[0])
    assert photo.shape == albedo.shape == (3,)
    assert bool((photo > 0).all())
    empty = rendering.rows(slice(0, 1))
    empty.triangle_ids = torch.full_like(empty.triangle_ids, -1)
    assert skin_tones(model.focus.face_model, rendering.image[0], empty, theta[0])[0].tolist() == [0, 0, 0]


def test_the_harmonics_give_the_mean_light_of_the_rendered_skin(model: Model):
    face_model = model.focus.face_model
    light = torch.randn(3, 9, generator=make_generator(0)) + torch.tensor([3.0] + [0.0] * 8)
    white, resting = torch.ones(1, face_model.n_vertices, 3), torch.zeros(1, 3)
    with torch.no_grad():
        rendering = model.focus.renderer.render(face_model.mean[None], white, light.flatten()[None], resting, resting)
    ids = rendering.triangle_ids[0]
    shown = skin_triangles(face_model)[ids.clamp_min(0)] & (ids >= 0)
    expected = rendering.image[0][:, shown].mean(dim=1)
    torch.testing.assert_close(light @ skin_harmonics(face_model), expected, rtol=0.1, atol=0.0)  # flat triangles
