"""Checks whether faces were submitted with their expression, from the predictions of one subject.

The challenge asks for neutral faces. Seven landmarks do not show an open mouth, but the meshes of one subject do, if
they have the same triangles: identity is the same in all pictures, so motion in the mouth without motion above the nose
is an expression. In trials with faces of the parametric model, an open jaw (one sigma) was mostly found where identity
was steady (a fifth of a sigma between the pictures), seldom where it was not; slight expressions were not found.
An expression that all pictures of a subject share cannot be found, nor one in meshes of different triangles. Which
picture is neutral is unknown: the median over the pictures is used as the neutral face.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from focus_ray.data.sources.now import LEFT_MOUTH, LEFT_OUTER_EYE, NOSE_BOTTOM, RIGHT_MOUTH, RIGHT_OUTER_EYE
from focus_ray.evaluation.now.findings import Finding
from focus_ray.evaluation.now.similarity import procrustes
from focus_ray.evaluation.now.submission import SubmittedFace

_MIN_PICTURES = 3  # of two pictures, it is unknown which one has the expression
# Relative to the outer eye distance (90 mm): radius of the mouth region around the middle of its corners, radius of the
# face around the nose bottom, least motion of the mouth (3 mm), which must also be _MIN_MOTION_RATIO times that of the
# upper face.
_MOUTH, _FACE, _MIN_MOTION = 0.4, 1.0, 0.03
_MIN_MOTION_RATIO = 4.0


def expression_findings(predictions: Mapping[str, SubmittedFace]) -> Iterator[Finding]:
    """Yield a warning for each picture whose mouth differs from the subject's other pictures.

    Args:
        predictions: predictions for one subject, by name of the picture.
    """
    if len(predictions) < _MIN_PICTURES or not _same_triangles(list(predictions.values())):
        return
    first = next(iter(predictions.values()))
    size = float(np.linalg.norm(first.landmarks[LEFT_OUTER_EYE] - first.landmarks[RIGHT_OUTER_EYE]))
    mouth_centre = first.landmarks[[RIGHT_MOUTH, LEFT_MOUTH]].mean(axis=0)
    mouth = _within(first, mouth_centre, _MOUTH * size)
    above = _within(first, first.landmarks[NOSE_BOTTOM], _FACE * size) & _above_the_nose(first, mouth_centre)
    if not mouth.any() or above.sum() < _MIN_PICTURES:
        return
    aligned = np.stack([_align_to(one, first, above) for one in predictions.values()])
    motion = np.linalg.norm(aligned - np.median(aligned, axis=0), axis=2)  # [pictures, V]
    for name, moved in zip(predictions, motion, strict=True):
        in_mouth, elsewhere = (float(np.sqrt(np.square(moved[part]).mean())) for part in (mouth, above))
        if in_mouth > max(_MIN_MOTION * size, _MIN_MOTION_RATIO * elsewhere):
            what = (
                f"the mouth deviates by {in_mouth:.3g} mm from the subject's other pictures, the upper face by "
                f"{elsewhere:.2g} mm: the mesh seems to contain an expression"
            )
            yield Finding("warning", name, what, "submit the neutral face, from the identity coefficients only")


def _same_triangles(predictions: list[SubmittedFace]) -> bool:
    first, *others = (one.mesh for one in predictions)
    return all(one.vertices.shape == first.vertices.shape and np.array_equal(one.faces, first.faces) for one in others)


def _within(prediction: SubmittedFace, centre: Float[np.ndarray, "3"], radius: float) -> np.ndarray:
    return np.linalg.norm(prediction.mesh.vertices - centre, axis=1) < radius


def _above_the_nose(prediction: SubmittedFace, mouth_centre: Float[np.ndarray, "3"]) -> np.ndarray:
    nose = prediction.landmarks[NOSE_BOTTOM]
    return (prediction.mesh.vertices - nose) @ (nose - mouth_centre) > 0


def _align_to(one: SubmittedFace, first: SubmittedFace, vertices: np.ndarray) -> Float[np.ndarray, "V 3"]:
    """Return the vertices of `one`, aligned to `first` by some of them."""
    return procrustes(one.mesh.vertices[vertices], first.mesh.vertices[vertices])(one.mesh.vertices)
