"""The plots of a sweep can be drawn from whatever became of it."""

import pytest

from focus_ray.tracking.plots import png
from focus_ray.tuning import sweep_plots
from focus_ray.tuning.results import SweepResults
from focus_ray.tuning.search import SearchConfig

DRAWN = [
    sweep_plots.parallel_coordinates,
    sweep_plots.objective_vs_parameters,
    sweep_plots.learning_curves,
    sweep_plots.importance_bars,
    sweep_plots.objective_agreement,
]


@pytest.mark.parametrize("draw", DRAWN)
def test_it_is_drawn(draw, tiny: SearchConfig, results: SweepResults):
    figure = draw(tiny, results)
    assert figure is not None
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", DRAWN)
def test_where_no_trial_came_to_anything(draw, tiny: SearchConfig, results: SweepResults):
    trials = [one.model_copy(update={"status": "failed", "objective": None, "curve": ()}) for one in results.trials]
    nothing = results.model_copy(update={"trials": tuple(trials), "best": None, "importance": {}})
    assert draw(tiny, nothing) is None
