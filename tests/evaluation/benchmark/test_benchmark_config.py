"""What a benchmark is asked for."""

import pytest

from focus_ray.errors import ConfigError
from focus_ray.evaluation.benchmark.benchmark_config import BenchmarkConfig, build_benchmark_config
from focus_ray.evaluation.benchmark.method_specs import METHOD_SPECS, MISFIT, TRAINED_MODELS, required_models
from focus_ray.presets import PRESETS


def test_every_model_is_a_preset_or_the_preset_itself():
    assert set(TRAINED_MODELS) - {"focus"} <= set(PRESETS)


def test_only_what_is_needed_is_trained():
    assert required_models(("MoFA", "FOCUS")) == ("pretrained", "mofa", "focus")
    assert required_models(("FOCUS-MP",)) == ("pretrained", "focus", MISFIT)
    assert set(required_models(tuple(METHOD_SPECS))) == set(TRAINED_MODELS)


def test_the_methods_of_the_claims_have_all_seeds_and_the_others_the_first():
    config = BenchmarkConfig(seeds=(4, 5, 6))
    assert config.seeds_for("focus") == config.seeds_for("mofa") == config.seeds_for("pretrained") == (4, 5, 6)
    assert config.seeds_for("backbone-cutmix") == (4,)


@pytest.mark.parametrize(
    ("given", "assignments", "says"),
    [
        ({"methods": ["Mofa"]}, [], "there is no method Mofa"),
        ({"seeds": [0, 0]}, [], "each once"),
        ({"seeds": []}, [], "at least one seed"),
        ({"steps": 0.0}, [], "greater than 0"),
        ({}, ["data.now=3"], "greater than or equal to 16"),
        ({}, ["dat.now=3"], "there is no key 'dat'"),
        ({}, ["several=[x]"], "there is no model x"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(given, assignments, says):
    with pytest.raises(ConfigError, match=says):
        build_benchmark_config(assignments, given)


def test_keys_are_laid_over_the_defaults():
    config = build_benchmark_config(["data.ar=24", "refine_steps=0"], {"seeds": [1]})
    assert (config.data.ar, config.data.now, config.seeds) == (24, 96, (1,))
    assert config.refinements() == (0,)
