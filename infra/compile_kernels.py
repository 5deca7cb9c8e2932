"""Compiles the numba kernels into their cache, before their first use: python infra/compile_kernels.py."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from focus_ray.data.composites.training.families import TRAINING_FAMILIES
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.evaluation.now.surface import Surface
from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.camera import Camera
from focus_ray.focus.render import interpolate, rasterize
from focus_ray.focus.render.renderer import Renderer
from focus_ray.geometry.mesh_reader import TriangleMesh


def main() -> None:
    """Run every kernel once with each type that the package uses."""
    world = parametric_face("small", 120, 80, 120)
    SyntheticFaces(world, SyntheticConfig(image_size=32), "train").batch(list(range(32)))
    face = world.truncate(80, 64, 80)
    theta = torch.zeros(1, 257, requires_grad=True)
    render = Renderer(face, Camera(image_size=32))
    render(theta).image.sum().backward()
    rendering = render(theta)
    (rendering.image.sum() + rendering.depth.sum()).backward()
    for dtype in (torch.float32, torch.float64):
        vertices = face.mean[None].to(dtype).requires_grad_()
        ids = rasterize(vertices.detach(), face.faces, 32, 32)
        for channels in (1, 3):
            colours = torch.ones(1, len(face.mean), channels, dtype=dtype)
            interpolate(vertices, colours, face.faces, ids).sum().backward()
    TRAINING_FAMILIES["hands"](
        np.random.default_rng(0), 64, np.random.default_rng(0).uniform(0, 64, (68, 2)), np.ones(3)
    )
    surface = Surface(TriangleMesh(face.mean.double().numpy(), face.faces.numpy()))
    surface.nearest(np.zeros((4, 3)))


if __name__ == "__main__":
    main()
