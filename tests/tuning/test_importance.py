"""Importance: the parameter that rules is told from the one that does nothing."""

from focus_ray.tuning.importance import parameter_importance
from focus_ray.tuning.search import SearchConfig
from tests.tuning.conftest import trials_of


def test_who_rules(tiny: SearchConfig):
    found = parameter_importance(trials_of(24), tiny.space, "min")
    assert found["em.segmentation.eta_bin"] > 0.8
    assert abs(sum(found.values()) - 1) < 1e-6


def test_too_little_to_say_anything(tiny: SearchConfig):
    assert parameter_importance(trials_of(3), tiny.space, "min") == {}
    same = [one.model_copy(update={"objective": 1.0}) for one in trials_of(8)]
    assert parameter_importance(same, tiny.space, "min") == {}
    fixed = [one.model_copy(update={"config": trials_of(1)[0].config}) for one in trials_of(8)]
    assert parameter_importance(fixed, tiny.space, "min") == {}
