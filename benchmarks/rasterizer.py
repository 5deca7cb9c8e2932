"""Times the rasterizer's back ends against each other, and the whole renderer; prints a table, writes JSON when asked.

    python benchmarks/rasterizer.py [--size 224] [--batch 8] [--threads 2] [--rounds 5] [--json FILE]
                                    [--pytorch3d [--pytorch3d-rounds 3]]

Back ends are timed in turns within one process and their medians compared, so that a busy machine slows all alike.
Beside the wall time stands the processor time of all threads, which a busy machine changes least.

With --pytorch3d, PyTorch3D, which `make check-pytorch3d` builds, is compared with numba on the CPU, one image
at a time: about half a minute a round.
"""

import argparse
import json
import platform
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Literal

import torch
from torch import Tensor

from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.camera import Camera, project, to_camera
from focus_ray.focus.parameters import N_PARAMETERS, PARAMETER_GROUPS, ParameterScales
from focus_ray.focus.render import Renderer, interpolate, rasterize
from focus_ray.focus.render.rasterize_pytorch3d import draw_fragments, import_package

# 167 x 167 squares: about the 56k triangles of a cropped Basel face.
GRID = 168
POSE_SIGMA = 0.2
NUMBA_PASSES = 20  # of numba against one of PyTorch3D, which takes thousands of times as long
# share of the pixels in which PyTorch3D, in float32, may put a centre on the other side of an edge than the double
# arithmetic of numba does
ROUNDED_PIXELS = 1e-4
LARGEST_GRADIENT_DIFFERENCE = 1e-4  # L2, relative to numba's in float64


def ellipsoid(batch: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """(vertices_screen [B,V,3], colours [B,V,3], faces [F,3]) of half ellipsoids in slightly different poses."""
    row, column = torch.meshgrid(torch.linspace(-1, 1, GRID), torch.linspace(-1, 1, GRID), indexing="ij")
    # a square squeezed onto the disk, so that no triangle degenerates
    x, y = column * (1 - row**2 / 2).sqrt(), row * (1 - column**2 / 2).sqrt()
    height = (1 - 0.97 * (x**2 + y**2)).clamp_min(0).sqrt()
    nose = 0.3 * torch.exp(-((x / 0.15) ** 2) - (y / 0.25) ** 2)
    vertices = torch.stack((70 * x, -95 * y, 60 * (height + nose) - 40), dim=-1).reshape(1, -1, 3)
    vertices = vertices + 0.05 * torch.randn(batch, GRID * GRID, 3)
    ids = torch.arange(GRID * GRID).view(GRID, GRID)
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]
    faces = torch.stack((torch.stack((a, c, b), -1), torch.stack((b, c, d), -1))).reshape(-1, 3)
    camera = Camera(image_size=size)
    screen = project(camera, to_camera(camera, vertices, POSE_SIGMA * torch.randn(batch, 3), torch.zeros(batch, 3)))
    return screen, torch.rand(batch, GRID * GRID, 3), faces


def time_interleaved(
    steps: dict[str, Callable[[], object]], rounds: int, images: int, unmeasured: int = 1
) -> dict[str, float]:
    """Median wall and processor milliseconds per image of each step over the rounds, after the unmeasured ones."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + unmeasured):
        for name, step in steps.items():
            start, start_processor = perf_counter(), process_time()
            step()
            if number >= unmeasured:
                wall[name].append(perf_counter() - start)
                processor[name].append(process_time() - start_processor)
    times = {f"{name}_ms": 1e3 * median(values) / images for name, values in wall.items()}
    return times | {f"{name}_cpu_ms": 1e3 * median(values) / images for name, values in processor.items()}


def measure_rasterizer(size: int, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds per image of rasterize + interpolate on about 56k triangles, and how much faster numba is.

    The oracle is what the tests compare with: the torch back end on float64.
    """
    screen, colours, faces = ellipsoid(batch, size)
    gradient = torch.randn(batch, 3, size, size)
    rows = {"numba": ("numba", torch.float32), "torch": ("torch", torch.float32), "oracle": ("torch", torch.float64)}

    def steps_of(backend: str, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
        leaves = screen.to(dtype).requires_grad_(), colours.to(dtype).requires_grad_()
        to_image = gradient.to(dtype)

        def draw() -> Tensor:
            return rasterize(leaves[0], faces, size, size, backend=backend)

        def image() -> Tensor:
            return interpolate(*leaves, faces, draw(), backend=backend)

        def gradients() -> object:
            return torch.autograd.grad(image(), leaves, to_image)

        return {"rasterize": draw, "forward": image, "forward_backward": gradients}

    steps = {f"{row}_{name}": step for row, options in rows.items() for name, step in steps_of(*options).items()}
    times = time_interleaved(steps, rounds, batch)
    ratios = {
        f"{row}_over_numba{kind}": times[f"{row}_forward_backward{kind}_ms"] / times[f"numba_forward_backward{kind}_ms"]
        for row in ("torch", "oracle")
        for kind in ("", "_cpu")
    }
    covered = (rasterize(screen, faces, size, size) >= 0).float().mean().item()
    return {"triangles": len(faces), "vertices": screen.shape[1], "covered": covered} | times | ratios


def measure_renderer(size: int, batch: int, rounds: int, resolution: Literal["small", "full"]) -> dict[str, float]:
    """Milliseconds per image from theta to image and landmarks, and back, with the parametric face."""
    model = parametric_face(resolution)
    render = Renderer(model, Camera(image_size=size))
    offset, scale = ParameterScales().vectors()
    spread = torch.cat(
        [torch.full((group.size,), POSE_SIGMA if group.name == "light" else 1.0) for group in PARAMETER_GROUPS]
    )
    theta = offset + scale * spread * torch.randn(batch, N_PARAMETERS)
    gradient = torch.randn(batch, 3, size, size)

    def forward() -> None:
        with torch.no_grad():
            render(theta)

    def forward_backward() -> None:
        rendering = render(theta.clone().requires_grad_())
        torch.autograd.backward((rendering.image, rendering.landmarks.sum()), (gradient, torch.tensor(1.0)))

    steps: dict[str, Callable[[], object]] = {"forward": forward, "forward_backward": forward_backward}
    sizes = {"triangles": len(model.faces), "vertices": model.n_vertices, "size": size, "batch": batch}
    return sizes | time_interleaved(steps, rounds, batch)


def draw_with_pytorch3d(screen: Tensor, colours: Tensor, faces: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(ids [1,H,W], image [1,3,H,W]) of one mesh, by the operations of PyTorch3D, all differentiable."""
    interpolate_faces = import_module("pytorch3d.ops").interpolate_face_attributes
    ids, weights = draw_fragments(screen, faces, size, size, cull_back=False)
    image = interpolate_faces(ids, weights, colours[0][faces])
    return ids[..., 0], image[..., 0, :].permute(0, 3, 1, 2)


def measure_pytorch3d(size: int, rounds: int) -> dict[str, float]:
    """Forward and backward of one image of about 56k triangles by PyTorch3D and by numba, in turns, same gradients.

    Args:
        size: px.
        rounds: number of measured rounds.

    Returns:
        Milliseconds per image, ratios, number of pixels where the two see different triangles, and the L2 differences
        of PyTorch3D's gradients from those of numba in float64 for the triangles that PyTorch3D sees, relative.

    Raises:
        SystemExit: the two see different triangles in more pixels than PyTorch3D's rounding explains, or their
            gradients differ by more than LARGEST_GRADIENT_DIFFERENCE.
    """
    screen, colours, faces = ellipsoid(1, size)
    to_image = torch.randn(1, 3, size, size)
    leaves = screen.requires_grad_(), colours.requires_grad_()

    def pytorch3d() -> tuple[Tensor, ...]:
        ids, image = draw_with_pytorch3d(*leaves, faces, size)
        return ids, *torch.autograd.grad(image, leaves, to_image)

    def numba() -> tuple[Tensor, ...]:
        ids = rasterize(leaves[0], faces, size, size, backend="numba")
        image = interpolate(*leaves, faces, ids, backend="numba")
        return ids, *torch.autograd.grad(image, leaves, to_image)

    (their_ids, *theirs), (ids, *_) = pytorch3d(), numba()
    different = int((their_ids != ids).sum())
    if different > ROUNDED_PIXELS * ids.numel():
        raise SystemExit(f"PyTorch3D and numba see different triangles in {different} of {ids.numel()} pixels")
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    image = interpolate(*exact, faces, their_ids.to(ids.dtype), backend="numba")
    ours = torch.autograd.grad(image, exact, to_image.double())
    differences = [float((a - b).norm() / b.norm()) for a, b in zip(theirs, ours, strict=True)]
    if max(differences) > LARGEST_GRADIENT_DIFFERENCE:
        raise SystemExit(f"the gradients of PyTorch3D and numba differ by {max(differences):.1e} of their norm")
    steps = {"pytorch3d": pytorch3d, "numba": lambda: [numba() for _ in range(NUMBA_PASSES)]}
    times = time_interleaved(steps, rounds, 1, unmeasured=0)
    times |= {name: times[name] / NUMBA_PASSES for name in ("numba_ms", "numba_cpu_ms")}
    ratios = {
        f"pytorch3d_over_numba{kind}": times[f"pytorch3d{kind}_ms"] / times[f"numba{kind}_ms"] for kind in ("", "_cpu")
    }
    quality = dict(zip(("vertex_gradient_difference", "colour_gradient_difference"), differences, strict=True))
    return {"triangles": len(faces), "size": size, "batch": 1, "pixels_different": different} | times | ratios | quality


def main() -> None:
    """Run every benchmark and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="px of the rasterizer's images")
    parser.add_argument("--batch", type=int, default=8, help="images of the rasterizer's batch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--pytorch3d", action="store_true", help="compare with PyTorch3D, and with nothing else")
    parser.add_argument("--pytorch3d-rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    results = {"machine": {"torch": torch.__version__, "python": platform.python_version(), "threads": options.threads}}
    if options.pytorch3d:
        import_package()
        results["pytorch3d"] = measure_pytorch3d(options.size, options.pytorch3d_rounds)
    else:
        results["rasterizer"] = {"size": options.size, "batch": options.batch} | measure_rasterizer(
            options.size, options.batch, options.rounds
        )
        results["renderer_embedded"] = measure_renderer(64, 32, 3 * options.rounds, "small")
        results["renderer_224"] = measure_renderer(224, 8, options.rounds, "full")
    for part, numbers in results.items():
        print(part)
        for name, value in numbers.items():
            print(f"  {name:30} {value:#.4g}" if isinstance(value, float) else f"  {name:30} {value}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
