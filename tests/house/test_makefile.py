"""The Makefile's own calls of pytest are ones that pytest understands; nothing is run."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAST = "not drill and not slow"
TARGETS = {"test": "not drill", "test-fast": FAST, "coverage": FAST, "drill": "drill"}
CALLS = [
    shlex.split(line.replace("$(PROCESSES)", "2"))[1:]
    for line in (ROOT / "Makefile").read_text().splitlines()
    if "$(BIN)/pytest" in line
]
# One process for all of them: what the tests import is loaded once.
PROGRAM = "import json, sys, pytest; sys.exit(max(pytest.main([*w, '--markers']) for w in json.loads(sys.argv[1])))"


def test_pytest_understands_what_make_asks_of_it():
    command = [sys.executable, "-c", PROGRAM, json.dumps(CALLS)]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr


def test_every_test_belongs_to_a_target():
    """What `make test` leaves out is what `make drill` runs."""
    assert [call[call.index("-m") + 1] for call in CALLS] == list(TARGETS.values())
    whole, drills = CALLS[0], CALLS[-1]
    assert not any("ignore" in word or word.startswith("tests") for word in (*whole, *drills))
