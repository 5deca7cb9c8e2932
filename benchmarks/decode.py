"""What the largest pictures that are let in take to decode: where size and scans have limits, seconds need none.

python benchmarks/decode.py    (seconds)
"""

import io
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from PIL import Image

from focus_ray.serving.image_checks import decode
from focus_ray.serving.settings import AdmissionSettings

LIMITS = AdmissionSettings()
SIDE = int((LIMITS.megapixels * 1e6) ** 0.5)
SCAN = b"\xff\xda"


def main() -> None:
    """The table, each figure in seconds and in relation to a plain JPEG."""
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    flat = np.zeros_like(noise)
    plain = time_encoded(noise, "JPEG", quality=50)
    print(f"{SIDE} x {SIDE} px, one thread")
    for name, seconds in {
        "JPEG, noise": plain,
        "JPEG, flat": time_encoded(flat, "JPEG", quality=50),
        "progressive JPEG, noise": time_encoded(noise, "JPEG", quality=50, progressive=True),
        f"progressive JPEG of {LIMITS.scans - 1} scans, flat": time_decode(add_scans(flat)),
        "WebP, noise": time_encoded(noise, "WEBP", quality=50, method=0),
        "lossless WebP, flat": time_encoded(flat, "WEBP", lossless=True, method=0),
        "PNG, flat": time_encoded(flat, "PNG", compress_level=1),
    }.items():
        print(f"  {name:42} {seconds:6.2f} s  {seconds / plain:5.2f}")


def time_encoded(image: np.ndarray, kind: str, **options: Any) -> float:
    """The best of three."""
    return time_decode(encode_image(image, kind, **options))


def encode_image(image: np.ndarray, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


def add_scans(image: np.ndarray) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    content = encode_image(image, "JPEG", quality=50, progressive=True)
    last = content.rfind(SCAN)
    return content[:last] + content[last:-2] * (LIMITS.scans - content.count(SCAN)) + content[-2:]


def time_decode(content: bytes) -> float:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        decode(content, LIMITS)  # beyond the limits it raises
        times.append(time.perf_counter() - begin)
    return min(times)


if __name__ == "__main__":
    main()
