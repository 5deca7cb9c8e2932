"""The Makefile's own calls of pytest are ones that pytest understands; nothing is run."""

import shlex
import subprocess
import sys

import pytest


@pytest.mark.parametrize("target", ["test", "drill"])
def test_pytest_understands_what_make_asks_of_it(target, project_root):
    recipes = (line for line in (project_root / "Makefile").read_text().splitlines() if "$(BIN)/pytest" in line)
    calls = {("drill" if "-m drill" in line else "test"): shlex.split(line)[1:] for line in recipes}
    command = [sys.executable, "-m", "pytest", *calls[target], "--markers"]
    asked = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
