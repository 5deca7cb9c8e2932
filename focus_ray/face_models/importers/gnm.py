"""GNM Head (Google, version 3): an npz archive of plain arrays.

    template_vertex_positions [V, 3] m, vertex_identity_basis [I, V, 3] and expression_basis [E, V, 3] m per sigma,
    triangles [F, 3], vertex_groups [G, V] in [0, 1], vertex_group_names [G]

The modes are grouped by regions of the head, not by variance: principal modes of what is kept take their place. The
clear shells of the eyes are kept and painted; what lies behind them is left out. Joints and pose correctives are not
part of a linear model. The landmarks are a file of their own in GNM's repository, landmarks/head_sparse_68.txt.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from focus_ray.errors import FaceModelError, printable
from focus_ray.face_models.importers.bounded_files import read_bytes, read_npz
from focus_ray.face_models.importers.import_options import ImportOptions
from focus_ray.face_models.importers.landmark_file import read_landmarks
from focus_ray.face_models.importers.landmark_places import LandmarkPlaces
from focus_ray.face_models.importers.mesh_region import keep_region
from focus_ray.face_models.importers.named_modes import leading_modes
from focus_ray.face_models.importers.source_checks import MAX_VERTICES, check_faces, check_mean, check_source
from focus_ray.face_models.importers.source_model import SourceModel
from focus_ray.face_models.importers.terms import GNM, with_text
from focus_ray.face_models.landmarks import INNER_POINTS, JAW
from focus_ray.face_models.provenance import Provenance

LANDMARK_FILE = "head_sparse_68.txt"

_MEAN, _IDENTITY, _EXPRESSION = "template_vertex_positions", "vertex_identity_basis", "expression_basis"
_TRIANGLES, _GROUPS, _GROUP_NAMES = "triangles", "vertex_groups", "vertex_group_names"
_KEYS = (_MEAN, _IDENTITY, _EXPRESSION, _TRIANGLES, _GROUPS, _GROUP_NAMES)
# Groups by their names in version 3 and before.
_EYES = ("eye_exteriors", "eyeball_exterior")
_BEHIND_EYES = ("eye_interiors", "eyeball_interior")
_FACE = ("hockey_mask",)
_TEETH = ("teeth", "upper_teeth", "lower_teeth")
_GUMS = ("gums", "tongue", "upper_teeth_and_gums", "lower_teeth_and_gums")
_SOCKET = ("mouth_sock",)
_MM = 1000.0  # per m
_ORIGIN = np.array([0.0, 0.2, 29.2])  # mm: centre of the inner landmarks of the parametric face
_MAX_MODES = 1000


def read_gnm(path: Path, options: ImportOptions) -> SourceModel:
    """Read GNM Head.

    Args:
        path: the npz file.
        options: `landmarks` is needed unless head_sparse_68.txt lies beside the model; `crop` keeps the group
            hockey_mask, the eyes and the mouth.

    Raises:
        FaceModelError: the file cannot be read or is malformed, or there are no landmarks.
    """
    hashes: dict[str, str] = {}
    arrays = _arrays(read_bytes(path, hashes), path.name)
    vertices = arrays[_MEAN].astype(np.float64) * _MM
    check_mean(vertices, printable(path.name))
    groups = {str(name): row > 0.5 for name, row in zip(arrays[_GROUP_NAMES], arrays[_GROUPS], strict=True)}

    def any_of(*names: str) -> Bool[np.ndarray, " V"]:
        return np.logical_or.reduce([groups[n] for n in names if n in groups] + [np.zeros(len(vertices), bool)])

    notes = ["Landmarks: by file; eyes: the outer shells; no joints and pose correctives."]
    eyes, teeth = any_of(*_EYES), any_of(*_TEETH)
    gums, socket = any_of(*_GUMS) & ~teeth, any_of(*_SOCKET)
    keep = ~any_of(*_BEHIND_EYES) | eyes
    if options.crop and any_of(*_FACE).any():
        keep &= any_of(*_FACE) | eyes | teeth | gums | socket
        notes.append("Cropped to the vertex group hockey_mask with eyes and mouth.")
    faces = arrays[_TRIANGLES].astype(np.int64)
    landmarks = _landmarks(path, vertices, options, hashes, notes)
    region = keep_region(faces, keep)
    inside = (eyes | teeth | gums | socket)[region.vertices]
    mean = vertices[region.vertices]
    skin = np.asarray(~inside[region.faces].any(axis=1))
    if not skin.any():
        raise FaceModelError(f"{printable(path)} has no skin by its vertex groups; get the file again")
    triangles, weights, _ = landmarks.on(vertices, region, skin)
    right = eyes[region.vertices] & (mean[:, 0] < 0)
    left = eyes[region.vertices] & (mean[:, 0] >= 0)
    has_eyes = right.sum() >= 4 and left.sum() >= 4
    if not has_eyes:
        notes.append("Eyes: no vertex group names them; they are painted as skin is.")
    mouth = {
        "tooth": teeth[region.vertices],
        "gum": gums[region.vertices],
        "back": (socket & ~teeth & ~gums)[region.vertices],
    }
    bases = [
        leading_modes(arrays[key][:, region.vertices], wanted, key) * _MM
        for key, wanted in ((_IDENTITY, options.modes[0]), (_EXPRESSION, options.modes[1]))
    ]
    notes.append("Modes: principal modes of the kept part; they are not GNM's own coefficients.")
    return check_source(
        SourceModel(
            name=f"gnm-{path.stem}",
            mean=mean - landmarks.points(vertices)[list(INNER_POINTS)].mean(axis=0) + _ORIGIN,
            faces=region.faces,
            identity=bases[0],
            expression=bases[1],
            landmark_triangles=triangles,
            landmark_barycentric=weights,
            provenance=Provenance(
                kind="gnm", files=hashes, licence=with_text(GNM, options.licence, hashes), notes=tuple(notes)
            ),
            eyeballs=(right, left) if has_eyes else None,
            mouth_inside={name: mask for name, mask in mouth.items() if mask.any()},
        )
    )


def _arrays(content: bytes, name: str) -> dict[str, np.ndarray]:
    arrays = read_npz(content, name, _KEYS)
    name = printable(name)
    if missing := sorted(set(_KEYS) - set(arrays)):
        raise FaceModelError(f"{name} has no {', '.join(missing)}; give gnm_head.npz of GNM version 3")
    n_vertices, n_groups = len(arrays[_MEAN]), len(arrays[_GROUP_NAMES])
    expected: dict[str, tuple[int, ...]] = {_MEAN: (n_vertices, 3), _GROUPS: (n_groups, n_vertices)}
    expected |= {_GROUP_NAMES: (n_groups,)}
    for key in (_IDENTITY, _EXPRESSION):
        expected[key] = (min(len(arrays[key]), _MAX_MODES), n_vertices, 3)
    for key, shape in expected.items():
        kind = "U" if key == _GROUP_NAMES else "f"
        if arrays[key].shape != shape or (arrays[key].dtype.kind != kind and key != _GROUPS):
            raise FaceModelError(
                f"{name}: {key} has shape {arrays[key].shape} and type {arrays[key].dtype}, not {shape}; get it again"
            )
    if n_vertices > MAX_VERTICES:
        raise FaceModelError(f"{name} has {n_vertices} vertices, more than {MAX_VERTICES}; check what it is")
    check_faces(arrays[_TRIANGLES], n_vertices, name)
    for key in (_MEAN, _IDENTITY, _EXPRESSION):
        if not np.isfinite(arrays[key]).all():
            raise FaceModelError(f"{name}: {key} has a number that is not finite; get the file again")
    return arrays


def _landmarks(
    path: Path, vertices: Float[np.ndarray, "V 3"], options: ImportOptions, hashes: dict[str, str], notes: list[str]
) -> LandmarkPlaces:
    file = options.landmarks or path.with_name(LANDMARK_FILE)
    if options.landmarks is None and not file.exists():
        raise FaceModelError(
            f"the landmarks of GNM are a file of their own; give {LANDMARK_FILE} of GNM's repository, "
            "or put it beside the model"
        )
    places = read_landmarks(file, len(vertices), hashes)
    points = places.points(vertices)
    jaw = points[list(JAW)] - points[list(INNER_POINTS)].mean(axis=0)
    # Once around the outline from the subject's right temple over the chin.
    order = np.argsort(np.arctan2(jaw[:, 0], -jaw[:, 1]), kind="stable")
    if (order == np.arange(len(order))).all():
        return places
    notes.append("Landmarks of the jaw line: put into the order along the outline, which the file has not.")
    rows = np.concatenate([order, INNER_POINTS])
    return LandmarkPlaces(places.corners[rows], places.weights[rows])
