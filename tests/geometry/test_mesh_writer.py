"""Mesh files: read back by trimesh they hold the same mesh, in the units and orientation that each format means."""

import io
import json
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import trimesh

from focus_ray.errors import ConfigError
from focus_ray.focus.render.normals import vertex_normals
from focus_ray.geometry import mesh_writer
from focus_ray.geometry.mesh_reader import TriangleMesh, read_mesh
from focus_ray.geometry.mesh_writer import Mesh, Texture


@pytest.fixture(scope="module")
def mesh(ellipsoid_face) -> Mesh:
    colours = np.random.default_rng(0).uniform(-0.2, 1.2, ellipsoid_face.mean.shape).astype(np.float32)
    return Mesh(ellipsoid_face.mean.numpy(), colours, ellipsoid_face.faces.numpy())


def read(mesh: Mesh, kind: str) -> trimesh.Trimesh:
    content = io.BytesIO(mesh_writer.encode_mesh(mesh, kind))
    read = trimesh.load(content, file_type=kind, process=False, maintain_order=True, force="mesh")
    assert isinstance(read, trimesh.Trimesh)
    return read


@pytest.mark.parametrize(("kind", "unit"), [("obj", 1.0), ("ply", 1.0), ("glb", 0.001)])
def test_vertices_and_triangles_come_back(kind: str, unit: float, mesh: Mesh):
    bare = Mesh(mesh.vertices, mesh.colours, mesh.faces)
    found = read(bare, kind)
    np.testing.assert_allclose(found.vertices, mesh.vertices * unit, atol=1e-4 * unit)
    np.testing.assert_array_equal(found.faces, mesh.faces)
    outwards = found.face_normals[:, 2] * found.area_faces
    assert outwards.sum() > 0, "the triangles look out of the face"


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_displayed_colours_come_back(kind: str, mesh: Mesh):
    found = read(Mesh(mesh.vertices, mesh.colours, mesh.faces), kind)
    assert found.visual.kind == "vertex"
    np.testing.assert_allclose(found.visual.vertex_colors[:, :3] / 255, mesh.colours.clip(0, 1), atol=0.004)


def test_obj_has_no_texture_coordinates(mesh: Mesh):
    """Without a texture they only make readers drop the colours."""
    lines = mesh_writer.encode_obj(mesh).decode().splitlines()
    assert {line.split()[0] for line in lines[1:]} == {"v", "vn", "f"}
    normals = np.array([line.split()[1:] for line in lines if line.startswith("vn ")], float)
    np.testing.assert_allclose(normals, mesh.normals, atol=1e-5)
    a, b, c = mesh.faces[-1] + 1
    assert lines[-1] == f"f {a}//{a} {b}//{b} {c}//{c}"


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_normals_come_back(kind: str, mesh: Mesh):
    content = io.BytesIO(mesh_writer.encode_mesh(mesh, kind))
    (found,) = trimesh.load_scene(content, file_type=kind, process=False, maintain_order=True).geometry.values()
    np.testing.assert_allclose(found.vertex_normals, mesh.normals, atol=1e-4)  # its own ones are weighted otherwise
    own = vertex_normals(torch.from_numpy(mesh.vertices)[None], torch.from_numpy(mesh.faces))[0].numpy()
    np.testing.assert_allclose(mesh.normals, own, atol=1e-4)


def test_a_vertex_without_a_triangle_has_a_unit_normal():
    """glTF takes no others."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], np.float32)
    mesh = Mesh(corners, np.zeros_like(corners), np.array([[0, 1, 2], [0, 0, 1]]))
    np.testing.assert_array_equal(mesh.normals, [[0, 0, 1]] * 4)


def test_ply_by_its_header(mesh: Mesh):
    """Read as the format says, without a library."""
    header, _, body = mesh_writer.encode_ply(mesh).partition(b"end_header\n")
    names = [
        line.split()[2] for line in header.decode().splitlines() if line.startswith("property") and "list" not in line
    ]
    kinds = [(name, "u1" if name in ("red", "green", "blue") else "<f4") for name in names]
    vertices = np.frombuffer(body, np.dtype(kinds), len(mesh.vertices))
    np.testing.assert_allclose(np.stack([vertices[name] for name in ("nx", "ny", "nz")], 1), mesh.normals, atol=1e-6)
    np.testing.assert_allclose(vertices["red"] / 255, mesh.colours[:, 0].clip(0, 1), atol=0.002)


def test_glb_is_valid_and_linear(mesh: Mesh):
    content = mesh_writer.encode_glb(mesh)
    magic, version, length = struct.unpack_from("<III", content)
    assert (magic, version, length) == (0x46546C67, 2, len(content))
    json_length, kind = struct.unpack_from("<II", content, 12)
    assert kind == 0x4E4F534A
    assert json_length % 4 == 0
    document = json.loads(content[20 : 20 + json_length])
    binary = content[28 + json_length :]
    assert document["buffers"][0]["byteLength"] <= len(binary)
    arrays = {}
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    for name, index in attributes.items():
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        width = int(accessor["type"][3])
        values = np.frombuffer(binary, "<f4", accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        np.testing.assert_array_equal(values.min(axis=0), np.float32(accessor["min"]))
        np.testing.assert_array_equal(values.max(axis=0), np.float32(accessor["max"]))
        arrays[name] = values
    grey = mesh_writer.encode_mesh(Mesh(mesh.vertices, np.full_like(mesh.colours, 0.5), mesh.faces), "glb")
    assert grey != content
    middle = np.isclose(mesh.colours.clip(0, 1), 0.5, atol=0.01)
    np.testing.assert_allclose(arrays["COLOR_0"][middle], 0.214, atol=0.01)  # sRGB 0.5 is linear 0.214
    np.testing.assert_allclose(arrays["NORMAL"], mesh.normals, atol=1e-6)
    assert "TEXCOORD_0" not in arrays
    assert document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_another_format_is_a_config_error(mesh: Mesh):
    with pytest.raises(ConfigError, match="choose from obj, ply, glb"):
        mesh_writer.encode_mesh(mesh, "stl")


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_geometry_comes_back(kind, mesh: Mesh, tmp_path):
    path = tmp_path / f"mesh.{kind}"
    path.write_bytes(mesh_writer.encode_geometry(TriangleMesh(mesh.vertices, mesh.faces), kind))
    found = read_mesh(path)
    np.testing.assert_allclose(found.vertices, mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(found.faces, mesh.faces)


@pytest.fixture(scope="module")
def textured(mesh: Mesh) -> Mesh:
    """A quarter of each colour, and a seam: the left half of the face has another uv than the right one beside it."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8, :8], image[:8, 8:], image[8:, :8], image[8:, 8:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 200, 150)
    flat = mesh.vertices[:, :2] - mesh.vertices[:, :2].min(axis=0)
    flat = flat / flat.max(axis=0) / 2
    uv = np.concatenate([flat, flat + 0.5])
    left = mesh.vertices[mesh.faces][..., 0].mean(axis=1) < 0
    faces = np.where(left[:, None], mesh.faces, mesh.faces + len(mesh.vertices))
    return Mesh(mesh.vertices, mesh.colours, mesh.faces, Texture(image, uv, faces, unlit=True))


def corner_uv(mesh: Mesh) -> np.ndarray:
    assert mesh.texture is not None
    return mesh.texture.uv[mesh.texture.faces]


def read_glb(content: bytes) -> tuple[dict, bytes]:
    """The document and the buffer, as the specification of glTF says."""
    length = struct.unpack_from("<I", content, 12)[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def test_a_textured_glb_as_its_specification_says(textured: Mesh):
    document, binary = read_glb(mesh_writer.encode_mesh(textured, "glb"))
    primitive = document["meshes"][0]["primitives"][0]
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"}, "colours would darken the texture"
    arrays = {}
    for name, index in {**primitive["attributes"], "faces": primitive["indices"]}.items():
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        kind, width = ("<u4", 3) if name == "faces" else ("<f4", int(accessor["type"][3]))
        count = view["byteLength"] // 4
        arrays[name] = np.frombuffer(binary, kind, count, view["byteOffset"]).reshape(-1, width)
    u, v = np.moveaxis(arrays["TEXCOORD_0"][arrays["faces"]], -1, 0)
    np.testing.assert_allclose(np.stack([u, 1 - v], axis=-1), corner_uv(textured), atol=1e-6)
    np.testing.assert_allclose(arrays["POSITION"][arrays["faces"]], textured.vertices[textured.faces] / 1000, atol=1e-6)
    np.testing.assert_allclose(arrays["NORMAL"][arrays["faces"]], textured.normals[textured.faces], atol=1e-6)
    np.testing.assert_allclose(arrays["POSITION"][: len(textured.vertices)], textured.vertices / 1000, atol=1e-6)
    assert len(textured.vertices) < len(arrays["POSITION"]) < 1.2 * len(textured.vertices), "doubled at the seam only"
    material = document["materials"][document["meshes"][0]["primitives"][0]["material"]]
    texture = document["textures"][material["pbrMetallicRoughness"]["baseColorTexture"]["index"]]
    picture = document["images"][texture["source"]]
    assert picture["mimeType"] == "image/png"
    view = document["bufferViews"][picture["bufferView"]]
    assert view["byteOffset"] % 4 == 0
    png = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    found = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(found, textured.texture.image)
    assert document["buffers"][0]["byteLength"] <= len(binary)
    assert document["extensionsUsed"] == ["KHR_materials_unlit"]
    assert "extensionsRequired" not in document
    assert material["extensions"] == {"KHR_materials_unlit": {}}


def test_a_lit_texture_uses_no_extension(textured: Mesh):
    assert textured.texture is not None
    lit = Mesh(textured.vertices, textured.colours, textured.faces, replace(textured.texture, unlit=False))
    document, _ = read_glb(mesh_writer.encode_mesh(lit, "glb"))
    assert "extensionsUsed" not in document
    assert "extensions" not in document["materials"][0]
    assert b"illum 1" in mesh_writer.encode_files(lit, "mesh", "obj")["mesh.mtl"]


@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_another_reader_finds_the_texture(kind: str, textured: Mesh, tmp_path):
    for name, content in mesh_writer.encode_files(textured, "mesh", kind).items():
        (tmp_path / name).write_bytes(content)
    found = trimesh.load_mesh(tmp_path / f"mesh.{kind}", process=False)
    assert found.visual.kind == "texture"
    np.testing.assert_allclose(found.visual.uv[found.faces], corner_uv(textured), atol=1e-5)
    unit = {"glb": 0.001, "obj": 1.0}[kind]
    np.testing.assert_allclose(found.triangles, textured.vertices[textured.faces] * unit, atol=1e-4 * unit)
    material = found.visual.material
    picture = material.baseColorTexture if kind == "glb" else material.image
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), textured.texture.image)


def test_a_textured_obj_line_by_line(textured: Mesh, tmp_path):
    files = mesh_writer.encode_files(textured, "head", "obj")
    assert set(files) == {"head.obj", "head.mtl", "head.png"}
    lines = [line.split() for line in files["head.obj"].decode().splitlines()]
    rows = {key: [line[1:] for line in lines if line[0] == key] for key in ("v", "vt", "vn", "f", "mtllib", "usemtl")}
    assert rows["mtllib"] == [["head.mtl"]]
    assert f"newmtl {rows['usemtl'][0][0]}\n" in files["head.mtl"].decode()
    assert "map_Kd head.png\n" in files["head.mtl"].decode()
    corners = np.array([[corner.split("/") for corner in face] for face in rows["f"]], int) - 1
    np.testing.assert_array_equal(corners[..., 0], textured.faces)
    np.testing.assert_allclose(np.array(rows["vt"], float)[corners[..., 1]], corner_uv(textured), atol=1e-6)
    np.testing.assert_allclose(
        np.array(rows["vn"], float)[corners[..., 2]], textured.normals[textured.faces], atol=1e-5
    )
    found = read_mesh(_write(tmp_path, files) / "head.obj")
    np.testing.assert_array_equal(found.faces, textured.faces)
    np.testing.assert_allclose(found.vertices, textured.vertices, atol=1e-4)


def _write(folder, files: dict[str, bytes]):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_one_file_has_colours_unless_it_can_hold_a_texture(kind: str, mesh: Mesh, textured: Mesh):
    assert mesh_writer.encode_files(mesh, "mesh", kind) == {f"mesh.{kind}": mesh_writer.encode_mesh(mesh, kind)}
    same = mesh_writer.encode_mesh(textured, kind) == mesh_writer.encode_mesh(mesh, kind)
    assert same is (kind != "glb")
    with pytest.raises(ConfigError, match="choose from obj, ply, glb"):
        mesh_writer.encode_files(textured, "mesh", "stl")
