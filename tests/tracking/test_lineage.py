"""Lineage says what ran where, and names neither machines nor people."""

import getpass
import hashlib
import json
import os
import shutil
import socket
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from focus_ray import __version__, presets
from focus_ray.tracking import lineage


def test_a_process_knows_its_code_packages_and_hardware():
    tags = lineage.process_tags()
    assert tags["focus.version"] == __version__
    for package in ("torch", "numpy", "mlflow", "ray"):
        assert tags[package] == metadata.version(package)
    assert float(tags["memory_gb"]) > 0.1
    assert int(tags["cpu.cores"]) == len(os.sched_getaffinity(0))
    assert tags["cpu"]


def test_no_names_of_machines_people_or_folders():
    values = lineage.process_tags().values()
    secrets = {socket.gethostname(), getpass.getuser(), str(Path.home()), str(Path.cwd())}
    assert [value for value in values for secret in secrets if len(secret) > 4 and secret in value] == []
    assert not any("/" in value for value in values)


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the package in it, committed."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "code.py").write_text("1")
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(package.parent), *command], check=True)
    return package


def test_the_commit_of_a_checkout_and_whether_it_was_changed(checkout):
    tags = lineage._commit(checkout)
    assert len(tags["git.commit"]) == 40
    assert tags["git.dirty"] == "false"
    (checkout.parent / "notes.txt").write_text("beside the package")
    assert lineage._commit(checkout)["git.dirty"] == "false"
    (checkout / "code.py").write_text("2")
    assert lineage._commit(checkout)["git.dirty"] == "true"


def test_a_package_that_was_installed_into_somebody_elses_checkout(checkout):
    """An environment inside a checkout that ignores it says nothing about this code."""
    installed = checkout.parent / "venv" / "focus_ray"
    installed.mkdir(parents=True)
    (checkout.parent / ".gitignore").write_text("venv/\n")
    assert lineage._commit(installed) == {}


def test_no_checkout(tmp_path):
    assert lineage._commit(tmp_path) == {}


def test_a_run_knows_its_configuration_and_face_model(tmp_path, ellipsoid_face):
    config = presets.load("embedded")
    (tmp_path / "config.json").write_text(json.dumps(config.model_dump(mode="json"), indent=2))
    (tmp_path / "face.safetensors").write_bytes(ellipsoid_face.to_bytes())
    (tmp_path / "run.json").write_text(json.dumps({"storage": "s3://key:hidden@bucket/runs"}))
    assert lineage.run_tags(tmp_path) == {
        "digest.config": config.digest,
        "digest.face_model": ellipsoid_face.digest,
        "preset": "embedded",
        "storage": "s3://bucket/runs",
    }


def test_an_empty_folder_knows_nothing(tmp_path):
    assert lineage.run_tags(tmp_path) == {}
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "face.safetensors").write_text("damaged")
    assert lineage.run_tags(tmp_path) == {"digest.config": hashlib.sha256(b"{}").hexdigest()}
