"""Limits on made-up cases, the two halves of the persons, and the command from composites to a model folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from focus_ray import cli
from focus_ray import model as models
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.by_name import DetectorSpec, resolve_detector
from focus_ray.evaluation.calibration.calibrate import (
    CalibrationSettings,
    calibrate,
    case_weights,
    choose_quality_limits,
    flag_table,
    split_by_person,
)
from focus_ray.evaluation.calibration.scoring import ScoredCases, WrongFit
from focus_ray.inference.quality import QualityLimits, QualityMeasures, model_limits
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.storage.manifest import verify_artifact
from tests.evaluation.calibration.composites import TrueFaces, write_small_composites

USUAL = QualityMeasures(
    crop_scale=0.5,
    outside=0.0,
    occlusion=0.1,
    yaw=0.0,
    pitch=0.0,
    first_residual=20.0,
    residual=10.0,
    landmark_distance=0.02,
    first_landmark_distance=0.03,
    presence=0.99,
    mask_change=0.1,
)


def made_up_cases() -> ScoredCases:
    """Cases of 50 persons; wrong fits have landmarks at a distance of at least 0.2, wrong masks changed by 2 or more.

    One in ten detected faces is a wrong fit, and one in five has a wrong mask; the right ones are below half of that.
    All displaced ones are wrong. A high residual means nothing.
    """
    rng = np.random.default_rng(0)
    kinds, persons, measures, nme, covered, iou = [], [], [], [], [], []
    for index in range(250):
        detected = index < 200
        wrong = not detected or index % 10 == 0
        bad_mask = detected and index % 5 == 1
        measures.append(
            replace(
                USUAL,
                landmark_distance=rng.uniform(0.2, 0.4) if wrong else rng.uniform(0.0, 0.1),
                mask_change=rng.uniform(2.0, 4.0) if bad_mask else rng.uniform(0.0, 1.0),
                residual=rng.uniform(0.0, 40.0),
            )
        )
        kinds.append("detected" if detected else "displaced_landmarks")
        persons.append(f"person {index % 50}")
        nme.append(0.3 if wrong else 0.03)
        covered.append(0.3)
        iou.append(0.1 if bad_mask else 0.8)
    columns = {"nme": np.array(nme), "covered": np.array(covered), "outlier_iou": np.array(iou)}
    return ScoredCases(kinds, persons, measures, **columns, composites=200, found=200)


def test_the_known_limits_are_found():
    cases = made_up_cases()
    limits = choose_quality_limits(cases)
    assert limits.landmarks_disagree is not None
    assert 0.09 < limits.landmarks_disagree < 0.21
    assert limits.unstable_mask is not None
    assert 0.95 < limits.unstable_mask < 2.05
    # Of what the default of 30 flags, less than half is wrong.
    assert limits.high_residual == cases.values("residual")[~cases.wrong_geometry(WrongFit())].max()
    assert limits.poor_first_fit == QualityLimits().poor_first_fit  # it flags nothing
    assert limits.small_face == QualityLimits().small_face
    table = flag_table(cases, limits)
    settings = CalibrationSettings()
    assert table["landmarks_disagree"].tolist() == cases.wrong_geometry(settings.wrong).tolist()
    assert not (table["high_residual"] & ~cases.wrong_geometry(settings.wrong)).any()
    assert table["unstable_mask"].tolist() == cases.wrong_mask(settings.wrong).tolist()


def test_all_cases_but_the_detected_ones_have_a_share_of_the_weight():
    cases = made_up_cases()
    weights = case_weights(cases, CalibrationSettings(perturbed_share=0.2))
    assert (weights[:200] == 1).all()
    assert weights[200:].sum() / weights.sum() == pytest.approx(0.2)
    only = cases.select(cases.detected)
    assert (case_weights(only, CalibrationSettings()) == 1).all()


def test_no_person_is_in_both_halves():
    cases = made_up_cases()
    first, second = split_by_person(cases)
    assert not set(first.persons) & set(second.persons)
    assert len(set(first.persons)) == len(set(second.persons)) == 25
    assert len(first) + len(second) == len(cases)


@pytest.fixture
def true_faces(composites: CompositeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector of any name finds the true faces of the composites."""
    monkeypatch.setattr(DetectorSpec, "build", lambda spec: TrueFaces(composites))


@pytest.mark.slow
@pytest.mark.usefixtures("true_faces")
def test_from_composites_to_the_limits_of_a_model_folder(composites: CompositeFolder, tmp_path: Path, capsys):
    model = tmp_path / "model"
    shutil.copytree(SHIPPED_MODELS["embedded"], model)
    before = models.load(model)
    options = ("--model", model, "--out", tmp_path / "quality.json", "--refine", 4, "--detector", "haar", "--store")
    arguments = ("model", "calibrate", composites.folder, *options, "--json")
    assert cli.main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert result == json.loads((tmp_path / "quality.json").read_text())
    assert result["model_version"] == before.version
    found = result["calibration"]
    assert found["refine_steps"] == 4
    assert found["chosen_on"]["persons"] + found["reported_on"]["persons"] == 4
    assert found["reported_on"]["geometry"]["all"]["cases"] == found["reported_on"]["cases"]
    assert str(tmp_path) not in (tmp_path / "quality.json").read_text()
    assert "wrong geometry" in printed
    verify_artifact(model, "model")
    after = models.load(model)
    assert after.quality == result
    assert model_limits(after) == QualityLimits.model_validate(result["limits"])
    assert after.version == before.version


def test_the_two_folders_show_different_persons(composites: CompositeFolder, tmp_path: Path, capsys):
    again = write_small_composites(tmp_path, 4, seed=1)
    arguments = ("model", "calibrate", str(composites.folder), "--report", str(again.folder), "--detector", "haar")
    assert cli.main([*arguments, "--out", str(tmp_path / "quality.json")]) == 2
    assert "persons in common" in capsys.readouterr().err
    assert not (tmp_path / "quality.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("true_faces")
def test_composites_of_other_persons_to_report_on(composites: CompositeFolder, tmp_path: Path):
    again = write_small_composites(tmp_path, 4, seed=1)
    text = (again.folder / "composites.csv").read_text()
    (again.folder / "composites.csv").write_text(text.replace(",anna_", ",other_").replace(",bert", ",another"))
    stages = []
    result = calibrate(
        composites.folder,
        None,
        None,
        report=again.folder,
        detector=resolve_detector("haar"),
        refine_steps=0,
        progress=lambda name, done, total: stages.append((name, done, total)),
    )
    assert stages[0] == ("fitting", 1, 8)
    assert stages[-1] == ("reporting", 4, 4)
    assert result["calibration"]["chosen_on"]["composites"] == 8
    assert result["calibration"]["reported_on"]["composites"] == 4
