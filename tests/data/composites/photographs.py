"""A folder of photographs of an open face: parts of scikit-image's astronaut (NASA, public domain), with landmarks."""

from pathlib import Path

import cv2
import numpy as np
import skimage.data

from focus_ray.data.composites.paste import OpenPhoto
from focus_ray.data.landmark_check import MEAN_LANDMARKS
from focus_ray.data.landmark_csv import write_landmarks

_SIMILARITY = np.array([[0.664, -0.035, 223.8], [0.035, 0.664, 119.6]])  # from MEAN_LANDMARKS to px of the picture


def astronaut(left: int = 110, top: int = 0, width: int = 230, height: int = 260) -> OpenPhoto:
    """A part of the picture, and the landmarks of the mean face, placed over the astronaut's."""
    flat = MEAN_LANDMARKS[:, :2] * [1.0, -1.0]
    points = flat @ _SIMILARITY[:, :2].T + _SIMILARITY[:, 2] - [left, top]
    return OpenPhoto(skimage.data.astronaut()[top : top + height, left : left + width].copy(), points)


def write_photographs(folder: Path) -> Path:
    """Three photographs of anna and one of bert, with landmarks.csv."""
    folder.mkdir(parents=True)
    points = {}
    for number, name in enumerate(("anna_1.png", "anna_2.png", "anna_3.png", "bert.png")):
        photo = astronaut(left=100 + 5 * number, width=230 + number)
        cv2.imwrite(str(folder / name), np.ascontiguousarray(photo.rgb[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        points[name] = photo.landmarks
    write_landmarks(folder / "landmarks.csv", points)
    return folder
