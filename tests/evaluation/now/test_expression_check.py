"""Expressions that were left in, as far as the meshes of one subject tell."""

import numpy as np
import torch

from focus_ray.evaluation.now.export import select_now_landmarks
from focus_ray.evaluation.now.expression_check import expression_findings
from focus_ray.evaluation.now.submission import SubmittedFace
from focus_ray.geometry.mesh_reader import TriangleMesh

OPEN_JAW = 0  # the expression mode


def faces(model, pictures=5, identity=0.2):
    """Predictions for one person, whose identity differs a little between pictures."""
    generator = torch.Generator().manual_seed(0)
    person = torch.randn(1, model.n_identity, generator=generator)
    alpha = torch.zeros(pictures, model.n_identity + model.n_expression)
    alpha[:, : model.n_identity] = person + identity * torch.randn(pictures, model.n_identity, generator=generator)
    return alpha


def predictions(model, alpha):
    vertices = model.vertices(alpha)
    points = model.landmarks(vertices).double().numpy()
    mesh_faces = model.faces.numpy()
    return {
        str(i): SubmittedFace(TriangleMesh(one, mesh_faces), select_now_landmarks(points[i]))
        for i, one in enumerate(vertices.double().numpy())
    }


def test_an_open_jaw_is_seen_and_differences_of_identity_are_not(small_face):
    alpha = faces(small_face)
    assert list(expression_findings(predictions(small_face, alpha))) == []
    alpha[3, small_face.n_identity + OPEN_JAW] = 1.5
    (finding,) = expression_findings(predictions(small_face, alpha))
    assert (finding.severity, finding.item) == ("warning", "3")


def test_what_cannot_be_compared_is_passed_over(small_face):
    alpha = faces(small_face)
    alpha[1, small_face.n_identity + OPEN_JAW] = 2
    two = dict(list(predictions(small_face, alpha).items())[:2])
    assert list(expression_findings(two)) == []
    all_of_them = predictions(small_face, alpha)
    mesh = all_of_them["2"].mesh
    all_of_them["2"] = all_of_them["2"]._replace(mesh=TriangleMesh(mesh.vertices, np.roll(mesh.faces, 1, axis=0)))
    assert list(expression_findings(all_of_them)) == []
