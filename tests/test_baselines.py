"""The baselines of the paper, as changes of a preset, and short runs of each."""

import json

import pytest
import torch

from focus_ray import presets
from focus_ray.baselines import BASELINES, apply_baseline
from focus_ray.config import RunConfig, override
from focus_ray.errors import ConfigError
from focus_ray.focus import losses
from focus_ray.training import in_process
from focus_ray.training.assemble import training_data
from tests.conftest import quick_runs

MINIATURE = {
    "batch_size": 4,
    "model": {"camera": {"image_size": 32}, "segmenter": {"width": 4, "levels": 2}, "encoder": {"width": 4}},
    "warmup": {"batch_size": 4},
    "schedule": {
        "warmup_steps": 2,
        "init_steps": 2,
        "pretrain_seg_steps": 2,
        "cycles": 1,
        "seg_steps": 3,
        "face_steps": 3,
    },
    "em": {"refined_comparison": {"steps": 2}},
    "data": {"size": 8},
    "heldout": {"size": 0},
}


def miniature() -> RunConfig:
    return override(presets.load("embedded"), MINIATURE, "test")


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_is_a_preset(name):
    config = presets.load(name)
    assert config == apply_baseline(presets.load("embedded"), name)
    assert config.preset == name
    assert config.model == presets.load("embedded").model
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_what_has_no_segmenter_has_the_encoders_whole_budget():
    focus = presets.load("embedded").schedule
    for name in ("mofa", "backbone", "backbone-supervised", "backbone-cutmix", "backbone-cutout"):
        schedule = presets.load(name).schedule
        assert schedule.total_steps - schedule.init_steps == focus.warmup_steps
        assert schedule.init_steps == focus.init_steps + focus.cycles * focus.face_steps
    assert presets.load("pretrained").schedule.total_steps == focus.em_start


def test_with_one_pixel_the_neighbour_loss_is_the_pixel_loss():
    torch.manual_seed(0)
    images, rendering, mask = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)  # soft
    for preset in ("embedded", "paper", "release"):
        changed = apply_baseline(presets.load(preset), "baseline").em.segmentation
        neighbour = losses.neighbor_sum(
            images,
            rendering,
            mask,
            window=changed.neighbor_window,
            squared=changed.neighbor_squared,
            centre=changed.neighbor_centre,
            premultiplied=changed.neighbor_premultiplied,
            normalise="image",
            border="keep",
        )
        difference = mask * images - mask * rendering
        squared = difference.square().sum(1)
        expected = (squared if changed.neighbor_squared else squared.sqrt()).mean()
        assert torch.allclose(neighbour.ratio(), expected, atol=1e-6)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_trains(name, tmp_path):
    with quick_runs():
        metrics = in_process.train(apply_baseline(miniature(), name), tmp_path / name)
    lines = [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
    assert metrics["steps"] == len(lines)
    assert not any(line["skipped"] for line in lines)
    assert all(value is not None for line in lines for value in line["loss"].values())
    losses_of = {line["phase"]: set(line["loss"]) for line in lines}
    assert ("per" in losses_of["init"]) == (name != "mofa")
    if "em_seg" in losses_of:
        assert {"nbr", "dist", "presv"} & losses_of["em_seg"] == {
            "baseline": {"nbr"},
            "neighbor": {"nbr"},
            "perceptual": {"nbr", "dist", "presv"},  # L_nbr is told, and weighs nothing
        }[name]


def test_only_the_supervised_are_given_masks():
    for name, given in {"backbone": False, "backbone-supervised": True, "embedded": False}.items():
        config = miniature() if name == "embedded" else apply_baseline(miniature(), name)
        batch = training_data(config).batch_of(6)
        assert (batch.masks is not None) == given


def test_photographs_have_no_masks_to_learn_from(tmp_path):
    config = presets.load("backbone-supervised").with_photos(str(tmp_path), None)
    with pytest.raises(ConfigError, match="photographs do not have"):
        training_data(config)
