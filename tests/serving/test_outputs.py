"""The files of an answer lie where the face is, say what the arrays say, and are no larger than promised."""

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import trimesh

from focus_ray import model as models
from focus_ray.data.align import Crop
from focus_ray.focus.camera import Camera
from focus_ray.focus.refine import RefineSettings
from focus_ray.inference import Reconstructor
from focus_ray.inference.face_result import Face, FaceResult
from focus_ray.inference.overlay import draw_overlay
from focus_ray.inference.reconstruct_files import reconstruct_paths
from focus_ray.inference.texture import TextureKind
from focus_ray.model import EncoderSettings, Model, ModelSettings, PerceptualSettings, SegmenterSettings
from focus_ray.serving.outputs import OutputFiles, deliver_files, encode_outputs, face_response, inline_output
from focus_ray.serving.schema import (
    FACE_OUTPUTS,
    MEDIA_TYPES,
    FaceOutput,
    FaceResponse,
    ImageOutput,
    Output,
    Reconstruction,
    Size,
)
from tests.arkit_face import arkit_model

SIZE = 32
EVERYTHING: tuple[FaceOutput | ImageOutput, ...] = ("mask", "region", "rendering", "glb", "obj", "ply", "overlay")


@pytest.fixture(scope="module")
def model(ellipsoid_face) -> Model:
    """One that knows nothing: it answers with the mean face."""
    torch.manual_seed(0)
    settings = ModelSettings(
        camera=Camera(image_size=SIZE),
        encoder=EncoderSettings(kind="small", width=4),
        segmenter=SegmenterSettings(width=4, levels=2, dropout=0.0, norm="group"),
        perceptual=PerceptualSettings(kind="warmup_encoder"),
    )
    focus = models.build(settings, ellipsoid_face).eval().requires_grad_(False)
    return Model(focus, settings, RefineSettings(steps=2), "test")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Coloured noise."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return cv2.resize(coarse, (400, 300), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def face(model: Model, picture: np.ndarray) -> FaceResult:
    """A face whose mask runs from 0 at its left to 1 at its right."""
    (face,) = Reconstructor(model).reconstruct(picture, box=(150.0, 90.0, 90.0, 90.0), refine=0)
    return masked(face, np.tile(np.linspace(0, 1, SIZE, dtype=np.float32), (SIZE, 1)))


def masked(face: FaceResult, soft: np.ndarray) -> FaceResult:
    """The face with another mask."""
    arrays = face.arrays
    soft = (soft * arrays.region).astype(np.float32)
    return face._replace(arrays=replace(arrays, soft_mask=soft, mask=soft > 0.5))


def moved(face: FaceResult, transform: np.ndarray) -> FaceResult:
    """The face at another place of the picture."""
    return face._replace(arrays=replace(face.arrays, transform=transform))


def decoded(content: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


def made(image: np.ndarray, face: FaceResult, model: Model, *outputs: FaceOutput | ImageOutput) -> OutputFiles:
    return encode_outputs(image, [face], outputs, model.focus.face_model, model.settings.camera)


def pixels(image: np.ndarray, face: FaceResult, model: Model, output: FaceOutput) -> np.ndarray:
    return decoded(made(image, face, model, output).faces[0][output])


def test_the_mask_is_the_probability_in_the_rendered_region(face: FaceResult, picture: np.ndarray, model: Model):
    mask, region = (pixels(picture, face, model, output) for output in ("mask", "region"))
    assert mask.dtype == region.dtype == np.uint8
    assert mask.shape == region.shape == picture.shape[:2]
    assert {*np.unique(region).tolist()} == {0, 255}
    assert not mask[region == 0].any()
    crop = Crop(face.arrays.transform, SIZE)
    rows, columns = np.nonzero(region)
    x, y = crop.to_crop(np.stack([columns, rows], axis=1).astype(np.float64)).T
    inner = face.arrays.region[y.round().astype(int), x.round().astype(int)]
    expected = 255 * x / (SIZE - 1)
    assert np.abs(mask[rows, columns] - expected)[inner].max() < 20  # about two px of the crop: beside the silhouette
    assert np.abs(mask[rows, columns] - expected)[inner].mean() < 3


@pytest.mark.parametrize("name", ["mask", "region"])
def test_at_the_crops_own_resolution_masks_are_those_of_the_arrays(face: FaceResult, model: Model, name: FaceOutput):
    """To the pixel, also where M is a half or next to it."""
    near = np.float32(0.5)
    soft = np.random.default_rng(0).uniform(0, 1, (SIZE, SIZE)).astype(np.float32)
    soft[::3, ::2] = np.random.default_rng(1).choice([near, np.nextafter(near, 0), np.nextafter(near, 1)], (11, 16))
    same = moved(masked(face, soft), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    found = pixels(np.zeros((SIZE, SIZE, 3), np.uint8), same, model, name) > 127
    np.testing.assert_array_equal(found, same.arrays.mask if name == "mask" else same.arrays.region)


def test_above_127_is_the_mask_that_the_command_line_writes(
    face: FaceResult, picture: np.ndarray, model: Model, monkeypatch, tmp_path: Path
):
    """To the pixel, with the same overlay."""
    half = masked(face, np.tile(np.linspace(0.1, 0.9, SIZE, dtype=np.float32), (SIZE, 1)))
    monkeypatch.setattr(Reconstructor, "reconstruct", lambda *_, **__: [half])
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    reconstruct_paths([tmp_path / "a.png"], tmp_path / "out", model=Reconstructor(model))
    written = {name: decoded((tmp_path / f"out/a.png/face-0/{name}.png").read_bytes()) for name in ("mask", "overlay")}
    mask = pixels(picture, half, model, "mask")
    region = pixels(picture, half, model, "region") > 0
    np.testing.assert_array_equal(mask > 127, written["mask"] == 255)
    assert 0.2 < (mask > 127).sum() / region.sum() < 0.8
    np.testing.assert_array_equal(written["overlay"], decoded(made(picture, half, model, "overlay").picture["overlay"]))


def test_a_mask_reaches_up_to_the_silhouette(face: FaceResult, picture: np.ndarray, model: Model):
    """Interpolation beside the zeros outside of the region would take a hem of half-seen pixels away."""
    hardly = masked(face, np.full((SIZE, SIZE), 0.6, np.float32))
    mask, region = (pixels(picture, hardly, model, output) for output in ("mask", "region"))
    np.testing.assert_array_equal(mask > 127, region > 0)
    assert set(np.unique(mask[region > 0]).tolist()) <= {152, 153, 154}


def test_the_rendering_is_the_face_with_its_coverage(face: FaceResult, picture: np.ndarray, model: Model):
    rendering = pixels(picture, face, model, "rendering")
    assert rendering.shape == (*picture.shape[:2], 4)
    opacity = rendering[..., 3]
    assert not rendering[opacity == 0].any()
    region = pixels(picture, face, model, "region") > 0
    assert ((opacity > 127) != region).sum() < 0.1 * region.sum()
    everywhere = masked(face, np.ones((SIZE, SIZE), np.float32))
    overlay = draw_overlay(picture, [everywhere], model.focus.face_model, model.settings.camera).image
    inner = cv2.erode(region.astype(np.uint8), np.ones((25, 25))) > 0
    assert inner.any()
    assert np.abs(rendering[..., 2::-1].astype(int) - overlay)[inner].max() <= 1


def test_the_overlay_shows_all_faces(face: FaceResult, picture: np.ndarray, model: Model):
    transform = face.arrays.transform
    aside = moved(face, transform + np.array([[0.0, 0.0, 100 * transform[0, 0]], [0.0, 0.0, 0.0]]))
    found = encode_outputs(picture, [face, aside], ["overlay"], model.focus.face_model, model.settings.camera)
    assert found.faces == [{}, {}]
    overlay = decoded(found.picture["overlay"])[..., ::-1]
    expected = draw_overlay(picture, [face, aside], model.focus.face_model, model.settings.camera).image
    np.testing.assert_array_equal(overlay, expected)
    changed = (overlay != picture).any(axis=2)
    assert changed[:, 200:].any()
    assert changed[:, :140].any()


def test_without_a_face_the_overlay_is_the_picture(picture: np.ndarray, model: Model):
    found = encode_outputs(picture, [], EVERYTHING, model.focus.face_model, model.settings.camera)
    assert found.faces == []
    np.testing.assert_array_equal(decoded(found.picture["overlay"])[..., ::-1], picture)


def test_what_is_drawn_of_a_large_picture_is_1600_px_and_its_masks_are_whole(
    face: FaceResult, picture: np.ndarray, model: Model
):
    large = cv2.resize(picture, (2400, 1800), interpolation=cv2.INTER_CUBIC)
    zoom = np.array([[1 / 6, 1 / 6, (1 / 6 - 1) / 2]])
    x = face.arrays.transform[:, :2] * zoom[:, :2]
    shift = face.arrays.transform[:, :2].sum(axis=1) * zoom[0, 2] + face.arrays.transform[:, 2]
    same = moved(face, np.hstack([x, shift[:, None]]))
    found = made(large, same, model, "mask", "region", "rendering", "overlay")
    shapes = {name: decoded(content).shape for name, content in [*found.faces[0].items(), *found.picture.items()]}
    assert shapes == {
        "mask": (1800, 2400),
        "region": (1800, 2400),
        "rendering": (1200, 1600, 4),
        "overlay": (1200, 1600, 3),
    }
    small = cv2.resize(decoded(found.faces[0]["region"]), (400, 300), interpolation=cv2.INTER_AREA) > 127
    assert (small != (pixels(picture, face, model, "region") > 0)).mean() < 0.002
    opaque = cv2.resize(decoded(found.faces[0]["rendering"])[..., 3], (400, 300), interpolation=cv2.INTER_AREA) > 127
    assert (opaque != small).mean() < 0.01


def test_meshes_are_the_corrected_ones_where_there_are_some(
    face: FaceResult, picture: np.ndarray, model: Model, tmp_path
):
    arrays = face.arrays
    vertices = arrays.mesh.vertices + np.float32(5.0)
    corrected = face._replace(arrays=replace(arrays, corrected_mesh=replace(arrays.mesh, vertices=vertices)))
    in_mm: dict[FaceOutput, float] = {"obj": 1.0, "ply": 1.0, "glb": 1000.0}
    for one, expected in ((face, arrays.mesh.vertices), (corrected, vertices)):
        found = made(picture, one, model, *in_mm).faces[0]
        for kind, unit in in_mm.items():
            path = Path(tmp_path / f"mesh.{kind}")
            path.write_bytes(found[kind])
            mesh = trimesh.load_mesh(path, process=False)
            np.testing.assert_allclose(mesh.bounds * unit, [expected.min(0), expected.max(0)], atol=1e-3)


def test_an_answer_is_the_face_with_its_files_inline(face: FaceResult, picture: np.ndarray, model: Model):
    found = made(picture, face, model, *EVERYTHING)
    assert set(found.faces[0]) == set(FACE_OUTPUTS)
    said = face_response(face.face, found.faces[0], inline_output)
    whole = Reconstruction(
        request_id="r",
        model_version="v",
        image=Size(width=400, height=300),
        faces=[said],
        outputs=deliver_files(found.picture, inline_output),
    )
    read = Reconstruction.model_validate_json(whole.model_dump_json())
    assert Face.model_validate(read.faces[0].model_dump(exclude={"outputs"})) == face.face
    read_back = {**read.faces[0].outputs, **read.outputs}
    assert {name: output.media_type for name, output in read_back.items()} == MEDIA_TYPES
    contents = {name: base64.b64decode(output.base64 or "") for name, output in read_back.items()}
    assert contents == {**found.faces[0], **found.picture}


def test_an_answer_by_links_holds_no_content(face: FaceResult, picture: np.ndarray, model: Model):
    kept: dict[str, bytes] = {}

    def link(content: bytes, media_type: str) -> Output:
        kept[f"/kept/{len(kept)}"] = content
        return Output(media_type=media_type, href=f"/kept/{len(kept) - 1}")

    found = made(picture, face, model, "mask", "glb").faces[0]
    said = FaceResponse.model_validate_json(face_response(face.face, found, link).model_dump_json())
    assert {name: kept[output.href or ""] for name, output in said.outputs.items()} == found
    assert all(output.base64 is None for output in said.outputs.values())
    assert face_response(face.face, {}, link).outputs == {}


def test_nothing_is_drawn_that_nobody_asked_for(face: FaceResult, picture: np.ndarray, model: Model, monkeypatch):
    monkeypatch.setattr("focus_ray.serving.outputs.render_layer", lambda *_: pytest.fail("rendered"))
    assert set(made(picture, face, model, "mask", "glb").faces[0]) == {"mask", "glb"}
    monkeypatch.setattr("focus_ray.serving.outputs.face_matte", lambda *_: pytest.fail("masked"))
    assert made(picture, face, model).faces == [{}]
    assert set(made(picture, face, model, "obj").faces[0]) == {"obj"}


@pytest.mark.parametrize(("texture", "unlit"), [("photo", True), ("albedo", False), ("none", False)])
def test_the_glb_has_a_texture_of_the_picture_and_other_meshes_have_colours(
    texture: TextureKind, unlit: bool, face: FaceResult, picture: np.ndarray, model: Model, tmp_path: Path
):
    kinds: tuple[FaceOutput, ...] = ("glb", "obj", "ply")
    found = encode_outputs(picture, [face], kinds, model.focus.face_model, model.settings.camera, texture).faces[0]
    for kind in kinds:
        (tmp_path / f"mesh.{kind}").write_bytes(found[kind])
        read = trimesh.load_mesh(tmp_path / f"mesh.{kind}", process=False)
        has_uv = getattr(read.visual, "uv", None) is not None
        assert has_uv is (kind == "glb" and texture != "none")
    assert (b"KHR_materials_unlit" in found["glb"]) is unlit
    assert len(found["glb"]) < 1_000_000


def test_a_model_with_arkits_shapes_answers_with_their_weights(picture: np.ndarray, untrained: Model):
    model = arkit_model(untrained)
    (face,) = Reconstructor(model).reconstruct(picture, box=(150.0, 90.0, 90.0, 90.0), refine=0)
    said = face_response(face.face, made(picture, face, model, "glb").faces[0], inline_output).model_dump_json()
    answer = FaceResponse.model_validate_json(said)
    assert answer.arkit == face.face.arkit
    assert answer.arkit is not None
    glb = base64.b64decode(answer.outputs["glb"].base64 or "")
    assert b'"targetNames":["jawOpen","mouthSmileLeft","mouthSmileRight","browInnerUp"]' in glb


def test_another_model_answers_as_before(face: FaceResult):
    assert "arkit" not in face_response(face.face, {}, inline_output).model_dump_json()
    assert "arkit" in FaceResponse.model_json_schema(mode="serialization")["properties"]
