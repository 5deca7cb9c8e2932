"""A model on a CUDA device answers as on the CPU: shown on a device that is not there (tests/stand_in_device.py)."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from focus_ray.data.detectors.detection import Detection
from focus_ray.geometry.mesh_writer import Mesh
from focus_ray.inference import Reconstructor, reconstruct_paths
from focus_ray.inference.face_locations import locate_faces
from focus_ray.inference.face_result import Face, FaceResult
from focus_ray.inference.overlay import draw_overlay
from focus_ray.model import Model
from focus_ray.serving import outputs
from focus_ray.serving.fitting import FitRequest, Fitter, move_to_device
from focus_ray.serving.settings import BatchingSettings
from tests.inference.conftest import Finds
from tests.stand_in_device import DEVICE, FakeCudaTensor, fake_cuda_device

FOUND = Detection((174.0, 65.0, 100.0, 100.0), 0.06, 9.0)


@pytest.fixture(scope="module")
def expected(untrained: Model, portrait: np.ndarray) -> list[FaceResult]:
    """What the CPU makes of the portrait, without refinement and with two steps."""
    return [Reconstructor(untrained, Finds(FOUND)).reconstruct(portrait, refine=steps)[0] for steps in (0, 2)]


@pytest.fixture
def remote(untrained: Model, expected: list[FaceResult]) -> Iterator[Reconstructor]:
    """The same with its networks and face model on the device."""
    model = replace(untrained, focus=copy.deepcopy(untrained.focus))
    with fake_cuda_device():
        yield move_to_device(Reconstructor(model, Finds(FOUND)), str(DEVICE))


def check_face(one: Face, other: Face) -> None:
    np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-2)
    np.testing.assert_allclose(one.theta.camera, other.theta.camera, atol=1e-3)
    assert one.visibility == pytest.approx(other.visibility, abs=0.05)


def check_mesh(mesh: Mesh, expected: Mesh) -> None:
    np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=1e-2)
    np.testing.assert_allclose(mesh.colours, expected.colours, atol=1e-3)
    np.testing.assert_array_equal(mesh.faces, expected.faces)


def test_the_stand_in_refuses_what_a_device_refuses():
    with fake_cuda_device():
        there, here = torch.ones(3, device=DEVICE), torch.ones(3)
        assert isinstance(there, FakeCudaTensor)
        assert isinstance(there[here.bool()] + 1, FakeCudaTensor)
        for mix in (lambda: there + here, lambda: here[there.long()], lambda: torch.where(there > 0, here, 0)):
            with pytest.raises(RuntimeError, match="same device"):
                mix()
        with pytest.raises(TypeError, match="cpu"):
            there.numpy()
        assert (there.cpu() + here.to(there).cpu()).numpy().tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("place", [0, 1])
def test_a_face_is_that_of_the_cpu(
    place: int,
    remote: Reconstructor,
    untrained: Model,
    expected: list[FaceResult],
    portrait: np.ndarray,
    tmp_path: Path,
):
    assert remote.device == DEVICE
    picture = tmp_path / "portrait.png"
    Image.fromarray(portrait).save(picture)
    (result,) = reconstruct_paths([picture], tmp_path / "out", model=remote, refine=2 * place)
    assert (result.status, result.message) == ("ok", "")
    check_face(result.faces[0], expected[place].face)
    files = {path.name: path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files.keys() >= {"overlay.png", "mask.png", "mesh.obj", "contact_sheet.png"}
    focus = untrained.focus
    overlay = draw_overlay(portrait, expected[place : place + 1], focus.face_model, focus.renderer.camera).image
    assert np.abs(np.array(Image.open(files["overlay.png"]), float) - overlay).mean() < 0.1


def test_the_service_answers_every_face(remote: Reconstructor, expected: list[FaceResult], portrait: np.ndarray):
    fitter = Fitter(remote, BatchingSettings(batch=1))
    found = fitter.fit([FitRequest(locate_faces(portrait, Finds(FOUND)), refine) for refine in (False, True)])
    assert not any(one.failed for one in found)
    for one, result in zip(found, expected, strict=True):
        check_face(one.faces[0].face, result.face)
        check_mesh(one.faces[0].arrays.mesh, result.arrays.mesh)
    drawing = fitter.render_context
    files = outputs.encode_outputs(
        portrait, found[0].faces, ["overlay", "rendering"], drawing.face_model, drawing.camera
    )
    assert files.picture["overlay"]
    assert files.faces[0]["rendering"]
