"""The preset `paper` in full size: a BFM of 53,149 vertices, 224 px, random weights in the published layouts."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet
from focus_ray.focus.networks.iresnet import IResNet
from focus_ray.focus.networks.mobilefacenet import MobileFaceNet
from focus_ray.focus.networks.resnet import ResNet50
from tests.face_models.importers.writers import write_full_bfm
from tests.recognisers.onnx_graphs import export_iresnet, export_mbf

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]
PHASES = ("init", "pretrain_seg", "em_seg", "em_face")
RUN = (
    "train --preset paper --face bfm.face --data faces --landmarks faces/landmarks.csv --out run "
    "--set batch_size=2 --set cadence.log=1 --set schedule.cycles=1 "
    "--set schedule.init_steps=3 --set schedule.pretrain_seg_steps=3 --set schedule.seg_steps=3 "
    "--set schedule.face_steps=3"
)
# Runs the command and prints the peak memory of its process as the last line.
MEASURE = (
    "import resource, subprocess, sys; "
    "code = subprocess.run([sys.executable, '-m', 'focus_ray', *sys.argv[1:]], stdout=sys.stderr).returncode; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024); sys.exit(code)"
)
# Recogniser, its file, and the layout of the encoder's file: torchvision's .pth or timm's .safetensors.
LAYOUTS = (
    ("arcface", "r100.pth", "pth"),
    ("arcface", "r50.onnx", "safetensors"),
    ("auraface", "r100.onnx", "pth"),
    ("insightface_mbf", "mbf.pth", "pth"),
    ("insightface_mbf", "mbf.onnx", "safetensors"),
    ("mobilefacenet", "mobilefacenet.pth", "pth"),
    ("face_mesh", None, "pth"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, python: str, python_environment_of_module: dict[str, str]) -> Path:
    """Full face model, six pictures with landmarks, and ImageNet weights in both layouts."""
    folder = tmp_path_factory.mktemp("paper")
    write_full_bfm(folder / "bfm.h5")
    for command in ("face import bfm bfm.h5 --whole --out bfm.face", "data synthesize --n 6 --size 224 --out faces"):
        subprocess.run(
            [python, "-m", "focus_ray", *command.split()], env=python_environment_of_module, cwd=folder, check=True
        )
    weights = ResNet50().state_dict() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(weights, folder / "resnet50.pth")
    save_file(weights, folder / "resnet50.safetensors")
    return folder


def write_recogniser(path: Path) -> None:
    """Random weights in the layout that the file's name says."""
    torch.manual_seed(0)
    kinds = {"r100": lambda: IResNet(100), "r50": IResNet, "mbf": InsightMobileFaceNet, "mobilefacenet": MobileFaceNet}
    network: nn.Module = kinds[path.stem]().eval()
    if path.suffix == ".pth":
        torch.save(network.state_dict(), path)
    elif isinstance(network, IResNet):
        path.write_bytes(export_iresnet(network, folded=True))
    elif isinstance(network, InsightMobileFaceNet):
        path.write_bytes(export_mbf(network, folded=True))


def run_paper(place: Path, environment: Mapping[str, str], *options: str) -> tuple[list[dict[str, Any]], int]:
    """Lines of the history of a run in place/run, and the peak memory of its largest process in MiB."""
    shutil.rmtree(place / "run", ignore_errors=True)
    command = [sys.executable, "-c", MEASURE, *RUN.split(), *options]
    done = subprocess.run(command, env=dict(environment), cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in (place / "run" / "history.jsonl").read_text().splitlines()]
    assert Counter(step["phase"] for step in steps) == dict.fromkeys(PHASES, 3)
    assert not any(step["skipped"] for step in steps)
    return steps, int(done.stdout.splitlines()[-1])


def network_options(place: Path, kind: str, file: str | None, encoder: str) -> list[str]:
    options = ["--set", f"model.perceptual.kind={kind}", "--set", f"model.encoder.weights=resnet50.{encoder}"]
    if file is not None:
        write_recogniser(place / file)
        options += ["--set", f"model.perceptual.weights={file}"]
    return options


@pytest.mark.parametrize(("kind", "file", "encoder"), LAYOUTS)
def test_three_steps_of_every_phase(
    place: Path, python_environment: Mapping[str, str], record_property, kind: str, file: str | None, encoder: str
):
    """Peak memory of the process and seconds of a step are recorded."""
    steps, peak = run_paper(place, python_environment, "--local", *network_options(place, kind, file, encoder))
    seconds = {phase: min(step["seconds"] for step in steps if step["phase"] == phase) for phase in PHASES}
    for name, value in {"peak_mib": peak, **seconds}.items():
        record_property(name, value)
    print(f"{kind} {file}: peak {peak} MiB, seconds of a step: {seconds}", flush=True)


def test_two_workers_take_the_samples_of_one(place: Path, python_environment: Mapping[str, str]):
    """Each worker has one image of the two. The losses are those of one process; rounding grows with the steps."""
    networks = network_options(place, "insightface_mbf", "mbf.onnx", "pth")
    alone, _ = run_paper(place, python_environment, "--local", *networks)
    shared, _ = run_paper(place, python_environment, "--workers", "2", *networks)
    for one, two, tolerance in zip(alone, shared, (1e-3, 0.1, 0.1), strict=False):
        for term in ("pixel", "lm", "per"):
            assert two["loss"][term] == pytest.approx(one["loss"][term], rel=tolerance), (one, two)
