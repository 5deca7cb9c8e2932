"""Times each kernel of the renderer on one core, beside what the core can do; prints a table, writes JSON when asked.

    python benchmarks/kernels.py [--rounds 9] [--json FILE]

For every kernel: microseconds per image, additions and multiplications, bytes that it reads and writes at least, and
the ratio of its time to the least time that the core's measured peak arithmetic and memory bandwidth allow. Kernels
take turns; the least of the rounds counts, as other programs can only add to a time.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from focus_ray.face_models.parametric import parametric_face
from focus_ray.focus.camera import Camera, euler_to_rotation
from focus_ray.focus.parameters import N_PARAMETERS, PARAMETER_GROUPS, ParameterScales, split_theta
from focus_ray.focus.render import Renderer, mesh_numba, normals_numba, rasterize_numba, zbuffer_numba
from focus_ray.focus.render.numba_jit import jit, jit_with_fma
from focus_ray.focus.render.shading import light_polynomials

REPEATS = 20
# The renderer compiles these as parts of its kernels; alone they are Python functions.
rasterize_image, unit_normals = jit(zbuffer_numba.rasterize_image), jit(normals_numba.unit_normals)
rotate, project, normals_backward = map(
    jit, (mesh_numba._rotate, mesh_numba._project, normals_numba.unit_normals_backward)
)
blend, blend_backward = jit_with_fma(rasterize_numba.blend), jit_with_fma(rasterize_numba.blend_backward)
write_records, shade_backward = map(jit_with_fma, (mesh_numba._write_records, mesh_numba._shade_backward))
project_backward, rotate_backward = map(jit_with_fma, (mesh_numba._project_backward, mesh_numba._rotate_backward))
RGB, RGB_AND_DEPTH = (0, 1, 2), (0, 1, 2, 3)


class Kernel(NamedTuple):
    """One kernel on one image."""

    call: Callable[[], object]
    operations: float
    bytes: float


def least_seconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least time of each call over the rounds, after one unmeasured round."""
    least = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = perf_counter()
            for _ in range(REPEATS):
                call()
            if number:
                least[name] = min(least[name], (perf_counter() - started) / REPEATS)
    return least


def ceilings(rounds: int) -> dict[str, float]:
    """Peak operations per second in single precision (a product of matrices) and bytes per second (a copy)."""
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    source, target = np.ones(1 << 22), np.empty(1 << 22)  # 32 MiB each: not in a cache
    least = least_seconds({"product": lambda: a @ b, "copy": lambda: np.copyto(target, source)}, rounds)
    return {"operations_per_s": 2 * 512**3 / least["product"], "bytes_per_s": 2 * source.nbytes / least["copy"]}


def kernels_of(resolution: Literal["small", "full"], size: int) -> tuple[dict[str, Kernel], dict[str, int]]:
    """Every kernel on the same face, and the numbers that the counts follow from."""
    face, camera = parametric_face(resolution), Camera(image_size=size)
    offset, scale = ParameterScales().vectors()
    spread = torch.cat([torch.full((group.size,), 0.2 if group.name == "light" else 1.0) for group in PARAMETER_GROUPS])
    parameters = split_theta(offset + scale * spread * torch.randn(32, N_PARAMETERS))
    vertices, albedo = face.vertices(parameters.alpha), face.albedo(parameters.albedo)
    drawn = Renderer(face, camera)(torch.cat(tuple(parameters), dim=1))
    x, a, ids, screen = (t[0].numpy() for t in (vertices, albedo, drawn.triangle_ids, drawn.vertices_screen))
    rotation, light = euler_to_rotation(parameters.rotation)[0].numpy(), light_polynomials(parameters.light)[0].numpy()
    triangles, lens = rasterize_numba.as_int32(face.faces), mesh_numba._lens(camera, vertices)
    n_v, n_f, n_p = len(x), len(triangles), int((ids >= 0).sum())
    rotated, records, points = np.empty((n_v, 3), np.float32), np.zeros((n_v, 8), np.float32), np.empty((n_v, 4))
    normals, shift = np.empty((n_v, 4)), np.array([0, 0, 1000], np.float32)
    picture, to_picture = np.empty((4, size, size), np.float32), torch.randn(3, size, size).numpy()
    nearest, drawn_ids, projected = np.empty((size, size)), np.empty_like(ids), np.empty_like(screen)
    to_records, to_normals, to_rotated = np.zeros_like(records), np.zeros((n_v, 3)), np.zeros((n_v, 3))
    to_x, to_albedo, to_light, to_r = np.empty_like(x), np.empty_like(a), np.empty_like(light), np.empty((3, 3), "f4")
    to_shift = np.empty(3, np.float32)
    rotate(x, rotation, rotated)
    unit_normals(rotated, triangles, normals)
    write_records(screen, a, light, normals, records)
    blend_backward(records, RGB, triangles, ids, to_picture, to_records)
    bases, gradient = torch.cat((face.shape_basis, face.albedo_basis)).flatten(1), torch.randn(32, n_v * 3)
    coefficients = torch.randn(32, len(bases))

    def run(function: Callable[..., Any], *arguments: object) -> Callable[[], object]:
        return lambda: function(*arguments)

    product = 2 * bases.numel()
    decoded = (bases.nbytes + gradient.nbytes) / 32
    face_bytes, vertex_bytes, pixel_bytes = 12 * n_f, 12 * n_v, ids.nbytes
    kernels = {
        "decode (in a batch of 32)": Kernel(run(torch.mm, coefficients, bases), product, decoded),
        "rotate": Kernel(run(rotate, x, rotation, rotated), 15 * n_v, 2 * vertex_bytes),
        "project": Kernel(run(project, rotated, shift, lens, projected), 9 * n_v, 2 * vertex_bytes),
        "z-buffer": Kernel(
            run(rasterize_image, screen, triangles, True, points, nearest, drawn_ids),
            25 * n_f + 40 * n_p,
            face_bytes + vertex_bytes + 16 * n_v + 2 * pixel_bytes,
        ),
        "normals": Kernel(
            run(unit_normals, rotated, triangles, normals),
            24 * n_f + 10 * n_v,
            face_bytes + vertex_bytes + normals.nbytes,
        ),
        "shade": Kernel(
            run(write_records, screen, a, light, normals, records),
            75 * n_v,
            2 * vertex_bytes + normals.nbytes + records.nbytes,
        ),
        "interpolate": Kernel(
            run(blend, records, RGB_AND_DEPTH, triangles, ids, picture),
            58 * n_p,
            records.nbytes + face_bytes + pixel_bytes + picture.nbytes,
        ),
        "interpolate, backward": Kernel(
            run(blend_backward, records, RGB, triangles, ids, to_picture, to_records),
            150 * n_p,
            3 * records.nbytes + face_bytes + pixel_bytes + to_picture.nbytes,
        ),
        "shade, backward": Kernel(
            run(shade_backward, a, light, normals, to_records, to_albedo, to_light, to_normals),
            190 * n_v / 2,
            2 * vertex_bytes + normals.nbytes + records.nbytes + to_normals.nbytes,
        ),
        "normals, backward": Kernel(
            run(normals_backward, rotated, triangles, normals, to_normals.copy(), to_rotated),
            50 * n_f / 2 + 12 * n_v,
            face_bytes + vertex_bytes + normals.nbytes + 2 * to_normals.nbytes,
        ),
        "project, backward": Kernel(
            run(project_backward, screen, lens, to_records, to_rotated, to_shift),
            18 * n_v / 2,
            vertex_bytes + records.nbytes + 2 * to_rotated.nbytes,
        ),
        "rotate, backward": Kernel(
            run(rotate_backward, x, rotation, to_rotated, to_x, to_r),
            33 * n_v,
            2 * vertex_bytes + to_rotated.nbytes,
        ),
        "decode, backward (in 32)": Kernel(run(torch.mm, gradient, bases.T), product, decoded),
    }
    return kernels, {"size": size, "vertices": n_v, "triangles": n_f, "covered_pixels": n_p}


def measure(resolution: Literal["small", "full"], size: int, rounds: int, peak: dict[str, float]) -> dict[str, Any]:
    """Microseconds, counts and the distance from the ceiling of each kernel, for one image."""
    kernels, sizes = kernels_of(resolution, size)
    least = least_seconds({name: kernel.call for name, kernel in kernels.items()}, rounds)
    rows = {}
    for name, kernel in kernels.items():
        seconds = least[name] / (32 if name.startswith("decode") else 1)
        floor = max(kernel.operations / peak["operations_per_s"], kernel.bytes / peak["bytes_per_s"])
        rows[name] = {
            "us": 1e6 * seconds,
            "kiloops": kernel.operations / 1e3,
            "kB": kernel.bytes / 1e3,
            "over_ceiling": seconds / floor,
        }
    return sizes | {"kernels": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results: dict[str, Any] = {"ceilings": ceilings(options.rounds)}
    peak = results["ceilings"]
    print(f"one core: {peak['operations_per_s'] / 1e9:.0f} GFLOP/s, {peak['bytes_per_s'] / 1e9:.1f} GB/s")
    parts = {
        "full_224": measure("full", 224, options.rounds, peak),
        "small_64": measure("small", 64, options.rounds, peak),
    }
    results |= parts
    for part in parts.values():
        print({key: value for key, value in part.items() if key != "kernels"})
        print(f"  {'':28}{'us':>8}{'kiloops':>10}{'kB':>8}{'time / ceiling':>16}")
        for name, row in part["kernels"].items():
            print(f"  {name:28}{row['us']:8.1f}{row['kiloops']:10.0f}{row['kB']:8.0f}{row['over_ceiling']:16.1f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
