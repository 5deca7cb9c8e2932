"""Meshes of unknown origin."""

import numpy as np
import pytest
import trimesh

from focus_ray.errors import DataError
from focus_ray.geometry.mesh_reader import MeshLimits, read_mesh

VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def written(tmp_path, text, name="a.obj"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def obj(vertex="v {} {} {}", faces="f 1 2 3\nf 1 3 4\n"):
    return "".join(vertex.format(*row) + "\n" for row in VERTICES) + faces


@pytest.mark.parametrize(
    "text",
    [
        obj(),
        obj("v {} {} {} 0.5 0.25 1"),
        obj("v {} {} {} 0.5"),
        obj("v  {}  {}\t{} 255 0 3 # grey"),
        "mtllib a.mtl\no face\n" + obj(faces="usemtl one\nf 1 2 3\ng other\nusemtl two\nf 1 3 4\n"),
        # one vertex with several uv stays one vertex
        obj().replace("f 1 2 3\nf 1 3 4", "vt 0 0\nvt 1 1\nvn 0 0 1\nf 1/1/1 2/1/1 3/2/1\nf 1/2/1 3/1/1 4/2/1"),
        obj(faces="f 1 2 \\\n3\nf 1//1 3//1 4//1\n"),
        obj().replace("\n", "\r\n"),
    ],
)
def test_an_obj_is_its_positions_and_faces_in_their_order(text, tmp_path):
    mesh = read_mesh(written(tmp_path, text))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_polygons_become_triangles(tmp_path):
    mesh = read_mesh(written(tmp_path, obj(faces="f 1 2 3 4\n")))
    assert sorted(map(sorted, mesh.faces.tolist())) == FACES.tolist()


@pytest.mark.parametrize("encoding", ["binary", "ascii"])
def test_a_ply_is_read_with_its_colours_passed_over(encoding, tmp_path):
    mesh = trimesh.Trimesh(VERTICES, FACES, vertex_colors=np.full((5, 4), 9, np.uint8), process=False)
    read = read_mesh(written(tmp_path, mesh.export(file_type="ply", encoding=encoding), "a.ply"))
    np.testing.assert_allclose(read.vertices, VERTICES)
    np.testing.assert_array_equal(read.faces, FACES)


def test_points_alone_have_no_faces(tmp_path):
    mesh = read_mesh(written(tmp_path, obj(faces="")))
    assert (mesh.vertices.shape, mesh.faces.shape) == ((5, 3), (0, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("hello\n", "no vertices"),
        (obj(faces="f 1 2 9\n"), "a vertex that does not exist|cannot be read"),
        (obj(faces="f 1 3 -1\n"), "number below 1"),
        (obj(faces="f 1 0 2\n"), "number below 1"),
        (obj(faces="f 1 2 x\n"), "cannot be read"),
        (obj("v {} {} nan"), "not finite|cannot be read"),
        (obj("v {} {} x"), "cannot be read"),
        (obj("v {} {}"), "no vertices"),
    ],
)
def test_damaged_obj_files_are_refused(text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_mesh(written(tmp_path, text))


def test_damaged_ply_files_are_refused_whatever_they_claim(tmp_path):
    whole = trimesh.Trimesh(VERTICES, FACES, process=False).export(file_type="ply")
    claims_more = whole.replace(b"element vertex 5", b"element vertex 5000000000")
    for content in (whole[:-3], whole[:60], b"ply\n" + b"x" * 90, claims_more):
        with pytest.raises(DataError, match=r"cannot be read|no vertices|exceed the limit|does not exist"):
            read_mesh(written(tmp_path, content, "a.ply"))


def test_limits_hold_before_anything_is_parsed(tmp_path):
    path = written(tmp_path, obj())
    with pytest.raises(DataError, match="MB exceed the limit"):
        read_mesh(path, MeshLimits(megabytes=1e-5))
    with pytest.raises(DataError, match="exceed the limit"):
        read_mesh(path, MeshLimits(vertices=4))
    with pytest.raises(DataError, match="exceed the limit"):
        read_mesh(path, MeshLimits(faces=1))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_mesh(tmp_path / "missing.obj")
    with pytest.raises(DataError, match="not a supported mesh format"):
        read_mesh(written(tmp_path, "x", "a.stl"))
    with pytest.raises(DataError, match="cannot be read"):
        read_mesh(tmp_path)
