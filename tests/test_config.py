"""The configuration refuses what no run can use, and says where it stands."""

import pytest

from focus_ray import presets
from focus_ray.config import parse_assignment, read_yaml
from focus_ray.errors import ConfigError


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (f"seed={2**63}", "seed: "),
        (f"heldout.seed={2**63}", "heldout.seed: "),
        ("face.world_modes=[120, -1, 120]", "face.world_modes.1: "),
        ("face.world_modes=[120, 63, 120]", "face.world_modes: .*at least the"),
        ("preset=paper", "the preset is 'embedded', not 'paper'; choose it with --preset"),
        ("model.segmenter.levels=9", "model.segmenter.levels: "),
        ("model.segmenter={width: 1024, levels: 8}", "model.segmenter: .*131072 channels"),
        ("model.encoder.width=2000", "model.encoder.width: "),
        ("model.camera.image_size=8", "image_size 8 is outside 16 to 1024 px"),
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
