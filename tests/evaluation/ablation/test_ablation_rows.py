"""The changes of the preset, number by number."""

import pytest

from focus_ray.baselines import PERCEPTUAL_AREA
from focus_ray.config import RunConfig
from focus_ray.evaluation.ablation.ablation_rows import (
    ABLATION_MODELS,
    ABLATION_ROWS,
    FOCUS_PLANTED,
    LABELLED_MODELS,
    REFERENCE,
    encoder_steps,
    model_config,
)
from focus_ray.evaluation.composite_scoring import MASKS
from focus_ray.focus.schedule import Schedule
from focus_ray.portrait_presets import portrait_em


def base() -> RunConfig:
    """The preset with weights and steps of this test."""
    preset = portrait_em()
    weights = {"nbr": 15.0, "dist": 3.0, "area": 0.5, "presv": 0.25, "bin": 1.0, "planted": 20.0}
    chosen = preset.em.segmentation.model_copy(update={f"eta_{name}": value for name, value in weights.items()})
    schedule = Schedule(init_steps=300, pretrain_seg_steps=0, cycles=8, seg_steps=380, face_steps=100)
    em = preset.em.model_copy(update={"segmentation": chosen})
    return preset.model_copy(update={"em": em, "schedule": schedule})


def changed(name: str) -> RunConfig:
    return model_config(base(), name)


def etas(config: RunConfig) -> dict[str, float]:
    names = ("nbr", "dist", "area", "presv", "bin", "planted")
    return {name: getattr(config.em.segmentation, f"eta_{name}") for name in names}


def test_the_last_row_is_the_preset():
    assert changed(FOCUS_PLANTED) == base().model_copy(update={"preset": FOCUS_PLANTED})
    assert model_config(portrait_em(), FOCUS_PLANTED) == portrait_em().model_copy(update={"preset": FOCUS_PLANTED})
    assert portrait_em().em.segmentation.eta_planted > 0
    assert portrait_em().em.calibration is not None
    assert portrait_em().guard.action == "recalibrate"


@pytest.mark.parametrize("name", ABLATION_MODELS)
def test_all_encoders_take_the_same_number_of_steps_from_the_same_model(name: str):
    config = changed(name)
    assert encoder_steps(config.schedule) == 300 + 8 * 100
    assert config.schedule.warmup_steps == 0
    assert (config.preset, config.start_from) == (name, base().start_from)
    assert (config.data, config.batch_size, config.model) == (base().data, base().batch_size, base().model)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("focus", {"planted": 0.0}),
        ("focus-paper", {"planted": 0.0}),
        ("neighbor", {"planted": 0.0, "dist": 0.0, "presv": 0.0}),
        ("baseline", {"planted": 0.0, "dist": 0.0, "presv": 0.0}),
        ("perceptual", {"planted": 0.0, "nbr": 0.0, "area": PERCEPTUAL_AREA}),
        ("planted", {"nbr": 0.0, "dist": 0.0, "area": 0.0, "presv": 0.0, "bin": 0.0}),
    ],
)
def test_weights_of_the_losses_of_s(name: str, weights: dict[str, float]):
    assert etas(changed(name)) == etas(base()) | weights


@pytest.mark.parametrize("name", ["focus", "focus-paper", "baseline", "neighbor", "perceptual"])
def test_without_labels_s_begins_with_preliminary_masks(name: str):
    schedule = changed(name).schedule
    assert schedule == base().schedule.model_copy(update={"pretrain_seg_steps": 300})


def test_only_the_losses_of_the_paper_have_no_refined_fits():
    for name in ("focus", "baseline", "neighbor", "perceptual", "planted", "focus-planted"):
        em = changed(name).em
        assert em.reconstruction.lambda_teacher == base().em.reconstruction.lambda_teacher > 0
        assert (em.teacher, em.refined_comparison) == (base().em.teacher, base().em.refined_comparison)
    em = changed("focus-paper").em
    assert (em.reconstruction.lambda_teacher, em.teacher, em.refined_comparison) == (0, None, None)
    assert em.calibration == base().em.calibration


def test_a_first_training_of_s_in_the_preset_is_kept():
    schedule = base().schedule.model_copy(update={"pretrain_seg_steps": 40})
    assert model_config(base().model_copy(update={"schedule": schedule}), "focus").schedule.pretrain_seg_steps == 40


def test_the_window_of_the_baseline_is_one_pixel():
    weights = changed("baseline").em.segmentation
    assert (weights.neighbor_window, weights.neighbor_premultiplied) == (1, True)


@pytest.mark.parametrize("name", ["perceptual", "planted"])
def test_without_l_nbr_nothing_is_calibrated(name: str):
    config = changed(name)
    assert config.em.calibration is None
    assert config.guard.action == "restore"
    assert changed("focus").em.calibration == base().em.calibration
    assert changed("focus").guard.action == "recalibrate"


def test_models_without_em():
    mofa, pretrained = changed("mofa"), changed("pretrained")
    assert (mofa.schedule.init_steps, mofa.schedule.pretrain_seg_steps, mofa.schedule.cycles) == (1100, 0, 0)
    assert mofa.initialise.mask == "none"
    assert mofa.initialise.weights.lambda_per == 0
    schedule = pretrained.schedule
    assert (schedule.init_steps, schedule.pretrain_seg_steps, schedule.cycles) == (1100, 300, 0)
    assert pretrained.initialise == base().initialise


def test_rows_name_models_and_masks_that_exist():
    assert {row.model for row in ABLATION_ROWS.values()} == set(ABLATION_MODELS)
    assert {row.mask for row in ABLATION_ROWS.values()} == set(MASKS)
    assert set(LABELLED_MODELS) == {"planted", "focus-planted"}
    assert REFERENCE in ABLATION_ROWS
