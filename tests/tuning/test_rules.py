"""Search files in Ray Tune's terms."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from focus_ray.tuning import rules
from focus_ray.tuning.search import SearchConfig
from focus_ray.tuning.trial import Plan
from tests.tuning.conftest import TINY


def plan(**changes) -> Plan:
    return Plan(SearchConfig.model_validate(TINY | changes), Path(), None, "focus", None)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("none", "FIFOScheduler"),
        ("asha", "AsyncHyperBandScheduler"),
        ("median", "MedianStoppingRule"),
        ("pbt", "PopulationBasedTraining"),
    ],
)
def test_schedulers(kind: str, name: str):
    assert type(rules.build_scheduler(plan(scheduler={"kind": kind}))).__name__ == name


def test_searchers():
    assert type(rules.build_searcher(plan())).__name__ == "BasicVariantGenerator"
    assert set(rules.param_space(plan().search)) == set(TINY["space"])
    informed = plan(searcher="tpe")
    assert type(rules.build_searcher(informed)).__name__ == "OptunaSearch"
    assert rules.param_space(informed.search) == {}
    grid = plan(searcher="grid", space={"initialise.xi": {"values": [0.05, 0.1]}})
    assert rules.param_space(grid.search) == {"initialise.xi": {"grid_search": [0.05, 0.1]}}


def test_a_population_begins_with_points_of_its_seed():
    search = plan(scheduler={"kind": "pbt"}).search
    assert set(rules.param_space(search)) == set(TINY["space"])


def test_the_same_seed_draws_the_same_points():
    def drawn() -> list[dict]:
        searcher = rules.build_searcher(plan(searcher="tpe"))
        return [searcher.suggest(str(number)) for number in range(4)]

    first = drawn()
    assert first == drawn()
    assert all(1 <= point["em.segmentation.eta_bin"] <= 16 for point in first)


def test_population_based_training_stays_inside_the_space():
    space = {
        "em.segmentation.eta_bin": {"low": 1, "high": 16, "log": True},
        "batch_size": {"low": 2, "high": 4, "integer": True},
        "initialise.xi": {"values": [0.05, 0.1]},
    }
    scheduler = rules.build_scheduler(plan(space=space, scheduler={"kind": "pbt"}))
    point = {"em.segmentation.eta_bin": 15.9, "batch_size": 4, "initialise.xi": 0.1}
    for _ in range(50):
        explored, _ = scheduler._get_new_config(None, SimpleNamespace(config=point))
        assert 1 <= explored["em.segmentation.eta_bin"] <= 16
        assert explored["batch_size"] in (2, 3, 4)
        assert explored["initialise.xi"] in (0.05, 0.1)
