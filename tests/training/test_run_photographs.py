"""Photographs are trained on from the shipped model, and a run knows its own photographs again."""

import hashlib
import json
import os
import shutil
import signal
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focus_ray import model, presets
from focus_ray.config import RunConfig
from focus_ray.data.synthetic_folder import write_folder
from focus_ray.errors import CheckpointError, Interrupted
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.runtime.callbacks import Callback
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.training.assemble import fitted_face
from focus_ray.training.in_process import FolderCheckpointSink, train
from focus_ray.training.run import Trainer

SHORT = (
    "schedule={init_steps: 0, pretrain_seg_steps: 0, cycles: 1, seg_steps: 1, face_steps: 2}",
    "batch_size=3",
    "cadence.checkpoint=1",
)
LATER_KEYS = (
    "data.heldout_share",
    "data.cache_mb",
    "data.shard_cache_mb",
    "data.planted",
    "data.rendered.laws.named_share",
    "em.keep_fits",
    "em.reconstruction.lambda_teacher",
    "em.segmentation.eta_planted",
    "em.segmentation.planted_explained",
    "em.segmentation.planted_outlier_weight",
    "em.teacher",
    "face.file",
    "initialise.weights.lambda_teacher",
    "rasterizer",
    "warmup.laws.named_share",
)
"""Keys that a run of the first version with photographs does not have."""


class StopAtOnce(Callback):
    """Somebody who presses Ctrl-C after the first step."""

    def on_step_end(self, record) -> None:
        if record.step == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, world_face) -> Path:
    """A folder in the layout that `train --data` takes: three synthetic faces and their landmarks."""
    folder = tmp_path_factory.mktemp("photographs") / "set"
    write_folder(folder, n=3, seed=1, size=96, world=world_face)
    return folder


@pytest.fixture
def config() -> RunConfig:
    """Adaptation of the small model, as it was in the first version."""
    of_photographs = ["cadence.best=photos.rmse_255", "cadence.best_is=lowest"]
    start = f"start_from={SHIPPED_MODELS['embedded']}"
    return presets.load("embedded", None, [start, "schedule.warmup_steps=0", *SHORT, *of_photographs])


def test_the_default_model_adapts_to_a_folder(photographs, tmp_path):
    config = presets.load("adapt", None, [*SHORT, "em.teacher.refine.steps=1", "em.refined_comparison.steps=1"])
    metrics = train(config.with_photos(str(photographs), None), tmp_path / "run")
    start, end = metrics["evaluations"][0]["photos"], metrics["evaluations"][-1]["photos"]
    assert start["n"] == end["n"] == 3
    assert not end["heldout"], "a tenth of three photographs is none"
    assert end["landmark_px"] != start["landmark_px"]
    assert metrics["heldout"] == {}
    adapted, shipped = model.load(tmp_path / "run" / "model"), model.load()
    assert adapted.settings == shipped.settings
    assert adapted.version != shipped.version
    assert adapted.focus.face_model.digest == shipped.focus.face_model.digest


def test_other_photographs_than_the_runs_own_are_refused(config, photographs, tmp_path):
    mine = shutil.copytree(photographs, tmp_path / "mine")
    with pytest.raises(Interrupted):
        train(config.with_photos(str(mine), None), tmp_path / "run", callback=StopAtOnce())
    picture = mine / "images" / "000001.png"
    Image.fromarray(np.asarray(Image.open(picture))[:, ::-1]).save(picture)
    with pytest.raises(CheckpointError, match="other photographs"):
        train(None, tmp_path / "run")


class Listener(Callback):
    """Somebody who reads what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_message(self, message: str) -> None:
        self.said.append(message)


def test_figures_are_of_photographs_that_no_batch_holds(config, photographs, tmp_path):
    data = config.data.model_copy(update={"heldout_share": 0.4, "cache_mb": 0.0})
    config = config.model_copy(update={"data": data}).with_photos(str(photographs), None)
    run = Trainer(config, fitted_face(config), FolderCheckpointSink(RunFolder(tmp_path), Callback()), Callback())
    trained_on = {name for step in range(4) for name in run.data.batch_of(step).names or []}
    assert run.data.photos is not None
    assert len(trained_on) == 2
    assert trained_on.isdisjoint(run.data.photos.scored.batch([0]).names or [])
    run.score("start")
    assert run.totals.evaluations[0]["photos"]["n"] == 1
    assert run.totals.evaluations[0]["photos"]["heldout"]
    assert "1 of 3 photographs are held out" in run.data.photos.notes[0]
    assert "3 of 3 photographs do not fit into a cache of 0 MB" in run.data.photos.notes[1]


def test_a_run_from_before_there_was_a_share_goes_on_with_all_photographs(config, photographs, tmp_path):
    mine = shutil.copytree(photographs, tmp_path / "mine")
    data = config.data.model_copy(update={"heldout_share": 0.0})
    before = config.model_copy(update={"data": data}).with_photos(str(mine), None)
    with pytest.raises(Interrupted):
        train(before, tmp_path / "run", callback=StopAtOnce())
    file = tmp_path / "run" / "config.json"
    tree = json.loads(file.read_bytes())
    for key in LATER_KEYS:
        *parents, name = key.split(".")
        del reduce(dict.__getitem__, parents, tree)[name]
    file.write_text(json.dumps(tree))
    (state,) = (tmp_path / "run" / "checkpoints").glob("*/state.json")
    without = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    assert without in state.read_text(), "a checkpoint from before the keys has this digest"
    assert train(None, tmp_path / "run")["evaluations"][-1]["photos"]["n"] == 3


def test_photographs_that_cannot_be_used_are_named(config, photographs, tmp_path):
    mine = shutil.copytree(photographs, tmp_path / "mine")
    (mine / "images" / "000001.png").unlink()
    listener = Listener()
    metrics = train(config.with_photos(str(mine), None), tmp_path / "run", callback=listener)
    assert "2 of 3 photographs" in metrics["left_out"]
    assert metrics["left_out"] in listener.said
