"""The Makefile's own calls of pytest are ones that pytest understands; nothing is run."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {"test": "not drill", "test-fast": "not drill and not slow", "drill": "drill"}
CALLS = [
    line.strip().replace("$(PROCESSES)", "2")
    for line in (ROOT / "Makefile").read_text().splitlines()
    if "$(BIN)/pytest" in line
]


@pytest.mark.parametrize("call", CALLS)
def test_pytest_understands_what_make_asks_of_it(call: str):
    command = [sys.executable, "-m", "pytest", *shlex.split(call)[1:], "--markers"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr


def test_every_test_belongs_to_a_target():
    """What `make test` leaves out is what `make drill` runs."""
    words = [shlex.split(call)[1:] for call in CALLS]
    assert [call[call.index("-m") + 1] for call in words] == list(TARGETS.values())
    whole, _, drills = words
    assert not any("ignore" in word or word.startswith("tests") for word in (*whole, *drills))
