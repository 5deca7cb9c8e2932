"""A method at work on pictures: aligned, fitted, drawn back, written, and gone on with."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from focus_ray.data.align import Crop
from focus_ray.errors import ConfigError, ImageError, Interrupted
from focus_ray.evaluation import predict as predicting
from focus_ray.evaluation.methods import Method, all_ones_mask
from focus_ray.evaluation.now.submission import Submission
from focus_ray.evaluation.predict import predict, warp_to_picture, warp_to_picture_rgba
from focus_ray.evaluation.predictions import PredictionFolder


@dataclass
class InMemory:
    """Pictures of a batch, by number."""

    pictures: dict[str, np.ndarray]
    points: dict[str, np.ndarray | None]
    aligned: bool = True
    asked: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return list(self.pictures)

    def picture(self, name: str) -> np.ndarray:
        self.asked.append(name)
        if not self.pictures[name].size:
            raise ImageError("the picture is damaged")
        return self.pictures[name]

    def landmarks(self, name: str) -> np.ndarray | None:
        return self.points[name]


@pytest.fixture
def pictures(faces) -> InMemory:
    images = (faces.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    names = [f"someone/selfie/{number}" for number in range(len(images))]
    points = faces.landmarks.double().numpy()
    return InMemory(dict(zip(names, images, strict=True)), dict(zip(names, points, strict=True)))


def test_what_is_written_is_what_the_method_says(model, faces, pictures, tmp_path):
    method = Method("ours", model)
    assert predict(method, pictures, tmp_path, None, meshes=True) == []
    fit = method.fit(faces.images, faces.landmarks)
    neutral = method.neutral_vertices(fit.theta)
    predictions, submission = PredictionFolder(tmp_path), Submission(tmp_path / "meshes")
    for row, name in enumerate(pictures.names):
        size = pictures.pictures[name].shape[:2]
        assert np.allclose(predictions.mask(name, size), fit.mask[row, 0].numpy(), atol=0.5 / 255 + 1e-6)
        colours, region = predictions.rendering(name, size)
        assert np.array_equal(region, fit.rendering.mask[row, 0].numpy() > 0)
        said = fit.rendering.image[row].clamp(0, 1).permute(1, 2, 0).numpy()
        assert np.abs(colours[region] / 255 - said[region]).max() < 0.5 / 255 + 1e-6
        mesh = submission.read(name)
        assert np.allclose(mesh.mesh.vertices, neutral[row].numpy(), atol=1e-3)
        assert np.allclose(mesh.landmarks[0], model.focus.face_model.landmarks(neutral[row : row + 1])[0, 36].numpy())


def test_what_is_there_is_not_computed_again(model, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(predicting, "BATCH", 2)
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        predict(Method("ours", model), pictures, tmp_path, None, should_stop=lambda: next(asked))
    assert pictures.asked == pictures.names[:2]
    told: list[tuple[int, int]] = []
    predict(Method("ours", model), pictures, tmp_path, None, progress=lambda *done: told.append(done))
    assert pictures.asked == pictures.names
    assert told == [(4, 4)]
    predict(Method("ours", model), pictures, tmp_path, None)
    assert pictures.asked == pictures.names
    with pytest.raises(ConfigError, match="another method"):
        predict(Method("plain", model, all_ones_mask), pictures, tmp_path, None)


def test_a_picture_that_cannot_be_used_is_told_and_the_rest_goes_on(model, pictures, tmp_path):
    broken, without = pictures.names[1], pictures.names[2]
    pictures.pictures[broken] = np.empty((0, 0, 3), np.uint8)
    pictures.points[without] = None
    problems = predict(Method("ours", model), pictures, tmp_path, None)
    assert len(problems) == 2
    assert problems[0] == f"{broken}: the picture is damaged"
    assert "landmarks.csv" in problems[1]
    assert [PredictionFolder(tmp_path).is_complete(name) for name in pictures.names] == [True, False, False, True]


def test_pictures_of_other_sizes_are_answered_in_their_own_pixels(model, faces, pictures, tmp_path):
    name = pictures.names[0]
    pictures.pictures[name] = pictures.pictures[name].repeat(2, 0).repeat(2, 1)
    points = pictures.points[name]
    assert points is not None
    pictures.points[name] = 2 * points + 0.5
    predict(Method("ours", model), pictures, tmp_path, None)
    doubled = PredictionFolder(tmp_path).region(name, (64, 64))
    region = Method("ours", model).fit(faces.images, faces.landmarks).rendering.mask[0, 0].numpy() > 0
    assert abs(doubled.mean() - region.mean()) < 0.03


def test_photographs_are_aligned_by_their_landmarks(model, pictures, tmp_path):
    loose = InMemory(pictures.pictures, pictures.points, aligned=False)
    assert predict(Method("ours", model), loose, tmp_path, None) == []
    assert PredictionFolder(tmp_path).region(loose.names[0], (32, 32)).any()


def test_a_rendering_drawn_back_keeps_its_colours_at_the_edge():
    region = np.zeros((16, 16), bool)
    region[4:12, 4:12] = True
    image = np.where(region[..., None], np.float32(0.8), np.float32(0.0)) * np.ones(3, np.float32)
    crop = Crop(np.array([[0.5, 0.0, 1.3], [0.0, 0.5, 0.7]]), 16)
    drawn = warp_to_picture_rgba(image, region, crop, (32, 32))
    inside = drawn[..., 3] > 0.5
    assert inside.any()
    assert np.allclose(drawn[inside][:, :3], 0.8, atol=1e-5)
    assert torch.equal(
        torch.from_numpy(warp_to_picture(image, Crop(np.eye(3)[:2], 16), (16, 16))), torch.from_numpy(image)
    )
