"""Parameters: what may be asked for, what a run makes of it, and what Ray Tune draws."""

import numpy as np
import pytest
from pydantic import ValidationError

from focus_ray import presets
from focus_ray.errors import ConfigError
from focus_ray.tuning.space import Parameter, Space


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, "give `values"),
        ({"values": [1, 2], "low": 1}, "both given"),
        ({"values": []}, "at least one value"),
        ({"values": [1, 1]}, "repeats a value"),
        ({"low": 2, "high": 1}, "below high"),
        ({"low": 0, "high": 1, "log": True}, "must be above 0"),
        ({"low": 0.5, "high": 2, "integer": True}, "must be integers"),
        ({"low": 1, "high": 2, "lgo": True}, "lgo"),
    ],
)
def test_what_is_no_parameter(given, wrong: str):
    with pytest.raises(ValidationError, match=wrong):
        Parameter.model_validate(given)


def test_a_point_changes_the_keys_it_stands_for():
    base = presets.embedded()
    space = Space(
        parameters={
            "initialise.xi": Parameter(values=(0.05,)),
            "lambda": Parameter(
                keys=("initialise.weights.lambda_lm", "em.reconstruction.lambda_lm"), low=0.001, high=0.1
            ),
        }
    )
    space.check_parameters(base)
    config = space.apply_point(base, {"initialise.xi": 0.05, "lambda": 0.02})
    assert (config.initialise.xi, config.initialise.weights.lambda_lm, config.em.reconstruction.lambda_lm) == (
        0.05,
        0.02,
        0.02,
    )
    assert space.default_point(base) == {"initialise.xi": base.initialise.xi, "lambda": 0.005}


@pytest.mark.parametrize(
    ("key", "parameter", "wrong"),
    [
        ("initialise.ix", Parameter(values=(0.1,)), "initialise.ix"),
        ("em.segmentation.eta_nbr", Parameter(low=-1, high=2), "eta_nbr"),
        ("compute.precision", Parameter(values=("float32", "double")), "precision"),
        ("initialise.xi", Parameter(keys=("nothing",), low=0, high=1), "nothing"),
    ],
)
def test_wrong_keys_and_ranges_are_named(key: str, parameter: Parameter, wrong: str):
    with pytest.raises(ConfigError, match=wrong):
        Space(parameters={key: parameter}).check_parameters(presets.embedded())


def test_yaml_s_text_for_a_small_number_is_the_number():
    assert Parameter.model_validate({"values": ["1e-5", 2, True, "float32", "nan"]}).values == (
        1e-5,
        2,
        True,
        "float32",
        "nan",
    )


def test_a_range_of_which_only_the_ends_fit_is_refused():
    for low, high in ((4, 16), (4, 4.5), (0.5, 4)):
        space = Space(parameters={"batch_size": Parameter(low=low, high=high)})
        with pytest.raises(ConfigError, match="batch_size"):
            space.check_parameters(presets.embedded())
    Space(parameters={"batch_size": Parameter(low=4, high=16, integer=True)}).check_parameters(presets.embedded())


def test_lengths_of_cycles_are_values():
    space = Space(parameters={"alternation.period": Parameter(low=90, high=180, integer=True)})
    with pytest.raises(ConfigError, match="give `values`"):
        space.check_parameters(presets.embedded())


def test_what_is_drawn_lies_in_the_range():
    random = np.random.default_rng(0)
    for parameter in (
        Parameter(values=(1, 5)),
        Parameter(low=1, high=3),
        Parameter(low=1, high=1000, log=True),
        Parameter(low=2, high=4, integer=True),
        Parameter(low=2, high=64, integer=True, log=True),
    ):
        drawn = [parameter.domain().sample(random_state=random) for _ in range(200)]
        ends = parameter.ends()
        assert min(ends) <= min(drawn) <= max(drawn) <= max(ends)
        if parameter.integer:
            assert min(drawn) == 2
            assert all(value == int(value) for value in drawn)
    drawn = Parameter(low=1, high=1000, log=True).domain().sample(size=400, random_state=random)
    halves = np.array(drawn) < 31.6
    assert 0.4 < np.mean(halves) < 0.6


def test_a_grid_has_each_value():
    assert Parameter(values=(1, 2)).domain(grid=True) == {"grid_search": [1, 2]}
