"""The differentiable renderer: geometry, shading, rasterization and the record of the result."""

from focus_ray.focus.render.rasterize import BACKGROUND, interpolate, rasterize
from focus_ray.focus.render.renderer import Renderer, Rendering

__all__ = ["BACKGROUND", "Renderer", "Rendering", "interpolate", "rasterize"]
