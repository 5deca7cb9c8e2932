"""Synthetic faces in the layout of the NoW challenge: several pictures and one neutral scan a person.

Files in addition to the published layout:

    landmarks.csv   68 landmarks a picture, names relative to iphone_pictures
    pairs.txt       occluded and unoccluded pictures of a person in comparable pose
    truth.npz       by subject: subjects [S], neutral [S,V,3] mm, scan_rotation [S,3,3], scan_translation [S,3] (from
                    the model's frame to the scan's); by picture: names [N], subject [N] (row of subjects), theta
                    [N,257], vertices [N,V,3] mm with expression, landmarks_true [N,68,2] px, families [N],
                    occluded [N]; faces [F,3] of the model
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from jaxtyping import Float

from focus_ray.data.dataset_writers.picture_kinds import PictureKind
from focus_ray.data.dataset_writers.picture_writer import first_picture, write_picture
from focus_ray.data.dataset_writers.scan_simulation import Frame, simulate_scan
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.sample import Batch, concatenate
from focus_ray.data.sources.files import bare_name
from focus_ray.data.sources.labelled import LANDMARKS
from focus_ray.data.sources.now import LISTS, NOW_LANDMARK_INDICES, PICTURES, SCAN_LANDMARKS, SCANS
from focus_ray.data.sources.now_pictures import TRUTH
from focus_ray.data.sources.subset_lists import PAIRS, propose_pairs, write_names, write_pairs
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.focus.parameters import split_theta
from focus_ray.geometry.mesh_reader import TriangleMesh
from focus_ray.geometry.mesh_writer import encode_geometry

_NEUTRAL = PictureKind("multiview_neutral", occluded=0.0, expression=0.0)
_EXPRESSIONS = PictureKind("multiview_expressions", occluded=0.0)
_OCCLUSIONS = PictureKind("multiview_occlusions", occluded=1.0)
_SELFIE = PictureKind("selfie", occluded=0.0)
KINDS = (_NEUTRAL, _EXPRESSIONS, _OCCLUSIONS, _SELFIE, _NEUTRAL, _EXPRESSIONS, _OCCLUSIONS, _OCCLUSIONS)
"""Kinds of a subject's pictures. Occlusions are more frequent than in the challenge, to get more pairs."""

_STREAM = 5  # keeps the random numbers of scans apart from those of pictures


def write_now(
    folder: Path, pictures: Iterable[tuple[int, Batch]], on_written: Callable[[int], object], faces: SyntheticFaces
) -> None:
    """Write pictures and scans in the layout of the NoW challenge; pictures are PNG, the pixels of the synthetic world.

    Args:
        folder: an empty folder.
        pictures: number of each picture and a batch of it alone.
        on_written: called with the number of each written picture.
        faces: set of faces with the persons of the pictures.

    Raises:
        DataError: a picture cannot be encoded.
    """
    landmarks: dict[str, np.ndarray] = {}
    batches: list[Batch] = []
    for index, batch in pictures:
        file = file_name(index)
        write_picture(folder / PICTURES / file, first_picture(batch))
        landmarks[file] = batch.landmarks[0].numpy()
        batches.append(Batch(**{**vars(batch), "images": batch.images[..., :0], "masks": None, "region": None}))
        on_written(index)
    write_landmarks(folder / LANDMARKS, landmarks)
    write_names(folder / LISTS["validation"], landmarks)
    n_subjects = -(-len(landmarks) // len(KINDS))
    neutral = np.concatenate([faces.neutral_vertices([number * len(KINDS)]).numpy() for number in range(n_subjects)])
    frames = [_write_scan(folder, number, face, faces) for number, face in enumerate(neutral)]
    _write_truth(folder, list(landmarks), concatenate(batches), neutral, frames, faces)


def subject_name(number: int) -> str:
    """Return the name of a subject's folders."""
    return f"subject_{number:03d}"


def file_name(index: int) -> str:
    """Return the path of a picture in iphone_pictures."""
    subject, place = divmod(index, len(KINDS))
    return f"{subject_name(subject)}/{KINDS[place].name}/IMG_{place:04d}.png"


def _write_scan(folder: Path, number: int, face: Float[np.ndarray, "V 3"], faces: SyntheticFaces) -> Frame:
    """Write the scan of a subject and its seven points; returns the scanner's frame."""
    rng = np.random.default_rng((faces.config.seed, _STREAM, number))
    name, world = subject_name(number), faces.world
    frame = Frame.random(rng)
    scanned = simulate_scan(rng, TriangleMesh(face.astype(np.float64), world.faces.numpy()))
    obj = encode_geometry(TriangleMesh(frame.to_scanner(scanned.vertices), scanned.faces), "obj")
    points = world.landmarks(torch.from_numpy(face)[None])[0, list(NOW_LANDMARK_INDICES)].double().numpy()
    picked = format_picked_points(frame.to_scanner(points), f"{name}.obj").encode()
    for place, suffix, content in ((SCANS, "obj", obj), (SCAN_LANDMARKS, "pp", picked)):
        (folder / place / name).mkdir(parents=True)
        (folder / place / name / f"{name}.{suffix}").write_bytes(content)
    return frame


def format_picked_points(points: Float[np.ndarray, "N 3"], mesh: str) -> str:
    """Format points on a mesh as MeshLab's .pp.

    The first point is in line 9, where NoW's public evaluation begins to read.

    Args:
        points: points on the mesh, mm.
        mesh: file name of the mesh.

    Returns:
        Content of the .pp file.
    """
    lines = [
        "<!DOCTYPE PickedPoints>",
        "<PickedPoints>",
        " <DocumentData>",
        '  <DateTime time="00:00:00" date="2000-01-01"/>',
        '  <User name=""/>',
        f"  <DataFileName name={quoteattr(mesh)}/>",
        '  <templateName name=""/>',
        " </DocumentData>",
    ]
    lines += [
        f' <point x="{x:.4f}" y="{y:.4f}" z="{z:.4f}" active="1" name="{number}"/>'
        for number, (x, y, z) in enumerate(points.tolist())
    ]
    return "\n".join([*lines, "</PickedPoints>"]) + "\n"


def _write_truth(
    folder: Path,
    files: list[str],
    truth: Batch,
    neutral: Float[np.ndarray, "S V 3"],
    frames: list[Frame],
    faces: SyntheticFaces,
) -> None:
    """Write truth.npz, and the pairs by the true poses."""
    assert truth.theta is not None
    assert truth.vertices is not None
    assert truth.landmarks_true is not None
    assert truth.families is not None
    assert truth.occluded is not None
    subjects = [subject_name(number) for number in range(len(neutral))]
    rows = np.arange(len(files)) // len(KINDS)
    occluded = truth.occluded.numpy()
    np.savez(
        folder / TRUTH,
        subjects=np.array(subjects, dtype=np.str_),
        neutral=neutral,
        scan_rotation=np.stack([frame.rotation for frame in frames]),
        scan_translation=np.stack([frame.translation for frame in frames]),
        names=np.array([bare_name(file) for file in files], dtype=np.str_),
        subject=rows,
        theta=truth.theta.numpy(),
        vertices=truth.vertices.numpy(),
        landmarks_true=truth.landmarks_true.numpy(),
        families=np.array(truth.families, dtype="<U32"),
        occluded=occluded,
        faces=faces.world.faces.numpy(),
    )
    rotations = split_theta(truth.theta).rotation.double().numpy()
    write_pairs(folder / PAIRS, propose_pairs(files, [subjects[row] for row in rows], rotations, occluded))
