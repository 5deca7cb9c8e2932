"""The renderer R of the paper: theta to image, rendered-region mask, depth and landmarks, as one record."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import Camera, euler_to_rotation, project, rotate, to_camera, translate
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.render.backends import AUTO, RasterizerName, check_installed, resolve_backend
from focus_ray.focus.render.normals import vertex_normals
from focus_ray.focus.render.rasterize import interpolate, rasterize
from focus_ray.focus.render.shading import light_polynomials, shade


@dataclass
class Rendering:
    """Output of the renderer. Differentiable, except the mask and the ids."""

    image: Float[Tensor, "B 3 H W"]
    """RGB, 0 outside the face, not clamped to [0, 1]."""
    mask: Float[Tensor, "B 1 H W"]
    """1 where the face is drawn, else 0; no gradient: the paper's renderer has none through the silhouette."""
    depth: Float[Tensor, "B 1 H W"]
    """Distance along the viewing direction in mm, 0 outside the face."""
    landmarks: Float[Tensor, "B 68 2"]
    """(u, v) in px of this image, iBUG order."""
    triangle_ids: Int[Tensor, "B H W"]
    """The triangle that is visible at each pixel, -1 for none."""
    vertices: Float[Tensor, "B V 3"]
    """Model space, mm."""
    vertices_screen: Float[Tensor, "B V 3"]
    """(u px, v px, z mm) of every vertex."""

    def rows(self, rows: slice) -> "Rendering":
        """Return some of the images."""
        return Rendering(**{name: value[rows] for name, value in vars(self).items()})

    def to(self, device: str) -> "Rendering":
        """Copy to another device."""
        return Rendering(**{name: value.to(device) for name, value in vars(self).items()})


class Renderer(nn.Module):
    """Renders a morphable model with a fixed camera. Has no parameters; computes in the model's type."""

    def __init__(self, model: MorphableModel, camera: Camera, backend: str = AUTO, *, cull_back: bool = True) -> None:
        """Create the renderer.

        Args:
            model: face model.
            camera: camera of the images.
            backend: name of the rasterizer back end.
            cull_back: leave out triangles that look away from the camera, as the paper's renderer does.
        """
        super().__init__()
        self.model = model
        self.camera = camera
        self.backend = backend
        self.cull_back = cull_back

    def set_backend(self, backend: RasterizerName) -> None:
        """Draw with another rasterizer back end from now on.

        Raises:
            ConfigError: what it needs is not installed.
        """
        check_installed(backend)
        self.backend = backend

    def forward(self, theta: Float[Tensor, "B 257"]) -> Rendering:
        """Render coefficients of the model.

        Args:
            theta: in the order and units of `focus.parameters`.

        Returns:
            Images and geometry.
        """
        parameters = split_theta(theta.to(self.model.mean.dtype))
        vertices = self.model.vertices(parameters.alpha)
        albedo = self.model.albedo(parameters.albedo)
        return self.render(vertices, albedo, parameters.light, parameters.rotation, parameters.translation)

    def render(
        self,
        vertices: Float[Tensor, "B V 3"],
        albedo: Float[Tensor, "B V 3"],
        light: Float[Tensor, "B 27"],
        rotation: Float[Tensor, "B 3"],
        translation: Float[Tensor, "B 3"],
    ) -> Rendering:
        """Render any shape and albedo on the model's topology.

        Args:
            vertices: model space, mm.
            albedo: RGB of the vertices.
            light: R9|G9|B9.
            rotation: Euler angles, rad.
            translation: mm.

        Returns:
            Images and geometry.
        """
        with torch.autocast(vertices.device.type, enabled=False):
            return self._render(vertices, albedo, light, rotation, translation)

    def _render(
        self, vertices: Tensor, albedo: Tensor, light: Tensor, rotation: Tensor, translation: Tensor
    ) -> Rendering:
        if vertices.shape[1:] != self.model.mean.shape or albedo.shape != vertices.shape:
            raise ValueError(
                f"vertices {list(vertices.shape)} and albedo {list(albedo.shape)} do not fit the face model; "
                f"give [B, {self.model.n_vertices}, 3]"
            )
        draw = self._draw_compiled if resolve_backend(self.backend, vertices) == "numba" else self._draw
        image, depth, ids, screen = draw(vertices, albedo, light, rotation, translation)
        landmarks = to_camera(self.camera, self.model.landmarks(vertices), rotation, translation)
        return Rendering(
            image=image,
            mask=(ids >= 0).to(image.dtype)[:, None],
            depth=depth,
            landmarks=project(self.camera, landmarks)[..., :2],
            triangle_ids=ids,
            vertices=vertices,
            vertices_screen=screen,
        )

    def _draw_compiled(
        self, vertices: Tensor, albedo: Tensor, light: Tensor, rotation: Tensor, translation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image, depth, ids and screen coordinates from one compiled op."""
        from focus_ray.focus.render.mesh_numba import render_mesh

        distance = translation + translation.new_tensor((0.0, 0.0, self.camera.distance_mm))
        return render_mesh(
            vertices,
            albedo,
            light_polynomials(light),
            euler_to_rotation(rotation),
            distance,
            self.model.faces,
            self.camera,
            self.cull_back,
        )

    def _draw(
        self, vertices: Tensor, albedo: Tensor, light: Tensor, rotation: Tensor, translation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image, depth, ids and screen coordinates from separate ops, on any device and back end."""
        faces, size = self.model.faces, self.camera.image_size
        rotated = rotate(vertices, rotation)
        # before the translation: next to 1000 mm of depth, float32 would round the small edges
        colours = shade(albedo, vertex_normals(rotated, faces), light)
        screen = project(self.camera, translate(self.camera, rotated, translation))
        ids = rasterize(screen, faces, size, size, backend=self.backend, cull_back=self.cull_back)
        attributes = torch.cat((colours, screen[..., 2:]), dim=-1)
        pixels = interpolate(screen, attributes, faces, ids, backend=self.backend)
        return pixels[:, :3], pixels[:, 3:], ids, screen
