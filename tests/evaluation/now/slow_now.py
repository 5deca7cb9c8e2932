"""The NoW metric written a second time, slowly and by other formulas: what the fast one is compared with.

Every point against every triangle, in float64; Horn's quaternion for the landmarks; scipy's least squares with
differences for the refinement. It shares no line with the package.
"""

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation


def distances(points, vertices, faces):
    """Distances of points to the surface: inside the prism of a triangle to its plane, else to its nearest side."""
    return np.linalg.norm(offsets(points, vertices, faces), axis=1)


def offsets(points, vertices, faces):
    """Point minus nearest point of the surface."""
    sides = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [0, 2]]]), axis=1), axis=0)
    found = [_to_plane(points, vertices[faces]), _to_side(points, vertices[sides[:, 0]], vertices[sides[:, 1]])]
    every = np.concatenate(found, axis=1)
    squares = np.einsum("nfi,nfi->nf", every, every)
    return every[np.arange(len(points)), squares.argmin(axis=1)]


def _to_plane(points, corners):
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    height = points @ normal.T - np.einsum("fi,fi->f", corners[:, 0], normal)
    inside = np.broadcast_to(length[:, 0] > 0, height.shape).copy()
    for i in range(3):
        inward = np.cross(normal, corners[:, (i + 1) % 3] - corners[:, i])
        inside &= points @ inward.T >= np.einsum("fi,fi->f", corners[:, i], inward)
    return np.where(inside[..., None], height[..., None] * normal, np.inf)


def _to_side(points, start, end):
    side = end - start
    square = np.square(side).sum(axis=1)
    along = (points @ side.T - np.einsum("fi,fi->f", start, side)) / np.where(square > 0, square, 1)
    return points[:, None] - (start + along.clip(0, 1)[..., None] * side)


def horn(points, targets, scaled=True):
    """Scale, rotation and translation (Horn 1987: the greatest eigenvector of a 4 x 4 matrix is the quaternion)."""
    a, b = points - points.mean(0), targets - targets.mean(0)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = a.T @ b
    matrix = np.array(
        [
            [xx + yy + zz, yz - zy, zx - xz, xy - yx],
            [yz - zy, xx - yy - zz, xy + yx, zx + xz],
            [zx - xz, xy + yx, yy - xx - zz, yz + zy],
            [xy - yx, zx + xz, yz + zy, zz - xx - yy],
        ]
    )
    w, x, y, z = np.linalg.eigh(matrix)[1][:, -1]
    rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
    scale = np.sum(b * (a @ rotation.T)) / np.sum(a * a) if scaled else 1.0
    return scale, rotation, targets.mean(0) - scale * rotation @ points.mean(0)


def slow_error(scan, landmarks, vertices, faces, predicted_landmarks, metrical=False):
    """Distances of the scan's vertices in the face, after crop, landmarks and refinement."""
    scale, rotation, translation = horn(predicted_landmarks, landmarks, not metrical)
    return slow_refinement(scan, landmarks, scale * vertices @ rotation.T + translation, faces, metrical)


def slow_refinement(scan, landmarks, vertices, faces, metrical=False):
    """The same from a mesh that is aligned already."""
    bridge = 0.5 * (landmarks[1] + landmarks[2])
    centre = 0.7 * landmarks[4] + 0.3 * bridge
    radius = 0.7 * (np.linalg.norm(landmarks[0] - landmarks[3]) + np.linalg.norm(bridge - landmarks[4]))
    face = np.array([vertex for vertex in scan if np.linalg.norm(vertex - centre) <= radius])
    start = vertices - centre

    def placed(unknown):
        grown = 1.0 if metrical else np.exp(unknown[6] / radius)
        return grown * start @ Rotation.from_rotvec(unknown[:3] / radius).as_matrix().T + unknown[3:6]

    def residuals(unknown):
        return offsets(face - centre, placed(unknown), faces).reshape(-1)

    unknown = np.zeros(6 if metrical else 7)
    found = least_squares(residuals, unknown, jac="2-point", xtol=1e-9, ftol=1e-12, gtol=1e-9)
    return distances(face - centre, placed(found.x), faces)
