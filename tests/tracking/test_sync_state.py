"""The cursor survives what happens to files, and one holder at a time moves it."""

import json
import subprocess
import time

import pytest

from focus_ray.errors import TrackingError
from focus_ray.tracking import sync_state
from focus_ray.tracking.sync_state import SyncState


def test_what_was_written_is_read(tmp_path):
    written = SyncState("abc", 120, 100, "d", "FINISHED", "focus/1", {"sheets/a.png": "e"}, {"cpu": "f"})
    sync_state.write(tmp_path, written)
    assert sync_state.read(tmp_path) == written
    assert json.loads((tmp_path / "tracking.json").read_text())["schema"] == 1
    assert written.for_run("abc") is written
    assert written.for_run("other") == SyncState("other", lineage={"cpu": "f"})


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"steps": "3"}', '{"artifacts": []}', '{"mlflow_run": 1}'])
def test_a_damaged_one_is_one_at_the_beginning(tmp_path, content):
    (tmp_path / "tracking.json").write_text(content)
    assert sync_state.read(tmp_path) == SyncState()


def test_another_process_waits_a_moment_and_is_refused(tmp_path, python, python_environment):
    hold = "import sys; from pathlib import Path; from focus_ray.tracking.sync_state import sync_lock\n"
    hold += "with sync_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [python, "-c", hold, str(tmp_path)],
        env=python_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    began = time.monotonic()
    with pytest.raises(TrackingError, match="another process is sending"), sync_state.sync_lock(tmp_path):
        pass
    assert sync_state.LOCK_TIMEOUT < time.monotonic() - began < sync_state.LOCK_TIMEOUT + 5
    holder.kill()
    holder.communicate(timeout=30)
    with sync_state.sync_lock(tmp_path):  # whoever dies lets go
        pass


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(TrackingError, match="give a folder of a run"), sync_state.sync_lock(tmp_path / "nothing"):
        pass
