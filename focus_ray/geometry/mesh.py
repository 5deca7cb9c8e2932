"""Triangle meshes with colours, a texture and morph targets, as mesh files hold them."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

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

    def encode_png(self) -> bytes:
        """Encode the picture as PNG."""
        options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
        return cv2.imencode(".png", cv2.cvtColor(self.image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


@dataclass(frozen=True, eq=False)
class MorphTargets:
    """Shapes that a mesh can be changed to: its vertices are a base plus the weighted sum of the offsets.

    Attributes:
        names: of the shapes.
        weights: of the shapes in the mesh as it is, usually in [0, 1].
        offsets: of the vertices at weight 1, mm.
    """

    names: tuple[str, ...]
    weights: Float[np.ndarray, " N"]
    offsets: Float[np.ndarray, "N V 3"]


@dataclass(frozen=True, eq=False)
class Mesh:
    """A coloured triangle mesh, with a texture or without.

    Files without texture have no uv: readers that find uv look for a texture and ignore the colours.

    Attributes:
        vertices: x right, y up, z out of the face, mm.
        colours: displayed RGB in [0, 1].
        faces: vertex indices.
        texture: replaces the colours in the files that can hold it (GLB, and OBJ as several files).
        morphs: shapes of the mesh, which GLB files hold.
    """

    vertices: Float[np.ndarray, "V 3"]
    colours: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    texture: Texture | None = None
    morphs: MorphTargets | None = None

    @property
    def normals(self) -> Float[np.ndarray, "V 3"]:
        """Unit normals out of the surface, weighted by triangle area; +z for a vertex without triangles."""
        a, b, c = (self.vertices[corners].astype(np.float64) for corners in self.faces.T)
        corners, scaled = self.faces.ravel(), np.repeat(np.cross(b - a, c - a), 3, axis=0)
        total = np.stack([np.bincount(corners, axis, len(self.vertices)) for axis in scaled.T], axis=1)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.where(length > 0, total / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])
