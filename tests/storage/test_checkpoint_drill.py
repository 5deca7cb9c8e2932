"""Drill: a process that saves without pause is killed at random moments; what is there afterwards is always whole."""

import os
import random
import signal
import subprocess
import time

import pytest

from focus_ray.storage.checkpoint import Checkpoints

KILLS = 40

WRITER = """
import sys
from pathlib import Path
import torch
from focus_ray.storage.checkpoint import Checkpoints

store = Checkpoints(Path(sys.argv[1]))
stored = store.latest()
step = stored.step if stored else 0
print("ready", flush=True)
while True:
    step += 1
    store.save(step, {"encoder": {"w": torch.full((2_000_000,), float(step))}, "step": step}, best=step % 7 == 0)
"""


@pytest.mark.drill
@pytest.mark.timeout(1200)
def test_a_writer_killed_at_random_moments_never_leaves_a_damaged_checkpoint(
    tmp_path, python, python_environment, record_property, caplog
):
    rng = random.Random(0)
    folder = tmp_path / "checkpoints"
    store = Checkpoints(folder)
    newest, litter = 0, 0
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [python, "-c", WRITER, str(folder)], env=python_environment, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.02, 0.6))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate(timeout=30)
        litter += sum(".partial-" in path.name for path in folder.glob(".*"))
        steps = store.steps()
        stored = store.latest()
        if stored is None:
            continue
        assert stored.step == steps[-1]
        assert stored.state["step"] == stored.step
        assert stored.state["encoder"]["w"].eq(float(stored.step)).all()
        assert stored.step >= newest
        newest = stored.step
    assert newest > KILLS
    assert caplog.records == []
    record_property("kills", KILLS)
    record_property("killed_while_writing", litter)
    record_property("checkpoints_written", newest)
