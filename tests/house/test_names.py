"""Names: what later work and outside checks rely on is there, and the house's own rules of naming are kept."""

import ast
import importlib
import inspect
import json
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

import focus_ray
from focus_ray import presets
from focus_ray.config import RunConfig
from focus_ray.focus import losses, render

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "focus_ray").rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("test_*.py"))
# Their tests have no module to mirror: they look at the whole, or at one module on another machine.
FREE_FOLDERS = ("house", "system", "golden", "gpu")
# A package as a whole on the photographs beside the checkout.
FREE_PREFIX = "shared_"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def test_the_losses_have_the_names_of_the_paper():
    names = ["neighbor", "dist", "area", "presv", "binary"]
    names += ["pixel", "perceptual", "landmark", "regularizer", "preliminary_mask"]
    assert [name for name in names if not callable(getattr(losses, name, None))] == []


def test_the_renderer_has_its_two_functions():
    assert list(inspect.signature(render.rasterize).parameters)[:4] == ["vertices_screen", "faces", "height", "width"]
    assert len(inspect.signature(render.interpolate).parameters) >= 4


def test_a_model_is_one_call_away():
    assert callable(focus_ray.load)
    assert f"version: {focus_ray.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert metadata.version("focus-ray") == focus_ray.__version__


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_every_preset_resolves_and_survives_json(name):
    config = presets.load(name)
    assert config.preset == name
    again = RunConfig.model_validate(json.loads(config.model_dump_json()))
    assert again == config
    assert again.digest == config.digest


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_in_one_sentence_what_it_is(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.partition("\n")[0].rstrip().endswith((".", "?", ":", ";", ","))


def test_no_module_is_a_drawer():
    drawers = re.compile(r"utils?|common|helpers?|manager|misc|base_\w+|\w+_v\d+|step\d+")
    assert [str(path) for path in MODULES if drawers.fullmatch(path.stem)] == []


def test_tests_mirror_the_package():
    strangers = []
    for path in TESTS:
        place = path.relative_to(ROOT / "tests").parent
        if place.parts[:1] and place.parts[0] in FREE_FOLDERS:
            continue
        subject = path.stem.removeprefix("test_")
        folder = ROOT / "focus_ray" / place
        package = importlib.import_module(".".join(("focus_ray", *place.parts)))
        known = {entry.stem for entry in folder.glob("*") if entry.suffix in ("", ".py")} | {folder.name}
        known |= {name for name in vars(package) if not name.startswith("_")}
        if not any(subject == name or subject.startswith(name + "_") for name in known):
            strangers += [] if subject.startswith(FREE_PREFIX) else [str(path.relative_to(ROOT))]
    assert strangers == []


# Written so that this file does not match itself.
FORBIDDEN = {
    "a path of one machine": r"/(?:work|root|opt|home|Users)/[a-z]",
    "a package host": r"(?:files\.)?python" + r"hosted\.org|pypi\." + r"org|registry\.npm" + r"js",
    "a note to oneself": r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a secret": r"AKIA[0-9A-Z]{16}|BEGIN (?:RSA |EC )?PRIVATE" + r" KEY",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_tracked_files_are_clean(what):
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in tracked():
        if path.name == "LICENSE" or path == Path(__file__):
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text_of(path))]
    assert found == []


def test_nothing_tracked_is_large():
    limit = 17_000_000
    assert [str(path) for path in tracked() if path.stat().st_size > limit] == []


# Options of git and of docker.
FOREIGN_FLAGS = {"--format", "--porcelain", "--shm-size"}


def literals_of(tree: ast.AST) -> list[str]:
    """The string literals of a module that are no docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [str(node.value) for node in found if id(node) not in alone]


def test_what_lies_below_the_command_line_names_no_option_of_it():
    """Python, a job and an endpoint say the same things otherwise."""
    found = [
        f"{path.relative_to(ROOT)}: {flag}"
        for path in MODULES
        if "cli" not in path.relative_to(ROOT).parts
        for text in literals_of(ast.parse(path.read_text()))
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)
        if flag not in FOREIGN_FLAGS
    ]
    assert found == []
