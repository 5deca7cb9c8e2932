"""What a job of a cluster is sent: the package and what runs it, small, whatever else lies in the checkout."""

import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SENT = ("focus_ray", "jobs", "tune_configs")
LARGEST_PACKAGE = 5_000_000  # bytes


def packed(folder: Path, target: Path, *, gitignore: bool = True) -> list[str]:
    """Pack a working folder as `ray job submit` does; the names in the archive."""
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    excludes = get_runtime_env_default_excludes() if gitignore else []
    create_package(str(folder), target, include_gitignore=gitignore, excludes=excludes)
    with zipfile.ZipFile(target) as archive:
        return archive.namelist()


@pytest.mark.parametrize("gitignore", [True, False], ids=["as Ray does", "by .rayignore alone"])
def test_the_package_of_a_job_is_small_and_holds_the_code_alone(tmp_path, gitignore):
    names = packed(ROOT, tmp_path / "package.zip", gitignore=gitignore)
    assert (tmp_path / "package.zip").stat().st_size < LARGEST_PACKAGE
    assert {name.partition("/")[0] for name in names} == set(SENT)
    assert [name for name in names if "pretrained" in name or "__pycache__" in name] == []


def test_the_package_of_a_job_is_complete(tmp_path):
    names = set(packed(ROOT, tmp_path / "package.zip"))
    files = [path for folder in SENT for path in (ROOT / folder).rglob("*") if path.is_file()]
    needed = {path.relative_to(ROOT).as_posix() for path in files}
    # Jobs show no page; a detector's weights and face models are on the cluster or given by an option.
    left_out = ("pretrained", "__pycache__/", "serving/page/vendor/", "detectors/weights/", ".face")
    assert {name for name in needed - names if not any(part in name for part in left_out)} == set()


def test_what_somebody_puts_into_a_checkout_stays_there(tmp_path):
    folder = tmp_path / "checkout"
    sent = [
        "focus_ray/model.py",
        "focus_ray/data/distribution_types.py",
        "jobs/train.py",
        "jobs/mine.yaml",
        "tune_configs/mine.yaml",
    ]
    kept = [".git/config", ".venv/bin/python", ".env", "runs/demo/config.json", "mlflow.db", "photos/jobs/a.jpg"]
    kept += ["tests/data/test_laws.py", "weights.pth", "focus_ray/pretrained/encoder.safetensors"]
    for name in (*sent, *kept):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / ".rayignore").write_text((ROOT / ".rayignore").read_text())
    assert sorted(packed(folder, tmp_path / "package.zip", gitignore=False)) == sorted(sent)


def test_the_package_runs_from_where_ray_unpacks_it(tmp_path, python, python_environment):
    packed(ROOT, tmp_path / "package.zip")
    with zipfile.ZipFile(tmp_path / "package.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    # A sign that this copy was used and not the installed package.
    cli = tmp_path / "unpacked" / "focus_ray" / "cli" / "train.py"
    cli.write_text(cli.read_text().replace("Train a model: on synthetic", "Train a copy: on synthetic"))
    environment = {name: text for name, text in python_environment.items() if name != "PYTHONPATH"}
    command = [python, "jobs/train.py"]
    place = tmp_path / "unpacked"
    helped = subprocess.run([*command, "--help"], cwd=place, env=environment, capture_output=True, text=True)
    assert helped.returncode == 0, helped.stderr
    assert "Train a copy: on synthetic" in helped.stdout
    assert "Usage: focus-ray train" in helped.stdout
    refused = subprocess.run(
        [*command, "--preset", "adapt"], cwd=place, env=environment, capture_output=True, text=True
    )
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr.startswith("error[model]: this copy of focus-ray has no shipped model")
    assert "set start_from=FOLDER" in refused.stderr


def test_the_runtime_environment_is_what_the_package_needs_besides_ray():
    environment = yaml.safe_load((ROOT / "jobs" / "runtime-env.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {text for text in project["dependencies"] if Requirement(text).name != "ray"}
    assert set(environment["pip"]) == needed
    assert set(environment) == {"pip", "env_vars"}
