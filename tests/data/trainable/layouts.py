"""Miniature sets in the published layouts, of pictures with landmarks."""

import shutil
from pathlib import Path

import numpy as np
from scipy.io import savemat

from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.face_models.landmarks import five_points


def _pictures(ar: Path) -> list[tuple[Path, np.ndarray]]:
    points = read_landmarks(ar / "landmarks.csv")
    return [(ar / name, points[name]) for name in sorted(points)]


def write_300w_lp(ar: Path, root: Path) -> Path:
    """AFW/AFW_1_0.jpg and its mirror folder, each with a .mat of pt2d."""
    for number, (picture, points) in enumerate(_pictures(ar)[:4]):
        folder = root / ("AFW", "AFW_Flip")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / f"AFW_{number // 2}_1_{number % 2}.png")
        savemat(folder / f"AFW_{number // 2}_1_{number % 2}.mat", {"pt2d": points.T + 1})
    shutil.copy(picture, root / "AFW" / "alone.png")
    return root


def write_aflw2000(ar: Path, root: Path, n: int = 3) -> Path:
    """image00002.png and its .mat of pt3d_68; a second .mat is damaged."""
    root.mkdir(parents=True)
    for number, (picture, points) in enumerate(_pictures(ar)[:n]):
        shutil.copy(picture, root / f"image{number:05d}.png")
        savemat(root / f"image{number:05d}.mat", {"pt3d_68": np.vstack([points.T + 1, np.zeros(68)])})
    (root / "image00001.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    return root


def write_300w(ar: Path, root: Path) -> Path:
    """helen/trainset, ibug and 01_Indoor, each picture with its .pts."""
    for (picture, points), folder in zip(_pictures(ar), ("helen/trainset", "ibug", "01_Indoor"), strict=False):
        (root / folder).mkdir(parents=True)
        shutil.copy(picture, root / folder / "one.png")
        lines = "\n".join(f"{x} {y}" for x, y in points + 1)
        (root / folder / "one.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return root


def write_deep3d(pictures: list[tuple[Path, np.ndarray]], root: Path) -> Path:
    """Pictures and their five points in detections/."""
    import torch

    (root / "detections").mkdir(parents=True)
    for picture, points in pictures:
        shutil.copy(picture, root / picture.name)
        five = five_points(torch.from_numpy(points)).numpy() if len(points) == 68 else points
        text = "\n".join(f"{x:.2f}\t{y:.2f}" for x, y in five)
        (root / "detections" / f"{picture.stem}.txt").write_text(text)
    return root


def write_detected_face(path: Path, box: tuple[float, float, float, float]) -> None:
    """A box of NoW, a pickled dict as its authors saved it."""
    left, top, width, height = box
    sides = {"left": left, "top": top, "right": left + width, "bottom": top + height}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array({name: np.float64(value) for name, value in sides.items()}, dtype=object))
