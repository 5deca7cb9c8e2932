"""Writer of binary glTF 2.0 (GLB): a mesh with vertex colours or a texture, and named morph targets."""

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from focus_ray.geometry.mesh import Mesh, MorphTargets, Texture

_MM_TO_M = 0.001  # glTF is in metres
# Component and buffer types of the glTF 2.0 specification, sections 3.6.1 and 3.6.2.
_FLOAT32, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_GLB_MAGIC, _GLB_VERSION = 0x46546C67, 2
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
# Of section 3.8.4: bilinear, trilinear over mip maps, clamped to the edge.
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071
_UNLIT = "KHR_materials_unlit"

# Smaller changes of a vertex by a morph target are left out; they are not visible, and the file is a third smaller.
_LEAST_OFFSET_MM = 0.02
_LEAST_NORMAL_CHANGE = 0.005


def encode_glb(mesh: Mesh) -> bytes:
    """Encode a mesh as glTF 2.0 in metres, with normals and a rough, two-sided material.

    It has linear vertex colours, or the texture as PNG; an unlit texture by KHR_materials_unlit, which readers that do
    not know it may ignore. Morph targets have their names in `extras.targetNames` of the mesh, as Blender and three.js
    read them, and the weights at which the mesh is the given one.
    """
    source, faces, uv = np.arange(len(mesh.vertices)), mesh.faces, None
    if mesh.texture is not None:
        source, faces, uv = _split_vertices(mesh, mesh.texture)
    morphs = None if mesh.morphs is None else _without_small_offsets(mesh.morphs)
    base = mesh if morphs is None else _subtract(mesh, morphs)
    normals = base.normals
    arrays = {
        "POSITION": (base.vertices[source] * _MM_TO_M).astype("<f4"),
        "NORMAL": normals[source].astype("<f4"),
    }
    if uv is None:
        arrays["COLOR_0"] = _srgb_to_linear(mesh.colours.clip(0, 1)).astype("<f4")
    else:
        arrays["TEXCOORD_0"] = np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]).astype("<f4")  # v is downwards in glTF
    buffer = _Buffer()
    primitive: dict[str, Any] = {
        "attributes": {name: buffer.add_vertices(array) for name, array in arrays.items()},
        "indices": buffer.add_indices(faces),
        "material": 0,
    }
    described: dict[str, Any] = {"primitives": [primitive]}
    if morphs is not None:
        primitive["targets"] = _add_targets(buffer, base, normals, morphs, source)
        described |= {"weights": morphs.weights.tolist(), "extras": {"targetNames": list(morphs.names)}}
    material = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}, "doubleSided": True}
    document = {
        "asset": {"version": "2.0", "generator": "focus-ray"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "face"}],
        "meshes": [described],
        "materials": [material],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": 0}],
    }
    if mesh.texture is not None:
        _add_texture(document, buffer, mesh.texture)
    document["buffers"] = [{"byteLength": len(buffer.content)}]
    return _glb_container(json.dumps(document, separators=(",", ":")).encode(), bytes(buffer.content))


class _Buffer:
    """The binary part of a file, with its views and accessors."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def add_view(self, content: bytes, target: int | None = None) -> int:
        """Append bytes, aligned to 4; returns the index of their view."""
        self.content += b"\0" * (-len(self.content) % 4)
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content)}
        self.views.append(view if target is None else view | {"target": target})
        self.content += content
        return len(self.views) - 1

    def add_vertices(self, array: Float32[np.ndarray, "N D"]) -> int:
        """Append numbers for each vertex; returns the index of their accessor."""
        view = self.add_view(array.tobytes(), _VERTEX_BUFFER)
        return self._add_accessor({"bufferView": view} | _describe(array))

    def add_indices(self, faces: np.ndarray) -> int:
        """Append the triangles; returns the index of their accessor."""
        view = self.add_view(faces.astype("<u4").tobytes(), _INDEX_BUFFER)
        return self._add_accessor({"bufferView": view, "componentType": _UINT32, "count": faces.size, "type": "SCALAR"})

    def add_sparse(self, array: Float32[np.ndarray, "N 3"]) -> int:
        """Append only the rows that are not zero; returns the index of their accessor."""
        rows = np.flatnonzero(array.any(axis=1))
        accessor = _describe(array)
        if len(rows) > 0:
            narrow = len(array) <= np.iinfo(np.uint16).max
            indices = self.add_view(rows.astype("<u2" if narrow else "<u4").tobytes())
            accessor["sparse"] = {
                "count": len(rows),
                "indices": {"bufferView": indices, "componentType": _UINT16 if narrow else _UINT32},
                "values": {"bufferView": self.add_view(array[rows].tobytes())},
            }
        return self._add_accessor(accessor)

    def _add_accessor(self, accessor: dict[str, Any]) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _describe(array: Float32[np.ndarray, "N D"]) -> dict[str, Any]:
    """Return what the accessor of an array says about it."""
    described = {"componentType": _FLOAT32, "count": len(array), "type": f"VEC{array.shape[1]}"}
    return described | {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}


def _without_small_offsets(morphs: MorphTargets) -> MorphTargets:
    large = np.linalg.norm(morphs.offsets, axis=2, keepdims=True) >= _LEAST_OFFSET_MM
    return replace(morphs, offsets=np.where(large, morphs.offsets, 0))


def _subtract(mesh: Mesh, morphs: MorphTargets) -> Mesh:
    """Return the mesh at weight 0 of all shapes."""
    vertices = mesh.vertices - np.einsum("n,nvd->vd", morphs.weights, morphs.offsets)
    return replace(mesh, vertices=vertices, morphs=None)


def _add_targets(
    buffer: _Buffer, base: Mesh, normals: Float[np.ndarray, "V 3"], morphs: MorphTargets, source: np.ndarray
) -> list[dict[str, int]]:
    """Add the morph targets to the buffer; those of a lit mesh also change its normals.

    Args:
        buffer: of the file.
        base: the mesh at weight 0.
        normals: of the base.
        morphs: the shapes.
        source: vertex of the mesh for each vertex of the file.

    Returns:
        The accessors of each target.
    """
    targets = []
    lit = base.texture is None or not base.texture.unlit
    for offsets in morphs.offsets:
        target = {"POSITION": buffer.add_sparse((offsets[source] * _MM_TO_M).astype("<f4"))}
        if lit:
            turned = replace(base, vertices=base.vertices + offsets).normals - normals
            turned[np.abs(turned).max(axis=1) < _LEAST_NORMAL_CHANGE] = 0
            target["NORMAL"] = buffer.add_sparse(turned[source].astype("<f4"))
        targets.append(target)
    return targets


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


def _add_texture(document: dict[str, Any], buffer: _Buffer, texture: Texture) -> None:
    """Add a texture to the material of a glTF document."""
    document["images"] = [{"bufferView": buffer.add_view(texture.encode_png()), "mimeType": "image/png"}]
    document["samplers"] = [{"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}]
    document["textures"] = [{"sampler": 0, "source": 0}]
    material = document["materials"][0]
    material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    if texture.unlit:
        material["extensions"] = {_UNLIT: {}}
        document["extensionsUsed"] = [_UNLIT]


def _glb_container(document: bytes, content: bytes) -> bytes:
    chunks = b""
    for kind, body, filler in ((_JSON_CHUNK, document, b" "), (_BINARY_CHUNK, content, b"\0")):
        body += filler * (-len(body) % 4)
        chunks += struct.pack("<II", len(body), kind) + body
    header_size = 12
    return struct.pack("<III", _GLB_MAGIC, _GLB_VERSION, header_size + len(chunks)) + chunks


def _srgb_to_linear(colours: np.ndarray) -> np.ndarray:
    """Invert the sRGB transfer function (IEC 61966-2-1): glTF's vertex colours are linear."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
