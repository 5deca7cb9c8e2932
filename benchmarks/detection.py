"""What a detection costs: processor time a picture of the mesh detector with landmarks, and of Haar in the same run.

python benchmarks/detection.py [--repeats 5] [FILE ...]    (three minutes; nothing else should run)

Without files, the pictures are scikit-image's portrait of an astronaut (NASA, public domain), smaller in a larger
frame, turned, and two pictures without a face. All are scaled to one megapixel. OpenCV runs on one thread; Haar is
timed once.
"""

import argparse
import math
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import skimage.data
from jaxtyping import UInt8

from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.data.detectors.detection import Detector
from focus_ray.data.image_file import read_image

PIXELS = 1_000_000
DETECTORS = ("mesh", "haar", "haar-fast")

Picture = UInt8[np.ndarray, "H W 3"]


def main() -> None:
    """A line per picture: faces found, milliseconds of processor time, and the ratio to the mesh detector's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("files", type=Path, nargs="*")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)  # as in an actor of `data detect`
    pictures = {path.name: read_image(path) for path in arguments.files} or public_pictures()
    detectors = {name: resolve_detector(name).build() for name in DETECTORS}
    for name, picture in pictures.items():
        scaled = scale_to_one_megapixel(picture)
        base = None
        for kind, detector in detectors.items():
            faces = len(detector.detect(scaled))  # the first call allocates
            repeats = arguments.repeats if kind == "mesh" else 1
            seconds = median(processor_seconds(detector, scaled) for _ in range(repeats))
            base = base or seconds
            print(f"  {name:24} {kind:10} {faces:2} faces {1e3 * seconds:8.1f} ms  {seconds / base:6.1f}", flush=True)


def public_pictures() -> dict[str, Picture]:
    """Pictures with and without a face, all from scikit-image."""
    astronaut = skimage.data.astronaut()
    framed = np.full((1024, 1024, 3), 128, np.uint8)
    framed[300:556, 400:656] = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    return {
        "astronaut": astronaut,
        "astronaut, small": framed,
        "astronaut, turned": np.ascontiguousarray(np.rot90(astronaut)),
        "cat": skimage.data.chelsea(),
        "coffee": skimage.data.coffee(),
    }


def scale_to_one_megapixel(picture: Picture) -> Picture:
    """The picture, scaled to `PIXELS`."""
    scale = math.sqrt(PIXELS / (picture.shape[0] * picture.shape[1]))
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


def processor_seconds(detector: Detector, picture: Picture) -> float:
    """Of all threads of this process."""
    begin = time.process_time()
    detector.detect(picture)
    return time.process_time() - begin


if __name__ == "__main__":
    main()
