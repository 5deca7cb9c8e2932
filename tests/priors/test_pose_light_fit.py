"""Laws fitted to fits: those that faces were drawn from are found again, as keys that both commands take."""

import pytest
import torch
import yaml

from focus_ray.errors import DataError
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta
from focus_ray.priors import pose_light_fit as module
from focus_ray.priors.pose_light_fit import fit_distributions, fit_to_pictures
from focus_ray.priors.prior_config import build_prior_config

LAWS = SamplingDistributions(
    pitch=0.1,
    yaw=0.5,
    roll=0.05,
    rotation_mean=(0.2, -0.1, 0.0),
    translation_xy=2.0,
    translation_z=10.0,
    translation_mean=(1.0, -3.0, 20.0),
    ambient=2.0,
    ambient_spread=0.2,
    colour_spread=0.05,
    from_above=0.6,
    frontal=-0.4,
    sideways=0.3,
    second_band=(0.1, -0.2, 0.3, 0.0, 0.05),
    directional_spread=0.2,
    second_band_spread=0.05,
)


def test_the_laws_that_faces_were_drawn_from_are_found_again():
    found = fit_distributions(sample_theta(LAWS, 4000, make_generator(1)))
    for name, value in LAWS.model_dump().items():
        assert getattr(found, name) == pytest.approx(value, rel=0.1, abs=0.03 if "translation" not in name else 0.6)


def test_who_is_seen_stays_as_it_is():
    base = SamplingDistributions(identity=0.7)
    assert fit_distributions(sample_theta(LAWS, 10, make_generator(1)), base).identity == 0.7


def test_the_file_is_one_for_the_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "fit_paths", lambda *_, **__: sample_theta(LAWS, 50, make_generator(2)))
    told = fit_to_pictures([tmp_path], tmp_path / "laws.yaml")
    assert told["faces"] == 50
    tree = yaml.safe_load((tmp_path / "laws.yaml").read_text())
    config = build_prior_config(tmp_path / "laws.yaml", [], {"model": "m"})
    assert config.data.rendered.laws.model_dump(mode="json") == tree["data"]["rendered"]["laws"] == told["laws"]
    assert config.data.rendered.laws.yaw == pytest.approx(0.5, rel=0.3)


def test_a_few_faces_say_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "fit_paths", lambda *_, **__: torch.zeros(3, 257))
    with pytest.raises(DataError, match="3 faces were found, too few"):
        fit_to_pictures([tmp_path], tmp_path / "laws.yaml")
    assert not (tmp_path / "laws.yaml").exists()
