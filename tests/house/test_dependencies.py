"""Dependencies: floors below which known holes lie, pins that fit the ranges, and a method that stands alone."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
REQUIRED = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
DEVELOPMENT = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["optional-dependencies"]["dev"])}
PINS = {
    canonicalize_name(line.split("==")[0]): Version(line.split("==")[1].strip())
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
}
# First versions without: requests to the dashboard that delete (ray), unauthenticated file reads (mlflow),
# code execution through weights_only (torch), decompression bombs (pillow).
FLOORS = {"ray": "2.54", "mlflow": "3.10", "torch": "2.6", "pillow": "12.3"}


def lower_bound(requirement: Requirement) -> Version:
    return max(Version(spec.version) for spec in requirement.specifier if spec.operator in (">=", "=="))


@pytest.mark.parametrize("name", FLOORS)
def test_the_ranges_begin_above_known_holes(name):
    assert lower_bound(REQUIRED[name]) >= Version(FLOORS[name])
    assert Version(metadata.version(name)) >= Version(FLOORS[name])


@pytest.mark.parametrize("name", sorted(REQUIRED | DEVELOPMENT))
def test_each_dependency_is_pinned_within_its_range(name):
    requirement = (REQUIRED | DEVELOPMENT)[name]
    assert PINS[name] in requirement.specifier


def test_the_pins_are_of_the_index_and_of_no_machine():
    text = (ROOT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", line, re.IGNORECASE)] == []
    assert not re.search(r"^(nvidia|cuda|triton)", text, re.MULTILINE)
    assert (str(PINS["torch"]), str(PINS["ray"]), str(PINS["mlflow"])) == ("2.13.0", "2.60.0", "3.17.2")


def test_the_metadata_holds_no_address():
    extras = PROJECT["optional-dependencies"].values()
    requirements = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    assert [text for text in requirements if Requirement(text).url] == []


ALONE = """
import importlib, pkgutil, sys

class Absent:
    blocked = {"ray", "mlflow", "boto3", "botocore", "fastapi", "pyarrow", "starlette"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.blocked:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Absent())
import torch
import focus_ray.focus
optional = "focus_ray.focus.render.rasterize_pytorch3d"
for module in pkgutil.walk_packages(focus_ray.focus.__path__, "focus_ray.focus."):
    if module.name != optional:
        importlib.import_module(module.name)
import focus_ray.training.loop
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import ParameterScales
from tests.ellipsoid_face import ellipsoid_face
from focus_ray.focus.render.renderer import Renderer
offset, _ = ParameterScales().vectors()
rendering = Renderer(ellipsoid_face(), Camera(image_size=32))(offset[None])
assert 0 < rendering.mask.mean() < 1
print("rendered", tuple(rendering.image.shape))
"""


def test_the_method_runs_without_ray_and_mlflow(python, python_environment):
    result = subprocess.run([python, "-c", ALONE], env=python_environment, capture_output=True, text=True, timeout=240)
    assert result.stdout == "rendered (1, 3, 32, 32)\n", result.stderr


def test_every_module_with_annotated_arrays_is_checked_in_tests():
    (option,) = [part for part in SETTINGS["tool"]["pytest"]["ini_options"]["addopts"] if "jaxtyping" in part]
    checked = option.partition("=")[2].split(",")[:-1]
    annotated = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "focus_ray").rglob("*.py")
        if re.search(r"^(from|import) jaxtyping", path.read_text(), re.MULTILINE)
    ]
    assert len(annotated) > 50
    assert [name for name in annotated if not any(f"{name}.".startswith(f"{one}.") for one in checked)] == []
