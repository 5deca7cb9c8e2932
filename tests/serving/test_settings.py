"""The settings are light: the proxies of a cluster read them too."""

import subprocess

import pytest
from pydantic import ValidationError

from focus_ray.serving.settings import ScalingSettings, ServingSettings


def test_they_survive_json():
    settings = ServingSettings()
    assert ServingSettings.model_validate_json(settings.model_dump_json()) == settings


def test_replicas_are_in_order():
    with pytest.raises(ValidationError, match="raise most or lower least"):
        ScalingSettings(least=3, most=2)


def test_nothing_heavy_is_imported(python: str, python_environment: dict[str, str]):
    code = (
        "import sys, focus_ray.serving.settings, focus_ray.serving.problems, focus_ray.serving.admission\n"
        "print(sorted({'torch', 'cv2', 'ray', 'mlflow', 'fastapi'} & sys.modules.keys()))"
    )
    said = subprocess.run(
        [python, "-c", code], env=python_environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "[]"
