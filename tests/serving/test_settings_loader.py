"""Settings of an endpoint: file, assignments, options, and what is refused."""

from pathlib import Path

import pytest
import yaml

from focus_ray.errors import ConfigError
from focus_ray.serving.settings import ServingSettings
from focus_ray.serving.settings_loader import load_settings

ROOT = Path(__file__).resolve().parents[2]


def test_options_win_over_assignments_over_a_file(tmp_path: Path):
    file = tmp_path / "endpoint.yaml"
    file.write_text("http: {port: 1000}\nbatching: {batch: 2}\nmodels: {most: 5}\n")
    given = {"model": "m", "prior": None, "http": {"host": None, "port": 3000}}
    settings = load_settings(file, ["http.port=2000", "batching.batch=3"], given)
    assert (settings.http.port, settings.batching.batch, settings.models.most) == (3000, 3, 5)
    assert (settings.model, settings.http.host) == ("m", "127.0.0.1")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("batching.size=3", "no key 'batching.size'"),
        ("http.port=99999", "http.port"),
        ("models.least=9", "lower least"),
        ("detector=yolo", "detector"),
    ],
)
def test_what_does_not_fit_is_refused(assignment: str, words: str):
    with pytest.raises(ConfigError, match=words):
        load_settings(None, [assignment], {})


def test_the_configuration_for_serve_deploy_resolves():
    (application,) = yaml.safe_load((ROOT / "serve" / "config.yaml").read_text())["applications"]
    tree = application["args"]
    settings = ServingSettings.model_validate(tree)
    assert settings == ServingSettings()
    assert application["import_path"] == "serve.app:application"
