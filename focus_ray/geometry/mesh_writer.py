"""Writers of mesh files: Wavefront OBJ, binary PLY, and glTF (GLB); coloured faces, or geometry alone."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float, Int

from focus_ray.errors import ConfigError

if TYPE_CHECKING:
    from focus_ray.geometry.mesh_reader import TriangleMesh

GeometryKind = Literal["ply", "obj"]

_MM_TO_M = 0.001  # glTF is in metres; OBJ and PLY have no unit and keep mm


@dataclass(frozen=True, eq=False)
class Mesh:
    """A coloured triangle mesh without texture.

    Files have no uv: readers that find uv look for a texture and ignore the colours.

    Attributes:
        vertices: x right, y up, z out of the face, mm.
        colours: displayed RGB in [0, 1].
        faces: vertex indices.
    """

    vertices: Float[np.ndarray, "V 3"]
    colours: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]

    @property
    def normals(self) -> Float[np.ndarray, "V 3"]:
        """Unit normals out of the surface, weighted by triangle area; +z for a vertex without triangles."""
        a, b, c = (self.vertices[corners].astype(np.float64) for corners in self.faces.T)
        total = np.zeros((len(self.vertices), 3))
        np.add.at(total, self.faces, np.cross(b - a, c - a)[:, None])
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.where(length > 0, total / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])


def encode_mesh(mesh: Mesh, kind: str) -> bytes:
    """Encode a mesh as the content of a file.

    Args:
        mesh: the mesh.
        kind: obj, ply or glb.

    Raises:
        ConfigError: `kind` is another format.
    """
    if kind not in ENCODERS:
        raise ConfigError(f"there is no mesh format {kind!r}; choose from {', '.join(ENCODERS)}")
    return ENCODERS[kind](mesh)


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


# Component and buffer types of the glTF 2.0 specification, sections 3.6.1 and 3.6.2.
_FLOAT32, _UINT32 = 5126, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_GLB_MAGIC, _GLB_VERSION = 0x46546C67, 2
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


def encode_glb(mesh: Mesh) -> bytes:
    """Encode a mesh as glTF 2.0 in metres, with normals, linear vertex colours and a rough, two-sided material."""
    arrays = {
        "POSITION": (mesh.vertices * _MM_TO_M).astype("<f4"),
        "NORMAL": mesh.normals.astype("<f4"),
        "COLOR_0": _srgb_to_linear(mesh.colours.clip(0, 1)).astype("<f4"),
    }
    content, views, accessors = b"", [], []
    for array, target in [*((a, _VERTEX_BUFFER) for a in arrays.values()), (mesh.faces.astype("<u4"), _INDEX_BUFFER)]:
        views.append({"buffer": 0, "byteOffset": len(content), "byteLength": array.nbytes, "target": target})
        accessors.append(_accessor(array, len(accessors), target))
        content += array.tobytes()
    primitive = {
        "attributes": {name: place for place, name in enumerate(arrays)},
        "indices": len(arrays),
        "material": 0,
    }
    material = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}, "doubleSided": True}
    document = {
        "asset": {"version": "2.0", "generator": "focus-ray"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "face"}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [material],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(content)}],
    }
    return _glb_container(json.dumps(document, separators=(",", ":")).encode(), content)


def _accessor(array: np.ndarray, view: int, target: int) -> dict[str, object]:
    if target == _INDEX_BUFFER:
        return {"bufferView": view, "componentType": _UINT32, "count": array.size, "type": "SCALAR"}
    accessor = {"bufferView": view, "componentType": _FLOAT32, "count": len(array), "type": f"VEC{array.shape[1]}"}
    limits = {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
    return accessor | limits


def _glb_container(document: bytes, content: bytes) -> bytes:
    chunks = b""
    for kind, body, filler in ((_JSON_CHUNK, document, b" "), (_BINARY_CHUNK, content, b"\0")):
        body += filler * (-len(body) % 4)
        chunks += struct.pack("<II", len(body), kind) + body
    header_size = 12
    return struct.pack("<III", _GLB_MAGIC, _GLB_VERSION, header_size + len(chunks)) + chunks


def _to_uint8(colours: np.ndarray) -> np.ndarray:
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)


def _srgb_to_linear(colours: np.ndarray) -> np.ndarray:
    """Invert the sRGB transfer function (IEC 61966-2-1): glTF's vertex colours are linear."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


ENCODERS: dict[str, Callable[[Mesh], bytes]] = {"obj": encode_obj, "ply": encode_ply, "glb": encode_glb}
