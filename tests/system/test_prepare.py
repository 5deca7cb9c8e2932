"""Preparation of data sets by the command itself: killed, resumed, on the disk and in a bucket, the same shards."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from focus_ray.storage.open_store import open_store
from tests.data.dataset_writers.sets import written
from tests.data.prepared.stores import files_of
from tests.data.trainable import layouts
from tests.system.runs import CommandRun

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1800)]
PICTURES = 400


class Preparation(CommandRun):
    """One `focus-ray data prepare`."""

    COMMAND = ("data", "prepare")
    WORKER = "ray::_run_task"

    def __init__(self, python: str, folder: Path, kind: str, source: Path, out: str, *options: str, environment: dict):
        super().__init__(python, folder, kind, str(source), "--out", out, *options, environment=environment)
        self.store = open_store(out)

    def shards(self) -> int:
        """How many are finished."""
        return sum(1 for entry in self.store.list(".prepare") if entry.key[-6].isdigit())


def check_killed_and_resumed(
    python: str, environment: dict[str, str], kind: str, source: Path, bucket: str, folder: Path
) -> dict[str, Any]:
    """prepared.json, after the store of one process was found in two that were killed and resumed."""

    def start(name: str, out: str, *options: str) -> Preparation:
        return Preparation(python, folder / name, kind, source, out, *options, environment=environment)

    whole = start("whole", str(folder / "whole"), "--local")
    assert whole.wait() == 0, whole.read_log()
    expected = files_of(folder / "whole")
    for out, options in ((str(folder / "disk"), ("--local",)), (f"{bucket}/store", ("--tasks", "2"))):
        killed = start("killed", out, *options)
        killed.wait_for(lambda killed=killed: killed.shards() > 0)
        killed.kill_driver()
        store = open_store(out)
        assert not store.list("prepared.json")
        again = start("again", out, *options)
        assert again.wait() == 0, again.read_log()
        assert {entry.key: store.read(entry.key) for entry in store.list()} == expected
    return json.loads(expected["prepared.json"])


@pytest.mark.parametrize("kind", ["folder", "celebahq", "ar", "now", "aflw2000"])
def test_killed_and_resumed_the_same_shards_on_disk_and_in_a_bucket(
    kind, python, python_environment, bucket_environment, bucket, tmp_path
):
    source = written(kind if kind in ("celebahq", "now") else "ar", tmp_path / "sets", PICTURES)
    if kind == "aflw2000":
        source = layouts.write_aflw2000(source, tmp_path / "aflw2000", PICTURES)
    elif kind == "folder":
        shutil.rmtree(source / "masks")
    environment = {**python_environment, **bucket_environment}
    described = check_killed_and_resumed(python, environment, kind, source, bucket, tmp_path)
    assert described["records"] > 0.9 * PICTURES
    assert len(described["shards"]) > 2


@pytest.mark.shared
@pytest.mark.parametrize(("place", "records"), [("portraits/images", 569), ("photos", 18)])
def test_portraits_and_photographs(
    place, records, shared_data, python, python_environment, bucket_environment, bucket, tmp_path
):
    environment = {**python_environment, **bucket_environment}
    described = check_killed_and_resumed(python, environment, "folder", shared_data / place, bucket, tmp_path)
    print(json.dumps({key: described[key] for key in ("pictures", "records", "dropped", "landmarks")}))
    assert described["records"] >= records
