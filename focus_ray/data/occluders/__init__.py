"""Occluders: one family a file, one signature: (rng, canvas size, landmarks, skin colour) -> Layer(rgb, alpha)."""

from collections.abc import Callable

from numpy.random import Generator

from focus_ray.data.occluders.bar import draw as bar
from focus_ray.data.occluders.cap import draw as cap
from focus_ray.data.occluders.cup import draw as cup
from focus_ray.data.occluders.drawing import Colour, Landmarks, OccluderLayer
from focus_ray.data.occluders.ellipses import draw as ellipses
from focus_ray.data.occluders.glasses import draw as glasses
from focus_ray.data.occluders.hair import draw as hair
from focus_ray.data.occluders.hand import draw as hand
from focus_ray.data.occluders.leaves import draw as leaves
from focus_ray.data.occluders.microphone import draw as microphone
from focus_ray.data.occluders.patch import draw as patch
from focus_ray.data.occluders.polygon import draw as polygon
from focus_ray.data.occluders.scarf import draw as scarf
from focus_ray.data.occluders.skin_blob import draw as skin_blob
from focus_ray.data.occluders.sunglasses import draw as sunglasses
from focus_ray.data.occluders.surgical_mask import draw as surgical_mask

DrawOccluder = Callable[[Generator, int, Landmarks, Colour], OccluderLayer]
"""Draw an occluder: (random generator, side of the canvas [px], landmarks of the face [px of the canvas], mean RGB of
the face in [0, 1]) -> colour and opacity of the occluder."""

FAMILIES: dict[str, DrawOccluder] = {
    "bar": bar,
    "cap": cap,
    "cup": cup,
    "ellipses": ellipses,
    "glasses": glasses,
    "hair": hair,
    "hand": hand,
    "leaves": leaves,
    "microphone": microphone,
    "patch": patch,
    "polygon": polygon,
    "scarf": scarf,
    "skin_blob": skin_blob,
    "sunglasses": sunglasses,
    "surgical_mask": surgical_mask,
}
"""All families by name. Do not rename them: the names are in truth.npz and in metrics."""

__all__ = ["FAMILIES", "Colour", "DrawOccluder", "Landmarks", "OccluderLayer"]
