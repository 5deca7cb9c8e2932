"""From a picture to FACE: the picture's own pixels, roll, several faces, and what is refused."""

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from focus_ray import model as models
from focus_ray.data.align import Crop, standard_points
from focus_ray.data.detectors.detection import Detection
from focus_ray.data.landmark_check import MEAN_LANDMARKS
from focus_ray.errors import CheckpointError, ConfigError, ImageError, LandmarkError
from focus_ray.face_models.landmarks import five_points
from focus_ray.focus.camera import euler_to_rotation
from focus_ray.geometry import mesh_writer
from focus_ray.inference import Reconstructor, load
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.face_result import Face
from focus_ray.inference.reconstructor import face_to_theta
from focus_ray.model import Model


class Finds:
    def __init__(self, *faces: Detection):
        self.faces = list(faces)

    def detect(self, image: np.ndarray) -> list[Detection]:
        return list(self.faces)


def box_at(x: float, y: float, side: float = 100.0, roll: float = 0.0) -> Detection:
    return Detection((x - side / 2, y - side / 2, float(side), float(side)), roll)


def middle(face) -> np.ndarray:
    return np.array(face.landmarks)[17:].mean(axis=0)


def test_a_face_in_the_pictures_own_pixels(reconstructor: Reconstructor, portrait: np.ndarray):
    ((face, arrays),) = reconstructor.reconstruct(portrait, refine=0)
    assert face.box == (174.0, 65.0, 100.0, 100.0)
    assert np.linalg.norm(middle(face) - [224.0, 125.0]) < 15
    assert face.model_version == "test"
    assert not face.corrected
    assert face.theta.identity == [0.0] * 80
    assert "landmarks_from_model" in face.quality
    assert arrays.mask.shape == (32, 32)
    assert not (arrays.mask & ~arrays.region).any()
    np.testing.assert_allclose(face_to_theta(face)[0, :80], torch.zeros(80))


def test_the_roll_of_the_picture_is_part_of_the_pose_and_of_the_landmarks(untrained: Model, portrait: np.ndarray):
    """The same picture turned by a quarter: landmarks turn with it, and the pose by 90 degrees about the view axis."""
    upright = Reconstructor(untrained, Finds(box_at(224, 115))).reconstruct(portrait, refine=0)[0].face
    turned_picture = np.ascontiguousarray(np.rot90(portrait, -1))  # clockwise
    x, y = portrait.shape[0] - 1 - 115.0, 224.0
    turned = Reconstructor(untrained, Finds(box_at(x, y, roll=np.pi / 2))).reconstruct(turned_picture, refine=0)[0].face
    expected = np.array(upright.landmarks)[:, ::-1] * [-1, 1] + [portrait.shape[0] - 1, 0]
    np.testing.assert_allclose(turned.landmarks, expected, atol=1.0)
    rotations = euler_to_rotation(torch.tensor([upright.pose.rotation, turned.pose.rotation]))
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(rotations[1], quarter @ rotations[0], atol=0.02, rtol=0)
    np.testing.assert_allclose(turned.theta.camera, upright.theta.camera, atol=0.02)


@pytest.mark.parametrize(("roll", "refine"), [(0.0, 0), (0.7, 0), (-2.0, 2)])
def test_the_projection_takes_the_exported_mesh_to_the_picture(
    roll: float, refine: int, untrained: Model, portrait: np.ndarray
):
    ((one, arrays),) = Reconstructor(untrained, Finds(box_at(224, 115, roll=roll))).reconstruct(portrait, refine=refine)
    face, mesh = Face.model_validate_json(one.model_dump_json()), arrays.mesh
    lines = [line.split() for line in mesh_writer.encode_obj(mesh).decode().splitlines()]
    vertices = np.array([line[1:4] for line in lines if line[0] == "v"], float)
    corners = vertices[np.array(face.landmark_vertices)]
    points = (np.array(face.landmark_weights)[..., None] * corners).sum(axis=1)
    u, v, depth = np.array(face.projection) @ np.vstack([points.T, np.ones(68)])
    np.testing.assert_allclose(np.stack([u / depth, v / depth], axis=1), face.landmarks, atol=0.01)
    assert face.focal_length is not None
    assert face.focal_length == pytest.approx(1014.72 / 7 / Crop(arrays.transform, 32).scale)
    assert abs(depth.mean() - 1000) < 200


def test_given_landmarks_skip_detection(untrained: Model, portrait: np.ndarray):
    five = 0.5 * standard_points(224) + [170.0, 60.0]
    points = 0.5 * MEAN_LANDMARKS[:, :2] * [1.0, -1.0] + [226.0, 116.0]
    points[[36, 39]], points[[42, 45]] = five[0], five[1]
    points[30], points[48], points[54] = five[2:]
    ((face, _),) = Reconstructor(untrained, Finds()).reconstruct(portrait, landmarks=points)
    assert "landmarks_from_model" not in face.quality
    predicted = five_points(torch.tensor(face.landmarks)).numpy()
    assert np.abs(predicted - five).max() < 12
    assert face.box == (*points.min(axis=0), *(points.max(axis=0) - points.min(axis=0)))
    with pytest.raises(LandmarkError):
        Reconstructor(untrained, Finds()).reconstruct(portrait, landmarks=np.zeros((68, 2)))
    with pytest.raises(LandmarkError, match="mirrored face"):
        Reconstructor(untrained, Finds()).reconstruct(portrait, landmarks=[0, 299] + points * [1, -1])


def test_a_given_box_skips_detection(untrained: Model, portrait: np.ndarray):
    ((face, _),) = Reconstructor(untrained, Finds()).reconstruct(portrait, box=(60.0, 120.0, 80.0, 80.0), refine=0)
    assert np.linalg.norm(middle(face) - [100, 165]) < 15
    for box in ((0.0, 0.0, 0.0, 9.0), (400.0, 0.0, 9.0, 9.0), (float("nan"), 0.0, 9.0, 9.0), (0.0, 0.0, 7.9, 9.0)):
        with pytest.raises(ConfigError, match="the box"):
            Reconstructor(untrained, Finds()).reconstruct(portrait, box=box)


def test_several_faces_keep_their_order_and_none_is_an_empty_list(untrained: Model, portrait: np.ndarray):
    five = 0.4 * standard_points(224) + [20.0, 150.0]
    points = np.tile(five.mean(axis=0), (68, 1))
    points[[36, 39]], points[[42, 45]] = five[0], five[1]
    points[30], points[48], points[54] = five[2:]
    known = Detection((20.0, 150.0, 90.0, 90.0), landmarks=points)
    found = [box_at(250, 100, 60), known, box_at(100, 90, 70)]
    faces = [face for face, _ in Reconstructor(untrained, Finds(*found)).reconstruct(portrait, refine=1)]
    assert [face.box for face in faces] == [face.box for face in found]
    places = np.array([middle(face) for face in faces])
    np.testing.assert_allclose(places, [[250, 106], five.mean(axis=0), [100, 97]], atol=15)
    assert ["landmarks_from_model" in face.quality for face in faces] == [True, False, True]
    assert Reconstructor(untrained, Finds()).reconstruct(portrait) == []


def test_a_face_has_the_same_bits_among_many(untrained: Model, portrait: np.ndarray):
    """More than 15 faces are computed in parts: from 16 on, torch has another routine for 1 x 1 convolutions."""
    reconstructor = Reconstructor(untrained, Finds())
    points = 0.5 * MEAN_LANDMARKS[:, :2] * [1.0, -1.0] + [226.0, 116.0]
    moved = [points + np.array([place, 0.0]) for place in range(17)]
    found = [Detection((174.0 + place, 65.0, 100.0, 100.0), landmarks=one) for place, one in enumerate(moved)]
    pictures = [FaceLocations(portrait, [face], "landmarks") for face in found]
    among_two, among_many = reconstructor.fit(pictures[:2], 0), reconstructor.fit(pictures, 0)
    assert [result.face.box for (result,) in among_many] == [picture.faces[0].box for picture in pictures]
    for (one,), (other,) in zip(among_two, among_many, strict=False):
        assert face_to_theta(one.face).equal(face_to_theta(other.face))
        np.testing.assert_array_equal(one.arrays.soft_mask, other.arrays.soft_mask)


def test_warnings(untrained: Model, portrait: np.ndarray):
    small, large = box_at(200, 150, 12), box_at(200, 150, 140)
    (tiny_face, _), (large_face, _) = Reconstructor(untrained, Finds(small, large)).reconstruct(portrait, refine=0)
    assert "small_face" in tiny_face.quality
    assert "small_face" not in large_face.quality
    corner = Reconstructor(untrained, Finds(box_at(5, 5, 100))).reconstruct(portrait, refine=0)[0].face
    assert "cut_off" in corner.quality
    assert "cut_off" not in large_face.quality


@pytest.mark.parametrize(
    "array", [np.zeros((5, 5, 3), np.float32), np.zeros((5, 5), np.uint8), np.zeros((0, 5, 3), np.uint8)]
)
def test_other_arrays_are_refused(array: np.ndarray, reconstructor: Reconstructor):
    with pytest.raises(ImageError, match="give uint8 RGB"):
        reconstructor.reconstruct(array)


@pytest.fixture
def unchecked():
    """Without the annotations' checks, which users do not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image": [[[0, 0, 0]]]}, ImageError, r"has type list; give .* np\.asarray\(image\)"),
        ({"image": None}, ImageError, "has type NoneType"),
        ({"image": Image.new("RGB", (9, 9))}, ImageError, "has type Image"),
        ({"refine": -1}, ConfigError, "refine is -1"),
        ({"refine": 1.5}, ConfigError, "refine is 1.5"),
        ({"refine": True}, ConfigError, "refine is True"),
        ({"box": (1.0, 2.0, 30.0)}, ConfigError, "not four finite numbers"),
        ({"box": "1,2,30,40"}, ConfigError, "not four finite numbers"),
        ({"landmarks": "a.csv"}, LandmarkError, "not 68 pairs"),
    ],
)
def test_other_arguments_are_refused(
    options: dict, error: type[Exception], message: str, reconstructor: Reconstructor, portrait: np.ndarray
):
    with pytest.raises(error, match=message):
        reconstructor.reconstruct(**{"image": portrait, **options})


def test_a_saved_model_reconstructs_the_same(untrained: Model, portrait: np.ndarray, tmp_path):
    models.save(tmp_path / "model", untrained)
    detector = Finds(box_at(224, 115))
    saved = load(tmp_path / "model", detector).reconstruct(portrait)
    assert saved[0].face == Reconstructor(untrained, detector).reconstruct(portrait)[0].face
    with pytest.raises(CheckpointError):
        load(tmp_path / "nothing")
