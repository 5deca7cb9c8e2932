"""Names and values within MLflow's limits, whatever a configuration or a metric is called."""

import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.tracking import mlflow_keys
from focus_ray.tracking.mlflow_keys import flatten_params, numeric_leaves, safe_key

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)


def test_a_configuration_as_parameters():
    tree = {"a": {"b": {"c": 1.5}, "empty": {}}, "flag": True, "none": None, "list": [1, [2, None]], "text": "φ"}
    assert flatten_params(tree) == {
        "a.b.c": "1.5",
        "a.empty": "{}",
        "flag": "true",
        "none": "null",
        "list": "[1, [2, null]]",
        "text": "φ",
    }
    assert flatten_params({"odd": "a\0b\ud800"}) == {"odd": "a?b?"}
    assert flatten_params({"empty": "", "long": "z" * 6000, "longer": "z" * 6001}) == {
        "empty": '""',
        "long": "z" * 6000,
        "longer": "z" * 5997 + "...",
    }


def test_numbers_become_figures_and_what_is_not_finite_is_counted():
    tree = {
        "a": {"b": 1, "nan": math.nan, "huge": 10**400},
        "list": [1, 2],
        "none": None,
        "flag": True,
        "text": "1",
        "inf": -math.inf,
    }
    assert numeric_leaves(tree, "eval/") == ({"eval/a/b": 1.0}, 3)


@pytest.mark.parametrize("key", ["train/loss/total", "seconds/waiting for data", "a.b-c_d", "x" * 250])
def test_ordinary_keys_stay(key):
    assert safe_key(key) == key


@pytest.mark.parametrize(
    "key", ["ξ", "a//b", "/a", "a/", "../x", "..0", ".", "", "a:b", "x" * 251, " a", "a\nb", "\ud800"]
)
def test_other_keys_become_safe_and_stay_apart(key):
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    safe = safe_key(key)
    _validate_metric_name(safe)
    _validate_param_name(safe)
    assert len(safe) <= mlflow_keys.MAX_KEY
    assert set(safe) <= set(string.ascii_letters + string.digits + "_.- /")
    assert safe != key
    assert safe != safe_key(key + "'")


@given(st.dictionaries(st.text(max_size=300), VALUES, max_size=5))
def test_any_tree_is_taken(tree):
    from mlflow.entities import Metric, Param
    from mlflow.utils.validation import _validate_batch_log_data

    found = numeric_leaves(tree)
    metrics = [Metric(key, value, 1, 1) for key, value in found.figures.items()]
    params = [Param(key, value) for key, value in flatten_params(tree).items()]
    _validate_batch_log_data(metrics, params, [])
    assert all(math.isfinite(value) for value in found.figures.values())
