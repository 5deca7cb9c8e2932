"""Documents say what is true: every command parses, every link leads somewhere, the README stays short."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from focus_ray import cli

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
JOBS = {"jobs/train.py": ["train"], "jobs/misfit_prior.py": ["prior", "build"]}
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """(document, text) of each code block in a language."""
    return [
        (path.name, text) for path in DOCUMENTS for found, text in FENCE.findall(path.read_text()) if found == language
    ]


def commands(program: str) -> list[str]:
    """Each command line of a program in the documents, continued lines joined, comments and output left out."""
    lines = [line for _, text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    return [line.partition("#")[0].strip() for line in lines if line.split("#")[0].split()[:1] == [program]]


def test_the_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_there_are_commands_to_check():
    assert {command.split()[1] for command in commands("make")} >= {"demo", "test", "check"}
    assert {command.split()[1] for command in commands("focus-ray")} >= {"train", "reconstruct", "evaluate", "data"}
    assert {command.split()[1] for command in commands("ray")} >= {"start", "job"}


@pytest.mark.parametrize("command", sorted(set(commands("focus-ray"))))
def test_every_command_of_the_documents_parses(capsys, command):
    arguments = shlex.split(command)[1:]
    # --help is answered after the other options are read: a wrong name among them is an error.
    assert cli.main([*arguments, "--help"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(set(commands("ray"))))
def test_every_command_of_ray_parses_and_so_does_what_it_submits(capsys, command):
    from ray.scripts.scripts import cli as ray_cli

    words, found = shlex.split(command)[1:], ray_cli
    while isinstance(found, click.Group):
        found, words = found.commands[words[0]], words[1:]
    given = found.make_context(found.name, words).params
    if job := given.get("entrypoint"):
        program, script, *options = job
        assert program == "python"
        assert cli.main([*JOBS[script], *options, "--help"]) == 0, capsys.readouterr().err
    if environment := given.get("runtime_env"):
        assert (ROOT / environment).is_file()


@pytest.mark.parametrize("command", sorted(set(commands("make"))))
def test_every_make_target_of_the_documents_exists(command):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z0-9_]+) \?=", makefile, re.MULTILINE)) | {"PYTHON"}
    words = shlex.split(command)[1:]
    assert {word for word in words if "=" not in word} <= targets
    assert {word.partition("=")[0] for word in words if "=" in word} <= variables


def test_the_targets_of_the_contract_exist_and_continuous_integration_uses_them():
    makefile = (ROOT / "Makefile").read_text()
    assert {"install", "demo", "test", "check", "drill", "bench"} <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o100
    (command,) = [line for line in run.read_text().splitlines() if line.startswith("exec make")]
    assert command.split()[-2:] == ["check", "test"]


@pytest.mark.parametrize(("document", "text"), blocks("python"))
def test_python_examples_compile_and_import_what_exists(document, text):
    for node in ast.walk(ast.parse(text, document)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("focus_ray"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "focus_ray":
            assert hasattr(importlib.import_module("focus_ray"), node.attr)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_files_exist(path):
    text = path.read_text()
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    named = re.findall(r"`((?:focus_ray|tests|docs|benchmarks|infra|jobs)/[a-z0-9_/.-]+\.[a-z]+)`", text)
    missing = [target for target in targets if not (path.parent / target).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_code_refers_to_documents_that_are_here_or_that_it_writes():
    known = {path.name for path in DOCUMENTS} | {"tables.md"}
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("focus_ray", "tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in re.findall(r"\b[\w-]+\.md\b", path.read_text())
        if name not in known
    ]
    assert found == []


def test_every_document_is_reached_from_the_readme():
    reached, new = set(), {ROOT / "README.md"}
    while new:
        path = new.pop()
        reached.add(path)
        links = re.findall(r"\]\((?!https?:|#)([^)#]+\.md)", path.read_text())
        new |= {(path.parent / link).resolve() for link in links} - reached
    assert set(DOCUMENTS) <= reached
