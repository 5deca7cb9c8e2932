"""Writers of mesh files: Wavefront OBJ, binary PLY, and glTF (GLB); coloured or textured faces, or geometry alone."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from focus_ray.errors import ConfigError
from focus_ray.geometry.glb_writer import encode_glb
from focus_ray.geometry.mesh import Mesh, MorphTargets, Texture

if TYPE_CHECKING:
    from focus_ray.geometry.mesh_reader import TriangleMesh

__all__ = [
    "ENCODERS",
    "TEXTURED",
    "GeometryKind",
    "Mesh",
    "MorphTargets",
    "Texture",
    "encode_files",
    "encode_geometry",
    "encode_glb",
    "encode_mesh",
    "encode_obj",
    "encode_ply",
]

GeometryKind = Literal["ply", "obj"]

_MATERIAL = "face"  # name in a material library


def encode_mesh(mesh: Mesh, kind: str) -> bytes:
    """Encode a mesh as the content of one file; OBJ and PLY have the colours of the vertices, not the texture.

    Args:
        mesh: the mesh.
        kind: obj, ply or glb.

    Raises:
        ConfigError: `kind` is another format.
    """
    if kind not in ENCODERS:
        raise ConfigError(f"there is no mesh format {kind!r}; choose from {', '.join(ENCODERS)}")
    return ENCODERS[kind](mesh)


def encode_files(mesh: Mesh, stem: str, kind: str) -> dict[str, bytes]:
    """Encode a mesh as files of one folder: a textured OBJ is three of them, any other mesh is one.

    Args:
        mesh: the mesh.
        stem: of the names of the files; without spaces.
        kind: obj, ply or glb.

    Returns:
        The contents by file name.

    Raises:
        ConfigError: `kind` is another format.
    """
    if kind != "obj" or mesh.texture is None:
        return {f"{stem}.{kind}": encode_mesh(mesh, kind)}
    return {
        f"{stem}.obj": _encode_textured_obj(mesh, mesh.texture, f"{stem}.mtl"),
        f"{stem}.mtl": _encode_mtl(f"{stem}.png", mesh.texture.unlit),
        f"{stem}.png": mesh.texture.encode_png(),
    }


def encode_geometry(mesh: "TriangleMesh", kind: GeometryKind) -> bytes:
    """Encode the vertices and triangles of a mesh, without colours and normals, in the unit of the mesh.

    Args:
        mesh: the mesh.
        kind: format of the file.
    """
    # Imported here: servers and training import this module but do not need trimesh (56 MB, about one second).
    from trimesh import Trimesh
    from trimesh.exchange.obj import export_obj
    from trimesh.exchange.ply import export_ply

    exported = Trimesh(mesh.vertices, mesh.faces, process=False)
    if kind == "ply":
        return export_ply(exported, vertex_normal=False)
    return export_obj(exported, include_normals=False, include_color=False).encode()


def encode_obj(mesh: Mesh) -> bytes:
    """Encode a mesh as Wavefront OBJ in mm: colours follow the vertex coordinates, and vertices have normals."""
    coloured = np.hstack([mesh.vertices, mesh.colours.clip(0, 1)])
    corners = mesh.faces + 1  # OBJ counts from 1
    lines = ["# focus-ray; mm, y up; colours follow the coordinates"]
    lines += [f"v {x:.4f} {y:.4f} {z:.4f} {r:.4f} {g:.4f} {b:.4f}" for x, y, z, r, g, b in coloured.tolist()]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.normals.tolist()]
    lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in corners.tolist()]
    return ("\n".join(lines) + "\n").encode()


def _encode_textured_obj(mesh: Mesh, texture: Texture, library: str) -> bytes:
    corners = np.stack([mesh.faces, texture.faces, mesh.faces], axis=-1).reshape(-1, 9) + 1
    lines = ["# focus-ray; mm, y up", f"mtllib {library}"]
    lines += [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in texture.uv.tolist()]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.normals.tolist()]
    lines.append(f"usemtl {_MATERIAL}")
    lines += ["f {}/{}/{} {}/{}/{} {}/{}/{}".format(*row) for row in corners.tolist()]
    return ("\n".join(lines) + "\n").encode()


def _encode_mtl(image: str, unlit: bool) -> bytes:
    lines = [f"newmtl {_MATERIAL}", "Ka 1 1 1", "Kd 1 1 1", "Ks 0 0 0", f"illum {0 if unlit else 1}", f"map_Kd {image}"]
    return ("\n".join(lines) + "\n").encode()


def encode_ply(mesh: Mesh) -> bytes:
    """Encode a mesh as binary little-endian PLY in mm with normals and 8-bit colours."""
    vertex = np.empty(len(mesh.vertices), dtype=[("xyz", "<f4", 3), ("normal", "<f4", 3), ("rgb", "u1", 3)])
    vertex["xyz"], vertex["normal"], vertex["rgb"] = mesh.vertices, mesh.normals, _to_uint8(mesh.colours)
    face = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    face["count"], face["corners"] = 3, mesh.faces
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment focus-ray; mm, y up",
        f"element vertex {len(vertex)}",
        *(f"property float {axis}" for axis in ("x", "y", "z", "nx", "ny", "nz")),
        *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
        f"element face {len(face)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode() + vertex.tobytes() + face.tobytes()


def _to_uint8(colours: np.ndarray) -> np.ndarray:
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)


TEXTURED = ("obj", "glb")
"""Formats that `encode_files` writes with the texture."""
ENCODERS: dict[str, Callable[[Mesh], bytes]] = {"obj": encode_obj, "ply": encode_ply, "glb": encode_glb}
