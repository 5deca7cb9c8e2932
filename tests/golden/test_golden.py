"""Numbers that must not move: a rendering and every loss in every form, as they were when their oracles were proven.

`python tests/golden/test_golden.py` writes golden.safetensors anew; only for a change that is meant to move them.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from focus_ray.focus import losses
from focus_ray.focus.camera import Camera
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta
from tests.ellipsoid_face import ellipsoid_face

GOLDEN = Path(__file__).with_name("golden.safetensors")


def computed() -> dict[str, Tensor]:
    """Two faces, the second as the first one's target, and everything that is measured between them."""
    renderer = Renderer(ellipsoid_face(), Camera(image_size=32))
    theta = sample_theta(SamplingDistributions(), 2, make_generator(20))
    with torch.no_grad():
        drawn = renderer(theta)
    rendering, target = drawn.image[:1], drawn.image[1:].clamp(0, 1)
    region = drawn.mask[:1]
    mask = region * (0.25 + 0.5 * target[:, :1])
    landmarks = drawn.landmarks
    seen, explained = target * mask, rendering * mask
    paper = {
        "image": drawn.image,
        "depth": drawn.depth,
        "landmarks": landmarks,
        "neighbor": losses.neighbor(target, rendering, mask),
        "dist": losses.dist(target.flatten(2).mT, rendering.flatten(2).mT),
        "area": losses.area(mask, region),
        "presv": losses.presv((target * mask).flatten(1), target.flatten(1)),
        "binary": losses.binary(mask),
        "pixel": losses.pixel(target, rendering, mask),
        "perceptual": losses.perceptual(target.flatten(1), rendering.flatten(1)),
        "landmark": losses.landmark(landmarks[1:], landmarks[:1]),
        "regularizer": losses.regularizer(theta),
        "preliminary_mask": losses.preliminary_mask(target, rendering, region),
        "log_likelihood": losses.log_likelihood(target, rendering),
        "mask_cross_entropy": losses.mask_cross_entropy(8 * mask - 4, (mask > 0.5).to(mask), region),
    }
    options = {
        "neighbor_release": losses.neighbor(
            target, rendering, mask, window=5, squared=False, centre="rendering", premultiplied=True, border="drop"
        ),
        "neighbor_by_mask": losses.neighbor(target, rendering, mask, normalise="mask"),
        "dist_release": losses.dist(seen, explained, width_normalised=True),
        "area_release": losses.area(mask, region, form="release"),
        "presv_release": losses.presv(seen, target, width_normalised=True),
        "binary_release": losses.binary(mask, form="release"),
        "binary_in_region": losses.binary(mask, region),
        "pixel_release": losses.pixel(target, rendering, mask, norm="l21"),
        "pixel_by_image": losses.pixel(target, rendering, mask, normalise="image"),
        "pixel_by_region": losses.pixel(target, rendering, mask, normalise="region", region=region),
        "landmark_release": losses.landmark(
            landmarks[1:], landmarks[:1], losses.landmark_weights("release"), squared_weights=True
        ),
        "landmark_of_a_small_picture": losses.landmark(landmarks[1:], landmarks[:1], image_size=32),
        "regularizer_release": losses.regularizer(theta, form="release"),
        "preliminary_mask_release": losses.preliminary_mask(target, rendering, region, losses.RELEASE_XI),
        "truncated_likelihood": losses.truncated_nll(target, rendering, region),
    }
    return paper | options


def test_nothing_moved():
    golden, now = load_file(GOLDEN), computed()
    assert set(golden) == set(now)
    for name, value in golden.items():
        torch.testing.assert_close(
            now[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


if __name__ == "__main__":
    save_file({name: value.contiguous() for name, value in computed().items()}, GOLDEN)
