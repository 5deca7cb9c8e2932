"""Renders by number: the same bits in any company, exact truth, and errors that can be planted."""

import pytest
import torch

from focus_ray import presets
from focus_ray.data.distribution_types import LandmarkBias
from focus_ray.data.rendered import RenderedConfig, RenderedFaces
from focus_ray.data.sample import FaceDataset
from focus_ray.errors import ConfigError
from focus_ray.face_models.landmarks import JAW
from focus_ray.focus.camera import Camera
from focus_ray.focus.render.renderer import Renderer


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera(image_size=32)


def test_a_face_is_the_same_in_any_company(small_face, camera):
    faces = RenderedFaces(small_face, camera, RenderedConfig(), 0, "train")
    assert isinstance(faces, FaceDataset)
    several, alone = faces.batch([7, 3, 5]), faces.batch([3])
    for name in ("images", "landmarks", "theta", "vertices", "masks"):
        assert torch.equal(getattr(several, name)[1], getattr(alone, name)[0]), name


def test_seeds_and_splits_are_other_faces(small_face, camera):
    made = [
        RenderedFaces(small_face, camera, RenderedConfig(), seed, split).batch([0]).theta
        for seed, split in ((0, "train"), (1, "train"), (0, "heldout"), (0, "prior"), (0, "prior_heldout"))
    ]
    assert len({tuple(theta[0, :5].tolist()) for theta in made if theta is not None}) == len(made)


def test_the_truth_renders_the_picture(small_face, camera):
    batch = RenderedFaces(small_face, camera, RenderedConfig(noise=0.0, background="black"), 0, "train").batch(range(3))
    assert batch.theta is not None
    assert batch.landmarks_true is not None
    rendering = Renderer(small_face, camera)(batch.theta)
    assert (rendering.image.clamp(0, 1) - batch.images).abs().max() < 1 / 255
    torch.testing.assert_close(rendering.landmarks, batch.landmarks_true, rtol=0, atol=1e-3)
    torch.testing.assert_close(rendering.vertices, batch.vertices, rtol=0, atol=1e-3)
    assert (batch.images * 255 - (batch.images * 255).round()).abs().max() < 1e-4  # as a file would hold them


def test_a_planted_bias_of_the_detector_is_where_it_was_planted(small_face, camera):
    biased = RenderedConfig(detector_bias=LandmarkBias(jaw=(0.0, 7.0)))
    plain, shifted = (
        RenderedFaces(small_face, camera, laws, 0, "train").batch(range(4)).landmarks
        for laws in (RenderedConfig(), biased)
    )
    moved = shifted - plain
    torch.testing.assert_close(moved[:, list(JAW)], torch.tensor([0.0, 1.0]).expand(4, 17, 2), rtol=0, atol=1e-4)
    assert moved[:, 17:].abs().max() == 0


def test_a_bias_of_landmarks_that_do_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"there is no key 'data\.rendered\.detector_bias\.chin'"):
        presets.load("misfit", assignments=["data.rendered.detector_bias={chin: [0, 1]}"])


def test_a_bias_can_be_planted_in_both_worlds():
    both = [f"data.{key}={{jaw: [0, 8]}}" for key in ("rendered.detector_bias", "synthetic.detector.bias")]
    data = presets.load("misfit", assignments=both).data
    assert data.rendered.detector_bias == data.synthetic.detector.bias == LandmarkBias(jaw=(0.0, 8.0))
    assert data.rendered.detector_bias.shift()[list(JAW)].tolist() == [[0.0, 8.0]] * 17
