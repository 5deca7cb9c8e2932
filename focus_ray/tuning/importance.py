"""Importance of parameters: the share of the objective's variance that each one explains, by functional ANOVA."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from focus_ray.tuning.results import TrialResult
from focus_ray.tuning.space import Parameter

_MIN_TRIALS = 4  # fewer trials give no estimate


def parameter_importance(trials: Sequence[TrialResult], space: Mapping[str, Parameter], mode: str) -> dict[str, float]:
    """Compute each parameter's share of the objective's variance by functional ANOVA.

    Args:
        trials: all trials; those without a finished run do not count.
        space: the parameters by name.
        mode: direction of the objective, "min" or "max".

    Returns:
        Shares that sum to 1, the largest first; empty if too few trials finished or all results are equal.
    """
    ended = [one for one in trials if one.status == "done" and one.objective is not None]
    objectives = {one.objective for one in ended}
    varied = {name: one for name, one in space.items() if len({trial.config[name] for trial in ended}) > 1}
    if len(ended) < _MIN_TRIALS or len(objectives) < 2 or not varied:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if mode == "min" else "maximize")
    domains = {name: _optuna_distribution(parameter) for name, parameter in varied.items()}
    for one in ended:
        params = {name: one.config[name] for name in varied}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=domains, value=one.objective))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _optuna_distribution(parameter: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.values is not None:
        return CategoricalDistribution(list(parameter.values))
    low, high = parameter.ends()
    if parameter.integer:
        return IntDistribution(int(low), int(high), log=parameter.log)
    return FloatDistribution(float(low), float(high), log=parameter.log)
