"""How many predictions a second NoW's metric judges: `evaluate now` at the challenge's sizes, on synthetic faces.

python benchmarks/now.py [--pictures 16] [--tasks 2]

A prediction of 56,000 triangles, a scan of 120,000 vertices of which half lie in the face, one subject for each four
pictures. Two tasks are compared with one in the same run.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import trimesh

from focus_ray.data.sources.now import NOW_LANDMARK_INDICES, NowDataset
from focus_ray.evaluation.now.export import write_prediction
from focus_ray.evaluation.now.now_scoring import score_now
from focus_ray.evaluation.now.submission import Submission
from focus_ray.face_models.parametric import parametric_face
from focus_ray.runtime.tasks import PoolSettings, task_cluster

IMAGES_PER_SUBJECT = 4  # pictures of a subject
SCAN_VERTICES = 120_000
NOISE_MM, MISFIT_SIGMA = 0.2, 0.3
PICKED_POINTS = "<!DOCTYPE PickedPoints>\n<PickedPoints>\n{}\n</PickedPoints>\n"
POINT = ' <point x="{}" y="{}" z="{}" active="1" name="{}"/>'


def write_dataset(root: Path, pictures: int) -> tuple[Path, Path]:
    """A data set in NoW's layout and predictions for it."""
    import torch

    rng = np.random.default_rng(0)
    face = parametric_face("full", 80, 64, 80)
    triangles = face.faces.numpy()
    names = []
    for subject in range(-(-pictures // IMAGES_PER_SUBJECT)):
        identity = torch.from_numpy(rng.standard_normal((1, 80))).float()
        coefficients = torch.cat([identity, torch.zeros(1, 64)], dim=1)
        true = face.vertices(coefficients)
        points = face.landmarks(true)[0, list(NOW_LANDMARK_INDICES)].numpy()
        scan, _ = trimesh.sample.sample_surface(
            trimesh.Trimesh(true[0].numpy(), triangles), SCAN_VERTICES, seed=subject
        )
        folder = root / "data" / "scans" / f"subject-{subject}"
        folder.mkdir(parents=True)
        lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in scan + NOISE_MM * rng.standard_normal(scan.shape)]
        (folder / "scan.obj").write_text("\n".join([*lines, "f 1 2 3"]) + "\n")
        landmarks = root / "data" / "scans_lmks_onlypp" / f"subject-{subject}"
        landmarks.mkdir(parents=True)
        picked = [POINT.format(*point, number) for number, point in enumerate(points)]
        (landmarks / "scan.pp").write_text(PICKED_POINTS.format("\n".join(picked)))
        for number in range(min(IMAGES_PER_SUBJECT, pictures - subject * IMAGES_PER_SUBJECT)):
            name = f"subject-{subject}/selfie/{number}"
            off = coefficients + MISFIT_SIGMA * torch.from_numpy(rng.standard_normal((1, 144))).float()
            fitted = face.vertices(off)
            seven = face.landmarks(fitted)[0, list(NOW_LANDMARK_INDICES)].numpy()
            write_prediction(root / "predictions", name, fitted[0].numpy(), triangles, seven)
            names.append(f"{name}.jpg")
    (root / "data" / "imagepathsvalidation.txt").write_text("\n".join(names) + "\n")
    return root / "data", root / "predictions"


def time_scoring(root: Path, out: Path, tasks: int) -> float:
    """What judging everything takes, reading included, with a cluster that is there already."""
    data, submission = NowDataset(root / "data"), Submission(root / "predictions")
    settings = PoolSettings(tasks=tasks)
    with task_cluster(settings):
        score_now(data, submission, out / "warm", settings)  # processes and kernels are there afterwards
        began = time.perf_counter()
        scored = score_now(data, submission, out / "measured", settings)
        spent = time.perf_counter() - began
    assert not scored.problems, scored.problems
    shutil.rmtree(out)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_dataset(root, options.pictures)
        alone = time_scoring(root, root / "one", 1)
        together = time_scoring(root, root / "more", options.tasks)
    for tasks, spent in ((1, alone), (options.tasks, together)):
        rate = options.pictures / spent
        print(f"{tasks} tasks: {rate:.2f} pictures/s, {1 / rate:.2f} s a picture")
    print(f"{options.tasks} tasks against one: {alone / together:.2f}")


if __name__ == "__main__":
    main()
