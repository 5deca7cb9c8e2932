"""A run on photographs with planted occluders keeps its fits, and is interrupted and resumed without a trace."""

import os
import signal

import pytest

from focus_ray import presets
from focus_ray.config import RunConfig
from focus_ray.data.synthetic_folder import write_folder
from focus_ray.errors import Interrupted
from focus_ray.focus import em
from focus_ray.runtime.callbacks import Callback
from focus_ray.training.in_process import train

SEG_STEPS, STOP = 8, 5
TINY = [
    "model.camera.image_size=32",
    "batch_size=3",
    f"schedule={{warmup_steps: 0, init_steps: 0, pretrain_seg_steps: 0, cycles: 1, seg_steps: {SEG_STEPS}, "
    "face_steps: 1}",
    "data.size=6",
    "data.planted.synthetic_share=0.4",
    "em.segmentation.eta_planted=20",
    "em.refined_comparison={steps: 2, trusting_share: 1.0}",
    "em.keep_fits=true",
    "cadence={log: 10, checkpoint: 100, evaluate: 100, sheet: 100, best: unlabelled.planted}",
]


class Interrupt(Callback):
    """Sends SIGINT after a step."""

    def on_step_end(self, record) -> None:
        if record.step == STOP:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def config(tmp_path_factory, world_face) -> RunConfig:
    folder = tmp_path_factory.mktemp("photographs") / "set"
    write_folder(folder, n=4, seed=1, size=64, world=world_face)
    return presets.load("embedded", None, ["data.planted={}", *TINY]).with_photos(str(folder), None)


def test_each_picture_is_refined_once_and_a_resumed_run_ends_with_the_same_weights(config, tmp_path, monkeypatch):
    calls, genuine = [], em.descend
    monkeypatch.setattr(em, "descend", lambda *arguments: calls.append(1) or genuine(*arguments))
    whole = train(config, tmp_path / "whole")
    assert len(calls) < SEG_STEPS
    with pytest.raises(Interrupted):
        train(config, tmp_path / "resumed", callback=Interrupt())
    resumed = train(None, tmp_path / "resumed")
    assert resumed["model_version"] == whole["model_version"]
    apart = config.model_copy(update={"em": config.em.model_copy(update={"keep_fits": False})})
    assert train(apart, tmp_path / "apart")["model_version"] == whole["model_version"]
