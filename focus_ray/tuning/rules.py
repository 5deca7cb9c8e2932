"""Searchers and schedulers of Ray Tune from a search file."""

from functools import partial
from typing import Any

from focus_ray.tuning.search import SearchConfig
from focus_ray.tuning.space import Point, Space
from focus_ray.tuning.trial import OBJECTIVE, STEP, Plan


def param_space(search: SearchConfig) -> dict[str, Any]:
    """Return the space as Ray Tune domains; empty for tpe, whose searcher holds the space itself.

    Population based training begins with points drawn from these domains.
    """
    if search.searcher == "tpe":
        return {}
    return {name: parameter.domain(grid=search.searcher == "grid") for name, parameter in search.space.items()}


def build_searcher(plan: Plan) -> Any:
    """Build the Ray Tune searcher of a sweep."""
    from ray.tune.search import BasicVariantGenerator
    from ray.tune.search.optuna import OptunaSearch

    search = plan.search
    if search.searcher != "tpe":
        return BasicVariantGenerator(random_state=search.seed)
    domains = {name: parameter.domain() for name, parameter in search.space.items()}
    return OptunaSearch(domains, metric=OBJECTIVE, mode=plan.objective.mode, seed=search.seed)


def build_scheduler(plan: Plan) -> Any:
    """Build the Ray Tune scheduler that stops trials early, by training steps."""
    from ray.tune.schedulers import (
        AsyncHyperBandScheduler,
        FIFOScheduler,
        MedianStoppingRule,
        PopulationBasedTraining,
    )

    search, settings = plan.search, plan.search.scheduler
    length = search.trial_config({}, None).schedule.total_steps
    grace = max(1, round(settings.grace * length))
    if settings.kind == "asha":
        # One step more than a trial has, so that a trial that is not pruned finishes and writes its model.
        return AsyncHyperBandScheduler(
            time_attr=STEP, max_t=length + 1, grace_period=grace, reduction_factor=settings.reduction
        )
    if settings.kind == "median":
        return MedianStoppingRule(time_attr=STEP, grace_period=grace, min_samples_required=3)
    if settings.kind == "pbt":
        return PopulationBasedTraining(
            time_attr=STEP,
            perturbation_interval=max(1, round(settings.interval * length)),
            burn_in_period=grace,
            # Tune moves to a neighbouring value in a list; a `choice` would be multiplied and leave the list.
            hyperparam_mutations={
                name: parameter.domain() if parameter.values is None else list(parameter.values)
                for name, parameter in search.space.items()
            },
            custom_explore_fn=partial(within, search.parameters),
        )
    return FIFOScheduler()


def within(space: Space, point: Point) -> Point:
    """Clamp a point, which population based training made by multiplication, to the ranges of the space."""
    return {name: space.parameters[name].clamp(value) for name, value in point.items()}
