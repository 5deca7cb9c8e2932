"""What a sweep reads of Ray Tune's tables."""

import math

import pandas
import pytest

from focus_ray.training.run_folder import RunFolder
from focus_ray.tuning import sweep
from focus_ray.tuning.search import Search
from focus_ray.tuning.sweep import Sweep, evaluations


def test_evaluations_are_told_once_by_step():
    table = pandas.DataFrame(
        {
            "step": [4, 8, 4, 8, -1],  # it went on from before, and then broke
            "objective": [0.3, 0.9, 0.3, 0.2, 10.0],
            "unlabelled": [0.3, 0.9, 0.3, 0.2, math.nan],
            "f1": [0.5, 0.6, 0.5, 0.7, math.nan],
        }
    )
    found = evaluations(table)
    assert [one.step for one in found] == [4, 8]
    assert found[1].figures["unlabelled"] == 0.2
    assert found[1].figures["f1"] == 0.7
    assert found[1].figures["vertex_mm"] is None


def test_a_trial_that_told_nothing_has_none():
    assert evaluations(None) == ()
    assert evaluations(pandas.DataFrame({"done": [True]})) == ()


@pytest.mark.parametrize(("eta", "folders"), [(4.0, ["default-3"]), (2.0, ["default-3", "best-3"])])
def test_a_best_that_is_the_default_is_not_trained_twice(eta, folders, tiny: Search, tmp_path, monkeypatch):
    search = tiny.model_copy(update={"judging": tiny.judging.model_copy(update={"seeds": (3,)})})
    assert search.parameters.default(search.trial_config({}, None))["em.segmentation.eta_bin"] == 4.0
    judge = Sweep(search, RunFolder(tmp_path), "focus", lambda *_: None, lambda _: None)
    trained: list[str] = []
    monkeypatch.setattr(judge, "trained", lambda trainings, _: trained.extend(one.folder.name for one in trainings))
    monkeypatch.setattr(sweep, "figures_of_run", lambda folder: {"f1": 0.8})
    judged = judge.judged({"em.segmentation.eta_bin": eta}, None)
    assert trained == folders
    assert [(one.which, one.seed) for one in judged] == [("default", 3), ("best", 3)]
