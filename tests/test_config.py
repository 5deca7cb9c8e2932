"""The configuration refuses what no run can use, and says where it stands."""

import pytest

from focus_ray import presets
from focus_ray.config import RunConfig, parse_assignment, read_yaml
from focus_ray.errors import ConfigError
from focus_ray.focus.em import AreaCalibration


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (f"seed={2**63}", "seed: "),
        (f"heldout.seed={2**63}", "heldout.seed: "),
        ("face.world_modes=[120, -1, 120]", "face.world_modes.1: "),
        ("face.world_modes=[120, 63, 120]", "face.world_modes: .*at least the"),
        ("preset=paper", "the preset is 'embedded', not 'paper'; leave the key out"),
        ("model.segmenter.levels=9", "model.segmenter.levels: "),
        ("model.segmenter={width: 1024, levels: 8}", "model.segmenter: .*131072 channels"),
        ("model.encoder.width=2000", "model.encoder.width: "),
        ("model.camera.image_size=8", "image_size 8 is outside 16 to 1024 px"),
        ("compute.precision=half", "compute.precision: "),
        ("compute.accumulate=0", "compute.accumulate: "),
        ("cadence.best_is=newest", "cadence.best_is: "),
        ("cadence.keep=0", "cadence.keep: "),
    ],
)
def test_values_beyond_their_bounds_are_refused(assignment, message):
    with pytest.raises(ConfigError, match=message):
        presets.load("embedded", None, [assignment])


def test_the_largest_seed_and_the_smallest_world_are_taken():
    config = presets.load("embedded", None, [f"seed={2**63 - 1}", "face.world_modes=[80, 64, 80]", "preset=embedded"])
    assert (config.seed, config.face.world_modes) == (2**63 - 1, (80, 64, 80))


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(("text", "message"), [(f"seed: {DEEP}", "nested too deep"), ("seed: 2001-99-99", "not YAML")])
def test_a_file_that_yaml_cannot_read_is_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "c.yaml")


@pytest.mark.parametrize(("value", "message"), [(DEEP, "nested too deep"), ("2001-99-99", "quote it")])
def test_a_value_that_yaml_cannot_read_is_refused(value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_assignment(f"seed={value}")
    assert len(str(caught.value)) < 200


def test_keys_of_a_part_that_is_not_set_are_laid_over_its_own_defaults():
    assert presets.load("paper").em.calibration is None
    calibration = presets.load(
        "paper", assignments=["em.calibration.factor=5", "em.calibration.low=0.1"]
    ).em.calibration
    assert calibration == AreaCalibration(factor=5, low=0.1)


def test_photographs_of_this_machine_are_found_from_every_other_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = presets.load("adapt").with_photos("faces", "faces/landmarks.csv")
    assert (config.photos, config.landmarks) == (str(tmp_path / "faces"), str(tmp_path / "faces" / "landmarks.csv"))
    config = config.with_photos(str(tmp_path), None)
    assert (config.photos, config.landmarks) == (str(tmp_path), None)


def test_photographs_in_a_store_stay_where_they_are():
    config = presets.load("adapt").with_photos("s3://bucket/faces", "s3://bucket/landmarks.csv")
    assert (config.photos, config.landmarks) == ("s3://bucket/faces", "s3://bucket/landmarks.csv")
    again = RunConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.digest == config.digest
    assert presets.load("adapt").digest != config.digest
