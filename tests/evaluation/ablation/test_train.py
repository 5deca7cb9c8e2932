"""Models of an ablation: labels that are withheld, runs that a guard ended, folders of other runs."""

import json
from pathlib import Path

import pytest
import torch

from focus_ray.errors import ConfigError, MaskCollapse
from focus_ray.evaluation.ablation import train as module
from focus_ray.evaluation.ablation.ablation_config import AblationConfig
from focus_ray.evaluation.ablation.train import guard_message, model_run, run_metrics, train_model, withhold_labels
from focus_ray.training.assemble import training_data
from focus_ray.training.run import Trainer
from tests.conftest import quick_runs


def never() -> bool:
    return False


def test_batches_without_labels_have_the_same_pictures(config: AblationConfig):
    data = training_data(config.training)
    told, untold = data.batch_of(1), withhold_labels(data).batch_of(1)
    assert told.planted is not None
    assert untold.planted is None
    assert torch.equal(told.images, untold.images)
    assert withhold_labels(data).digest == data.digest


@pytest.mark.parametrize(("name", "labels"), [("focus", False), ("mofa", False), ("planted", True)])
def test_only_the_planted_models_are_told(
    config: AblationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, labels: bool
):
    given = []

    def run(trainer: Trainer) -> dict:
        given.append(trainer.data.batch_of(0).planted is not None)
        return {}

    monkeypatch.setattr(Trainer, "run", run)
    monkeypatch.setattr(module, "train_and_report", lambda trainer, prepared: trainer.run())
    train_model(model_run(config, name, tmp_path), never, lambda *_: None)
    assert given == [labels]


def test_a_run_that_a_guard_ended_has_a_message_and_no_model(
    config: AblationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def collapse(trainer: Trainer) -> dict:
        raise MaskCollapse("the masks collapsed")

    monkeypatch.setattr(Trainer, "run", collapse)
    run = model_run(config, "focus", tmp_path)
    with quick_runs():
        train_model(run, never, lambda *_: None)
    message = guard_message(run)
    assert message == "focus: a guard ended the training after 0 steps (no finite loss); it has no figures"
    events = run_metrics(run) | {"guard_events": [{"kind": "all_face"}, {"kind": "all_face"}], "steps": 7}
    (run.folder / "metrics.json").write_text(json.dumps(events))
    assert "after 7 steps (masks all face)" in str(guard_message(run))
    monkeypatch.setattr(Trainer, "run", lambda _: pytest.fail("trained again"))
    train_model(run, never, lambda *_: None)


def test_a_folder_of_another_configuration_is_refused(
    config: AblationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "train_and_report", lambda trainer, prepared: {})
    train_model(model_run(config, "focus", tmp_path), never, lambda *_: None)
    other = config.model_copy(update={"training": config.training.model_copy(update={"seed": 6})})
    with pytest.raises(ConfigError, match="another configuration of focus; delete it"):
        train_model(model_run(other, "focus", tmp_path), never, lambda *_: None)
