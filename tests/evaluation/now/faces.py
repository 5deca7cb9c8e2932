"""Small made-up faces for the tests: a bumpy cap with seven landmarks, and the NoW folders that hold them."""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from focus_ray.data.sources.now import Scan
from focus_ray.evaluation.now.export import write_prediction
from focus_ray.evaluation.now.similarity import Similarity
from focus_ray.evaluation.now.submission import SubmittedFace
from focus_ray.geometry.mesh_reader import TriangleMesh

# x to the subject's left, y up, mm: where the seven landmarks lie on the cap.
PLACES = np.array([[-45, 30], [-16, 29], [16, 29], [45, 30], [0, -14], [-25, -38], [25, -38]], dtype=float)


def height(xy: np.ndarray, seed: int, bumps: float = 3.0) -> np.ndarray:
    """z of a face in mm: a cap with a nose, and bumps of its own."""
    rng = np.random.default_rng(seed)
    x, y = xy[..., 0], xy[..., 1]
    z = 60 - (x**2 + 0.6 * y**2) / 90 + 16 * np.exp(-(x**2 + (y + 6) ** 2) / 600)
    for _ in range(6):
        a, b, phase = rng.normal(size=3)
        z = z + bumps / 3 * np.sin(0.05 * (a * x + b * y) + 3 * phase)
    return z


def cap(seed: int, n: int = 13, bumps: float = 3.0, reach: float = 75.0) -> SubmittedFace:
    """A face of n x n vertices."""
    steps = np.linspace(-reach, reach, n)
    xy = np.stack(np.meshgrid(steps, steps, indexing="xy"), axis=-1).reshape(-1, 2)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + n + 1], 1), np.stack([corner, corner + n + 1, corner + n], 1)]
    )
    mesh = TriangleMesh(np.column_stack([xy, height(xy, seed, bumps)]), faces)
    return SubmittedFace(mesh, np.column_stack([PLACES, height(PLACES, seed, bumps)]))


def scan(seed: int, n: int = 400, bumps: float = 3.0) -> Scan:
    """Points on the face of that number, with noise, in a frame of its own."""
    rng = np.random.default_rng(1000 + seed)
    xy = rng.uniform(-70, 70, size=(n, 2))
    points = np.column_stack([xy, height(xy, seed, bumps)]) + 0.1 * rng.normal(size=(n, 3))
    landmarks = np.column_stack([PLACES, height(PLACES, seed, bumps)])
    frame = similarity(seed, scale=1.0)
    return Scan(frame(points), frame(landmarks))


def similarity(seed: int, scale: float | None = None) -> Similarity:
    """Some similarity."""
    rng = np.random.default_rng(2000 + seed)
    rotation = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
    return Similarity(float(np.exp(rng.normal())) if scale is None else scale, rotation, 100 * rng.normal(size=3))


def moved(prediction: SubmittedFace, by: Similarity) -> SubmittedFace:
    """The prediction in another frame."""
    return SubmittedFace(TriangleMesh(by(prediction.mesh.vertices), prediction.mesh.faces), by(prediction.landmarks))


def pair(seed: int, n: int = 400, mesh: int = 13) -> tuple[Scan, SubmittedFace]:
    """The scan of a person and the prediction of another one, which is a few mm off."""
    return scan(seed, n), moved(cap(seed + 500, mesh), similarity(seed + 77))


PICKED = """<!DOCTYPE PickedPoints>
<PickedPoints>
 <DocumentData>
  <DateTime date="2018-05-01" time="10:00:00"/>
  <User name="somebody"/>
  <DataFileName name="scan.obj"/>
  <templateName name=""/>
 </DocumentData>
{points}</PickedPoints>
"""


def picked(points: np.ndarray) -> str:
    """A .pp file as MeshLab writes it."""
    lines = (
        f' <point x="{x}" y="{y}" z="{z}" name="{i}" active="1"/>\n' for i, (x, y, z) in enumerate(points.tolist())
    )
    return PICKED.format(points="".join(lines))


def write_dataset(root: Path, names: list[str], n: int = 400) -> Path:
    """A NoW folder with these pictures (subject/challenge/name.jpg); each subject has a scan of its own."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "imagepathsvalidation.txt").write_text("\n".join(names) + "\n")
    for name in names:
        picture = root / "iphone_pictures" / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(b"picture")
    for number, subject in enumerate(dict.fromkeys(name.split("/")[0] for name in names)):
        one = scan(number, n)
        (root / "scans" / subject).mkdir(parents=True)
        lines = [f"v {x:.6f} {y:.6f} {z:.6f} 0.5 0.25 1.0" for x, y, z in one.vertices.tolist()]
        (root / "scans" / subject / "scan.obj").write_text("\n".join(lines) + "\nf 1 2 3\n")
        (root / "scans_lmks_onlypp" / subject).mkdir(parents=True)
        (root / "scans_lmks_onlypp" / subject / "scan.pp").write_text(picked(one.landmarks))
    return root


def write_submission(folder: Path, names: list[str]) -> Path:
    """Predictions for these pictures that are all right."""
    subjects = list(dict.fromkeys(name.split("/")[0] for name in names))
    for number, name in enumerate(names):
        face = moved(cap(subjects.index(name.split("/")[0]), bumps=2.9), similarity(number, scale=1.0))
        write_prediction(folder, name, face.mesh.vertices, face.mesh.faces, face.landmarks)
    return folder
