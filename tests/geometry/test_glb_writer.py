"""Morph targets of GLB files: names, weights and offsets come back; Khronos' validator finds nothing."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from focus_ray.geometry.glb_writer import encode_glb
from focus_ray.geometry.mesh import Mesh, MorphTargets, Texture
from infra.fetch_viewer import Package, ViewerError, download_package, extract_files

VALIDATOR = Package(
    "gltf-validator",
    "2.0.0-dev.3.10",
    "odJ4k0tRkGXiDGn78yDBg+fBbAIvBnXxh3RwAta0emSxGtyagFE8B4xELB1oYe3S5RD8Ci3uZAsZaascH2LAEQ==",
)
REPORT = """const fs = require("fs");
require(process.argv[2]).validateBytes(new Uint8Array(fs.readFileSync(process.argv[3])))
  .then((report) => console.log(JSON.stringify(report)));"""
NAMES = ("jawOpen", "browInnerUp", "tongueOut")


@pytest.fixture(scope="module")
def validator(request: pytest.FixtureRequest) -> Path:
    """Khronos' validator, kept between sessions of tests."""
    if shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    folder = request.config.cache.mkdir(f"gltf-validator-{VALIDATOR.version}")
    names = ("index.js", "gltf_validator.dart.js")
    if not all((folder / name).is_file() for name in names):
        try:
            found = extract_files(download_package(VALIDATOR), tuple(f"package/{name}" for name in names))
        except ViewerError as error:
            pytest.skip(str(error))
        for name in names:
            (folder / name).write_bytes(found[f"package/{name}"])
    return folder / "index.js"


@pytest.fixture(scope="module")
def plain(ellipsoid_face) -> Mesh:
    vertices = ellipsoid_face.mean.numpy()
    offsets = np.zeros((3, *vertices.shape), np.float32)
    offsets[0, vertices[:, 1] < -30] = (0, -12, 2)
    offsets[1, vertices[:, 1] > 40] = (0, 5, 0)
    offsets[1, 0] = (0, 0.01, 0)
    morphs = MorphTargets(NAMES, np.array([0.75, 0.25, 0.0]), offsets)
    return Mesh(vertices, ellipsoid_face.mean_albedo.numpy(), ellipsoid_face.faces.numpy(), morphs=morphs)


@pytest.fixture(scope="module")
def textured(plain: Mesh, ellipsoid_face) -> Mesh:
    """With a seam: the left half of the face has other uv than the right one beside it."""
    uv = ellipsoid_face.uv.numpy() / 2
    left = plain.vertices[plain.faces][..., 0].mean(axis=1) < 0
    faces = np.where(left[:, None], plain.faces, plain.faces + len(uv))
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    return replace(plain, texture=Texture(image, np.concatenate([uv, uv + 0.5]), faces, unlit=True))


def read(content: bytes) -> tuple[dict, bytes]:
    length = struct.unpack_from("<I", content, 12)[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def values(document: dict, binary: bytes, index: int) -> np.ndarray:
    """The numbers of an accessor, sparse ones too, as the specification says."""
    accessor = document["accessors"][index]
    found = np.zeros((accessor["count"], 3), np.float32)

    def view(part: dict, kind: str) -> np.ndarray:
        place = document["bufferViews"][part["bufferView"]]
        count = place["byteLength"] // np.dtype(kind).itemsize
        return np.frombuffer(binary, kind, count, place["byteOffset"])

    if "bufferView" in accessor:
        found[:] = view(accessor, "<f4").reshape(-1, 3)
    if "sparse" in accessor:
        sparse = accessor["sparse"]
        found[view(sparse["indices"], "<u2")] = view(sparse["values"], "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(found.min(axis=0), np.float32(accessor["min"]))
    np.testing.assert_array_equal(found.max(axis=0), np.float32(accessor["max"]))
    return found


@pytest.mark.parametrize("which", ["plain", "textured"])
def test_at_its_weights_the_mesh_is_the_given_one(which: str, request: pytest.FixtureRequest):
    mesh: Mesh = request.getfixturevalue(which)
    assert mesh.morphs is not None
    document, binary = read(encode_glb(mesh))
    (described,) = document["meshes"]
    assert described["extras"]["targetNames"] == list(NAMES)
    assert described["weights"] == [0.75, 0.25, 0.0]
    (primitive,) = described["primitives"]
    base = values(document, binary, primitive["attributes"]["POSITION"])
    offsets = [values(document, binary, target["POSITION"]) for target in primitive["targets"]]
    shown = base + sum(weight * offset for weight, offset in zip(described["weights"], offsets, strict=True))
    view = document["bufferViews"][document["accessors"][primitive["indices"]]["bufferView"]]
    faces = np.frombuffer(binary, "<u4", view["byteLength"] // 4, view["byteOffset"]).reshape(-1, 3)
    np.testing.assert_allclose(shown[faces], mesh.vertices[mesh.faces] / 1000, atol=2e-8)
    np.testing.assert_allclose(
        offsets[0][faces], mesh.morphs.offsets[0][mesh.faces] / 1000, atol=1e-9, err_msg="at seams too"
    )
    assert not offsets[1][0].any(), "a hundredth of a millimetre is not stored"
    assert not offsets[2].any()


def test_normals_of_lit_meshes_follow_the_shapes(plain: Mesh, textured: Mesh):
    assert plain.morphs is not None
    document, binary = read(encode_glb(plain))
    (primitive,) = document["meshes"][0]["primitives"]
    turned = values(document, binary, primitive["attributes"]["NORMAL"])
    turned = turned + values(document, binary, primitive["targets"][0]["NORMAL"])
    base = plain.vertices - np.einsum("n,nvd->vd", plain.morphs.weights, plain.morphs.offsets)
    expected = replace(plain, vertices=base + plain.morphs.offsets[0]).normals
    np.testing.assert_allclose(turned, expected, atol=0.006)
    document, _ = read(encode_glb(textured))
    assert all("NORMAL" not in target for target in document["meshes"][0]["primitives"][0]["targets"])


def test_another_reader_finds_the_names(textured: Mesh, tmp_path: Path):
    (tmp_path / "mesh.glb").write_bytes(encode_glb(textured))
    found = trimesh.load_mesh(tmp_path / "mesh.glb", process=False)
    assert found.metadata["targetNames"] == list(NAMES)
    assert len(found.faces) == len(textured.faces)


@pytest.mark.parametrize("which", ["plain", "textured"])
def test_khronos_validator_finds_nothing(which: str, validator: Path, request: pytest.FixtureRequest, tmp_path: Path):
    (tmp_path / "mesh.glb").write_bytes(encode_glb(request.getfixturevalue(which)))
    (tmp_path / "report.js").write_text(REPORT)
    command = ["node", str(tmp_path / "report.js"), str(validator), str(tmp_path / "mesh.glb")]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert report["issues"]["messages"] == []
    assert report["info"]["hasMorphTargets"] is True
