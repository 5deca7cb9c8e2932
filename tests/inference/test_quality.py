"""Quality flags: each by its measure and limit, and the limits of a model folder."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from focus_ray import model as models
from focus_ray.errors import CheckpointError
from focus_ray.inference.quality import (
    GEOMETRY_FLAGS,
    LIMIT_RULES,
    MASK_FLAGS,
    QUALITY_FLAGS,
    QUALITY_FORMAT,
    QualityLimits,
    QualityMeasures,
    model_limits,
    quality_flags,
    read_limits,
)
from focus_ray.inference.reconstructor import ReconstructionSettings, Reconstructor
from focus_ray.model import Model

FINE = QualityMeasures(
    crop_scale=0.5,
    outside=0.0,
    occlusion=0.1,
    yaw=0.1,
    pitch=-0.1,
    first_residual=20.0,
    residual=10.0,
    first_landmark_distance=0.03,
    landmark_distance=0.02,
    presence=0.99,
    mask_change=0.1,
    view_spread=0.001,
)
LIMITS = QualityLimits(
    small_face=1.0,
    cut_off=0.05,
    mostly_occluded=0.5,
    extreme_pose=0.8,
    high_residual=30.0,
    poor_first_fit=50.0,
    landmarks_disagree=0.08,
    first_landmarks_disagree=0.15,
    low_presence=0.5,
    unstable_landmarks=0.02,
    unstable_mask=0.9,
)


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, []),
        ({"crop_scale": 1.1}, ["small_face"]),
        ({"crop_scale": 1.0}, []),
        ({"outside": 0.06}, ["cut_off"]),
        ({"occlusion": 0.51}, ["mostly_occluded"]),
        ({"yaw": -0.81}, ["extreme_pose"]),
        ({"pitch": 0.81}, ["extreme_pose"]),
        ({"residual": 31.0}, ["high_residual"]),
        ({"first_residual": 51.0}, ["poor_first_fit"]),
        ({"first_residual": 51.0, "residual": None}, ["high_residual", "poor_first_fit"]),
        ({"first_residual": 49.0, "residual": None}, []),
        ({"landmark_distance": 0.09}, ["landmarks_disagree"]),
        ({"first_landmark_distance": 0.16}, ["landmarks_disagree"]),
        ({"first_landmark_distance": 0.16, "landmark_distance": 0.09}, ["landmarks_disagree"]),
        ({"presence": 0.49}, ["low_presence"]),
        ({"presence": None}, []),
        ({"view_spread": 0.021}, ["unstable_landmarks"]),
        ({"mask_change": 0.91}, ["unstable_mask"]),
        ({"mask_change": None}, []),
        ({"landmarks_from_model": True}, ["landmarks_from_model"]),
        ({"box_only": True}, ["detector_fallback"]),
        (
            {"mask_change": 2.0, "crop_scale": 3.0, "box_only": True},
            ["small_face", "unstable_mask", "detector_fallback"],
        ),
    ],
)
def test_flags_by_measure(changes: dict, flags: list[str]):
    assert quality_flags(replace(FINE, **changes), LIMITS) == flags


def test_a_measure_without_limit_raises_no_flag():
    bad = replace(FINE, crop_scale=9.0, occlusion=1.0, residual=200.0, presence=0.0, mask_change=30.0)
    assert quality_flags(bad, QualityLimits(**dict.fromkeys(QualityLimits.model_fields))) == []


def test_every_limit_has_a_rule_and_every_rule_a_measure():
    assert {rule.limit for rule in LIMIT_RULES} == set(QualityLimits.model_fields)
    known = {field.name for field in fields(QualityMeasures)} | {"turn", "only_residual"}
    assert {rule.measure for rule in LIMIT_RULES} <= known
    assert {rule.flag for rule in LIMIT_RULES} | {"landmarks_from_model", "detector_fallback"} == set(QUALITY_FLAGS)
    assert not set(GEOMETRY_FLAGS) & set(MASK_FLAGS)


def test_the_web_page_and_the_documents_name_every_flag(project_root: Path):
    for name in ("focus_ray/serving/page/figures.js", "docs/python.md"):
        text = (project_root / name).read_text()
        assert [flag for flag in QUALITY_FLAGS if flag not in text] == []


def test_the_limits_of_a_file():
    found = read_limits({"format": QUALITY_FORMAT, "limits": {"low_presence": None, "unstable_mask": 0.5}})
    assert found == QualityLimits(low_presence=None, unstable_mask=0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"limits": {}}, "has format None"),
        ({"format": 99, "limits": {}}, "has format 99, this version reads 1"),
        ({"format": 1}, "quality.json: "),
        ({"format": 1, "limits": {"blur": 1.0}}, "blur: Extra inputs"),
        ({"format": 1, "limits": {"cut_off": "much"}}, "cut_off: "),
    ],
)
def test_limits_that_cannot_be_used_are_refused(untrained: Model, content: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        Reconstructor(replace(untrained, quality=content))


def test_a_model_folder_keeps_its_limits_and_may_have_none(untrained: Model, tmp_path):
    quality = {"format": QUALITY_FORMAT, "model_version": "test", "limits": {"cut_off": 0.3}}
    models.save(tmp_path / "calibrated", replace(untrained, quality=quality))
    models.save(tmp_path / "older", untrained)
    calibrated, older = (models.load(tmp_path / name) for name in ("calibrated", "older"))
    assert calibrated.quality == quality
    assert older.quality is None
    assert not (tmp_path / "older" / "quality.json").exists()
    assert model_limits(calibrated) == QualityLimits(cut_off=0.3)
    assert model_limits(older) == QualityLimits()


def test_the_flags_of_a_result_are_by_the_limits_of_its_model_or_of_the_settings(untrained: Model, portrait):
    box = (174.0, 65.0, 100.0, 100.0)
    strict = replace(untrained, quality={"format": QUALITY_FORMAT, "limits": {"extreme_pose": -1.0}})
    ((face, arrays),) = Reconstructor(strict).reconstruct(portrait, box=box, refine=0)
    assert "extreme_pose" in face.quality
    assert arrays.measures is not None
    assert face.quality == quality_flags(arrays.measures, model_limits(strict))
    settings = ReconstructionSettings(quality=QualityLimits())
    ((face, _),) = Reconstructor(strict, settings=settings).reconstruct(portrait, box=box, refine=0)
    assert "extreme_pose" not in face.quality
