"""A tiny smooth half-ellipsoid face, built in milliseconds: stands in for a real model in tests."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from focus_ray.face_models.landmarks import FLIP, N_LANDMARKS
from focus_ray.face_models.morphable_model import MorphableModel

_ROWS, _COLUMNS = 17, 15
_HALF_AXES = (82.0, 112.0, 100.0)
_CENTRE = (0.0, -10.0, -70.0)
_NOSE_HEIGHT = 33.0  # mm above the ellipsoid, before the coarse mesh flattens it
_RIM = 0.97  # of the disk: the ellipsoid is vertical at 1
_IDENTITY_RMS, _EXPRESSION_RMS, _ALBEDO_RMS = 4.0, 2.0, 0.1  # mm, mm, RGB; per vertex, over all modes together
_SKIN, _LIP, _BROW, _IRIS = (0.72, 0.53, 0.44), (0.62, 0.30, 0.28), (0.25, 0.17, 0.12), (0.12, 0.10, 0.09)

# Frontal positions (x, y) in mm of the landmarks with x <= 0 (the subject's right); the left half is their mirror.
_RIGHT_HALF: dict[int, tuple[float, float]] = {
    0: (-72, 24), 1: (-71, 6), 2: (-69, -12), 3: (-65, -30), 4: (-58, -47), 5: (-47, -62), 6: (-33, -74),
    7: (-17, -81), 8: (0, -84), 17: (-55, 42), 18: (-47, 48), 19: (-37, 50), 20: (-26, 48), 21: (-15, 44),
    27: (0, 31), 28: (0, 19), 29: (0, 7), 30: (0, -4.6), 31: (-14, -14), 32: (-7, -17), 33: (0, -18),
    36: (-46, 29), 37: (-36, 34), 38: (-26, 34), 39: (-16, 28), 40: (-26, 25), 41: (-36, 25),
    48: (-25, -38), 49: (-16, -33), 50: (-6, -31), 51: (0, -32), 57: (0, -49), 58: (-8, -48), 59: (-17, -45),
    60: (-22, -38), 61: (-8, -37), 62: (0, -37), 66: (0, -40), 67: (-8, -40),
}  # fmt: skip


def ellipsoid_face(n_identity: int = 80, n_expression: int = 64, n_albedo: int = 80) -> MorphableModel:
    """An ellipsoidal face of 255 vertices with orthogonal smooth modes and plausible landmarks."""
    disk, faces = _disk_grid()
    mean = _surface(disk)
    wanted = _landmark_positions()
    triangles, barycentric = _project_to_triangles(wanted, mean[:, :2], faces)
    lower_face = torch.sigmoid((-15 - mean[:, 1]) / 12)
    identity = _modes(disk, n_identity, torch.ones_like(lower_face), _IDENTITY_RMS)
    expression = _modes(disk, n_expression, 0.05 + lower_face, _EXPRESSION_RMS)
    parts = _parts(mean, wanted)
    return MorphableModel(
        name="toy",
        n_identity=n_identity,
        mean=mean,
        shape_basis=torch.cat([identity, expression]),
        mean_albedo=_vertex_colours(mean, wanted),
        albedo_basis=_modes(disk, n_albedo, torch.ones_like(lower_face), _ALBEDO_RMS),
        faces=faces,
        landmark_triangles=triangles,
        landmark_barycentric=barycentric,
        uv=(disk + 1) / 2,
        parts=parts,
    )


def _disk_grid() -> tuple[Float[Tensor, "V 2"], Int[Tensor, "F 3"]]:
    """Points of the unit disk (x right, y up) as a squeezed square grid, and triangles that wind counter-clockwise."""
    t, s = torch.meshgrid(torch.linspace(1, -1, _ROWS), torch.linspace(-1, 1, _COLUMNS), indexing="ij")
    disk = _RIM * torch.stack([s * (1 - t**2 / 2).sqrt(), t * (1 - s**2 / 2).sqrt()], dim=-1)
    ids = torch.arange(_ROWS * _COLUMNS).view(_ROWS, _COLUMNS)
    top_left, top_right, low_left, low_right = ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]
    right_half = torch.arange(_COLUMNS - 1) >= (_COLUMNS - 1) // 2
    # The diagonal is mirrored at the midline, so that the mesh is symmetric.
    one = torch.where(right_half[None, :, None], _corners(top_left, low_left, low_right),
                      _corners(top_left, low_left, top_right))  # fmt: skip
    two = torch.where(right_half[None, :, None], _corners(top_left, low_right, top_right),
                      _corners(low_left, low_right, top_right))  # fmt: skip
    return disk.reshape(-1, 2), torch.cat([one.reshape(-1, 3), two.reshape(-1, 3)])


def _corners(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.stack([a, b, c], dim=-1)


def _surface(disk: Float[Tensor, "V 2"]) -> Float[Tensor, "V 3"]:
    height = (1 - disk.square().sum(-1)).sqrt()
    ellipsoid = torch.cat([disk, height[:, None]], dim=-1) * torch.tensor(_HALF_AXES) + torch.tensor(_CENTRE)
    x, y, z = ellipsoid.unbind(-1)
    nose = _NOSE_HEIGHT * torch.exp(
        -((x / 11) ** 2) - torch.where(y < -4.6, ((y + 4.6) / 9) ** 2, ((y + 4.6) / 24) ** 2)
    )
    return torch.stack([x, y, z + nose], dim=-1)


def _landmark_positions() -> Float[Tensor, "68 2"]:
    positions = torch.zeros(N_LANDMARKS, 2)
    for point, (x, y) in _RIGHT_HALF.items():
        positions[FLIP[point]] = torch.tensor([-x, y])
        positions[point] = torch.tensor([x, y])
    return positions


def _project_to_triangles(
    points: Float[Tensor, "N 2"], plane: Float[Tensor, "V 2"], faces: Int[Tensor, "F 3"]
) -> tuple[Int[Tensor, " N"], Float[Tensor, "N 3"]]:
    """The triangle that holds each frontal position (the nearest one for a point outside), and its weights there."""
    a, b, c = plane[faces].unbind(1)
    edges = torch.stack([b - a, c - a], dim=-1)
    weights = torch.linalg.solve(edges, (points[:, None] - a)[..., None])[..., 0]
    barycentric = torch.cat([1 - weights.sum(-1, keepdim=True), weights], dim=-1)
    triangles = barycentric.min(dim=-1).values.argmax(dim=-1)
    best = barycentric[torch.arange(len(points)), triangles].clamp(0, 1)
    return triangles, best / best.sum(-1, keepdim=True)


def _modes(disk: Float[Tensor, "V 2"], count: int, window: Float[Tensor, " V"], rms: float) -> Float[Tensor, "K V 3"]:
    """Orthogonal products of cosines, the smoothest first, with sigmas that fall as 1 / k and the given total rms."""
    orders = [(i, j, axis) for i in range(12) for j in range(12) for axis in range(3)]
    orders.sort(key=lambda order: (order[0] + order[1], order))
    if count == 0:
        return torch.zeros(0, len(disk), 3)
    fields = torch.zeros(count, len(disk), 3, dtype=torch.float64)
    angle = torch.pi * (disk.double() + 1) / 2
    for k, (i, j, axis) in enumerate(orders[:count]):
        fields[k, :, axis] = torch.cos(i * angle[:, 0]) * torch.cos(j * angle[:, 1]) * window
    directions = torch.linalg.qr(fields.flatten(1).T).Q.T.reshape(fields.shape)
    sigma = 1 / torch.arange(1, count + 1, dtype=torch.float64)
    sigma *= rms * len(disk) ** 0.5 / sigma.square().sum().sqrt()
    return (sigma[:, None, None] * directions).float()


def _near(mean: Float[Tensor, "V 3"], points: Float[Tensor, "N 2"], radius: int) -> Bool[Tensor, " V"]:
    return torch.cdist(mean[:, :2], points).min(dim=1).values < radius


def _vertex_colours(mean: Float[Tensor, "V 3"], wanted: Float[Tensor, "68 2"]) -> Float[Tensor, "V 3"]:
    colours = torch.tensor(_SKIN).expand(len(mean), 3).clone()
    eye_centres = torch.stack([wanted[36:42].mean(0), wanted[42:48].mean(0)])
    for points, radius, colour in ((wanted[17:27], 6, _BROW), (eye_centres, 8, _IRIS), (wanted[48:68], 7, _LIP)):
        colours[_near(mean, points, radius)] = torch.tensor(colour)
    return colours


def _parts(mean: Float[Tensor, "V 3"], wanted: Float[Tensor, "68 2"]) -> dict[str, Tensor]:
    cheeks = torch.tensor([[-44.0, -10.0], [44.0, -10.0]])
    return {
        "eyes": _near(mean, wanted[36:48], 9),
        "brows": _near(mean, wanted[17:27], 9),
        "nose": _near(mean, wanted[27:36], 9),
        "mouth": _near(mean, wanted[48:68], 9),
        "cheeks": _near(mean, cheeks, 20),
        "jaw": mean[:, 1] < -52,
        "forehead": mean[:, 1] > 55,
    }
