"""The runbook docs/reproduce.md: its commands, in order, on miniature files of the same layouts."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from focus_ray import cli
from focus_ray.focus.networks.iresnet import IResNet
from focus_ray.focus.networks.resnet import ResNet18
from tests.face_models.importers.writers import toy, write_bfm

RUNBOOK = Path(__file__).resolve().parents[2] / "docs" / "reproduce.md"
SHORT_PASS = ("Preparation", "What the run needs", "Table 4")
# What makes the commands small: every other word of them is the document's.
TINY = {
    "batch_size": 2,
    "model": {"camera": {"image_size": 64}, "encoder": {"kind": "resnet18"}, "segmenter": {"width": 4, "levels": 3}},
    "data": {"size": 4},
    "heldout": {"size": 2, "batch_size": 2, "refine": False},
}
PHASES = ("init_steps", "pretrain_seg_steps", "cycles", "seg_steps", "face_steps")
STEPS = [f"schedule.{phase}=1" for phase in PHASES]
IN_PROCESS = (
    ("train",),
    ("prior", "train"),
    ("prior", "build"),
    ("data", "prepare"),
    *(("evaluate", name) for name in ("predict", "photometric", "now", "segmentation")),
)


def commands() -> list[tuple[str, str]]:
    """(section, command) of each line of the document's shell blocks, continued lines joined."""
    found = []
    for part in RUNBOOK.read_text().split("\n## ")[1:]:
        for block in re.findall(r"```sh\n(.*?)```", part, re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(part.partition("\n")[0], line) for line in lines if line.strip()]
    return found


def write_downloads(folder: Path) -> None:
    """The files of the table of downloads, generated, with random weights; and paper.yaml of the document."""
    raw = folder / "raw"
    raw.mkdir()
    write_bfm(raw / "model2017-1_face12_nomouth.h5", toy())
    torch.save(IResNet(18).state_dict(), raw / "backbone.pth")
    classifier = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    torch.save(ResNet18().state_dict() | classifier, raw / "resnet50.pth")
    for layout, place, count in (("celebahq", "CelebAMask-HQ", 12), ("ar", "AR", 6), ("now", "NoW", 4)):
        run(["data", "synthesize", "--layout", layout, "--n", str(count), "--size", "64", "--out", str(raw / place)])
    (raw / "NoW" / "imagepathstest.txt").write_text((raw / "NoW" / "imagepathsvalidation.txt").read_text())
    [written] = re.findall(r"```yaml\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    settings = yaml.safe_load(written)
    settings["model"]["encoder"] |= TINY["model"]["encoder"]
    settings = {**TINY, "model": {**TINY["model"], **settings["model"]}}
    (folder / "paper.yaml").write_text(yaml.safe_dump(settings))


def run(arguments: list[str]) -> None:
    assert cli.main(arguments) == 0, arguments


def run_small(command: str, folder: Path) -> None:
    """Run a command of the document with the settings of the miniature files."""
    program, *words = shlex.split(command)
    if program == "python":
        subprocess.run(command.replace("python", sys.executable, 1), shell=True, cwd=folder, check=True, timeout=60)
        return
    assert program == "focus-ray"
    if "train" in words[:2]:
        zeros = {word.removesuffix("0") for word in words if word.endswith("=0")}
        words += [word for key in STEPS if key.removesuffix("1") not in zeros for word in ("--set", key)]
    if any(tuple(words[: len(start)]) == start for start in IN_PROCESS) and "--check" not in words:
        words.append("--local")
    if words[:2] == ["data", "prepare"]:
        words += ["--size", "64"]
    if words[:2] == ["data", "subsets"]:
        words += ["--occluded", "1", "--unoccluded", "1"]
    if words[:2] == ["prior", "build"]:
        words += ["--n", "4", "--heldout", "4", "--shard-size", "2"]
    run(words)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_downloads(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_first_commands_and_table_4_run_on_miniature_files(place: Path):
    """The sections of SHORT_PASS, and the training and prediction that Table 4 needs."""
    wanted = [
        command
        for section, command in commands()
        if section in SHORT_PASS
        or (section in ("Training", "Predictions") and re.search(r"runs/focus$|focus/ar$", command))
    ]
    assert len(wanted) == 7
    for command in wanted:
        run_small(command, place)
    rows = json.loads((place / "evaluations" / "table-4" / "results.json").read_text())["rows"]
    assert {row["subset"] for row in rows} >= {"glasses", "scarf"}


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_every_command_of_the_runbook_runs_on_miniature_files(place: Path):
    for _, command in commands():
        run_small(command, place)
    for table in ("1-celebahq", "1-ar", "2", "3", "4", "5-ar", "5-now"):
        assert json.loads((place / "evaluations" / f"table-{table}" / "results.json").read_text())["rows"], table
