"""A face model of full size, from its h5 file to distances on NoW."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.face_models.importers.writers import write_full_bfm

RUN = (
    "--local --steps 8 --set heldout.size=4 --set heldout.refine=false --set batch_size=4 --set warmup.batch_size=4 "
    "--set data.size=16"
)


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_the_full_face_is_imported_trained_and_scored(
    tmp_path: Path, python: str, python_environment: Mapping[str, str]
):
    """The Basel Face Model has 53,149 vertices: memory and time of every step have to bear that."""

    def run(command: str) -> None:
        done = subprocess.run(
            [python, "-m", "focus_ray", *command.split()],
            env=dict(python_environment),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    write_full_bfm(tmp_path / "model2017-1_bfm_nomouth.h5")
    run("face import bfm model2017-1_bfm_nomouth.h5 --whole --out full.face")
    run(f"train --face full.face --out run {RUN}")
    run("data synthesize --layout now --n 4 --size 64 --out now")
    run("evaluate predict --data now --model run/model --out predictions")
    run("evaluate now --data now --predictions FULL=predictions --out evaluation")
    assert json.loads((tmp_path / "run" / "model" / "model.json").read_text())["face"]["provenance"]["kind"] == "bfm"
    assert json.loads((tmp_path / "evaluation" / "results.json").read_text())
