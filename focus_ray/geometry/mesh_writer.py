"""Writers of mesh files: Wavefront OBJ, binary PLY, and glTF (GLB); coloured or textured faces, or geometry alone."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from focus_ray.errors import ConfigError

if TYPE_CHECKING:
    from focus_ray.geometry.mesh_reader import TriangleMesh

GeometryKind = Literal["ply", "obj"]

_MM_TO_M = 0.001  # glTF is in metres; OBJ and PLY have no unit and keep mm
_MATERIAL = "face"  # name in a material library
_PNG_COMPRESSION = 4  # zlib's level


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture on the triangles of a mesh.

    Attributes:
        image: displayed RGB (sRGB); the first row is that of v = 1.
        uv: texture coordinates in [0, 1], u to the right, v upwards.
        faces: indices of uv for the corners of each triangle of the mesh.
        unlit: whether the picture is shown as it is, because it has the light of a photograph.
    """

    image: UInt8[np.ndarray, "T T 3"]
    uv: Float[np.ndarray, "U 2"]
    faces: Int[np.ndarray, "F 3"]
    unlit: bool = False


@dataclass(frozen=True, eq=False)
class Mesh:
    """A coloured triangle mesh, with a texture or without.

    Files without texture have no uv: readers that find uv look for a texture and ignore the colours.

    Attributes:
        vertices: x right, y up, z out of the face, mm.
        colours: displayed RGB in [0, 1].
        faces: vertex indices.
        texture: replaces the colours in the files that can hold it (GLB, and OBJ as several files).
    """

    vertices: Float[np.ndarray, "V 3"]
    colours: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    texture: Texture | None = None

    @property
    def normals(self) -> Float[np.ndarray, "V 3"]:
        """Unit normals out of the surface, weighted by triangle area; +z for a vertex without triangles."""
        a, b, c = (self.vertices[corners].astype(np.float64) for corners in self.faces.T)
        total = np.zeros((len(self.vertices), 3))
        np.add.at(total, self.faces, np.cross(b - a, c - a)[:, None])
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.where(length > 0, total / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])


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
        f"{stem}.png": _encode_png(mesh.texture.image),
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


def _encode_png(image: UInt8[np.ndarray, "T T 3"]) -> bytes:
    options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


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
# Of section 3.8.4: bilinear, trilinear over mip maps, clamped to the edge.
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071
_UNLIT = "KHR_materials_unlit"


def encode_glb(mesh: Mesh) -> bytes:
    """Encode a mesh as glTF 2.0 in metres, with normals and a rough, two-sided material.

    It has linear vertex colours, or the texture as PNG; an unlit texture by KHR_materials_unlit, which readers that do
    not know it may ignore.
    """
    source, faces, uv = np.arange(len(mesh.vertices)), mesh.faces, None
    if mesh.texture is not None:
        source, faces, uv = _split_vertices(mesh, mesh.texture)
    arrays = {
        "POSITION": (mesh.vertices[source] * _MM_TO_M).astype("<f4"),
        "NORMAL": mesh.normals[source].astype("<f4"),
    }
    if uv is None:
        arrays["COLOR_0"] = _srgb_to_linear(mesh.colours.clip(0, 1)).astype("<f4")
    else:
        arrays["TEXCOORD_0"] = np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]).astype("<f4")  # v is downwards in glTF
    content, views, accessors = b"", [], []
    for array, target in [*((a, _VERTEX_BUFFER) for a in arrays.values()), (faces.astype("<u4"), _INDEX_BUFFER)]:
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
    if mesh.texture is not None:
        content = _add_texture(document, content, mesh.texture)
    return _glb_container(json.dumps(document, separators=(",", ":")).encode(), content)


def _split_vertices(mesh: Mesh, texture: Texture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertex and uv of each vertex of a file with one uv per vertex, and its triangles.

    Returns:
        Vertex indices [N], triangles [F, 3] and uv [N, 2]; vertices that have one uv come first, in their order.
    """
    corners = np.stack([mesh.faces.ravel(), texture.faces.ravel()], axis=1)
    _, first = np.unique(corners[:, 0], return_index=True)
    own = np.full(len(mesh.vertices), 0)
    own[corners[first, 0]] = corners[first, 1]
    vertices = np.column_stack([np.arange(len(own)), own])
    seams = np.unique(corners[corners[:, 1] != own[corners[:, 0]]], axis=0)
    pairs = np.concatenate([vertices, seams])
    n_uv = len(texture.uv)
    keys = pairs @ [n_uv, 1]
    order = np.argsort(keys, kind="stable")
    faces = order[np.searchsorted(keys[order], corners @ [n_uv, 1])]
    return pairs[:, 0], faces.reshape(-1, 3), texture.uv[pairs[:, 1]]


def _add_texture(document: dict[str, Any], content: bytes, texture: Texture) -> bytes:
    """Add a texture to the material of a glTF document; return the buffer with the picture at its end."""
    content += b"\0" * (-len(content) % 4)
    picture = _encode_png(texture.image)
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(content), "byteLength": len(picture)})
    document["images"] = [{"bufferView": len(document["bufferViews"]) - 1, "mimeType": "image/png"}]
    document["samplers"] = [{"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}]
    document["textures"] = [{"sampler": 0, "source": 0}]
    material = document["materials"][0]
    material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    if texture.unlit:
        material["extensions"] = {_UNLIT: {}}
        document["extensionsUsed"] = [_UNLIT]
    document["buffers"] = [{"byteLength": len(content) + len(picture)}]
    return content + picture


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


TEXTURED = ("obj", "glb")
"""Formats that `encode_files` writes with the texture."""
ENCODERS: dict[str, Callable[[Mesh], bytes]] = {"obj": encode_obj, "ply": encode_ply, "glb": encode_glb}
