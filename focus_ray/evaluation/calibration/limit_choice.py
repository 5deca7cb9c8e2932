"""Choice of limits: a few measures, each with one limit, that together flag wrong fits and few of the right ones."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

_CANDIDATES = 400  # limits that are tried for a measure
_DIGITS = 3  # significant ones of a limit
_LEAST_GAIN = 0.005  # of F1, by a further measure
_LEAST_CASES = 3  # wrong fits that only this measure flags
_ROUNDS = 10  # most rounds in which each limit is chosen anew


class FlagScores(NamedTuple):
    """Precision, recall and F1 of flags; 0 where nothing is flagged or wrong."""

    precision: float
    recall: float
    f1: float


def score_flags(
    flagged: Bool[np.ndarray, " N"], wrong: Bool[np.ndarray, " N"], weights: Float[np.ndarray, " N"]
) -> FlagScores:
    """Compare flags with what is wrong.

    Args:
        flagged: whether each case has a flag.
        wrong: whether each case is wrong.
        weights: weight of each case.
    """
    hit, raised, all_wrong = (float(weights[members].sum()) for members in (flagged & wrong, flagged, wrong))
    precision = hit / raised if raised else 0.0
    recall = hit / all_wrong if all_wrong else 0.0
    return FlagScores(precision, recall, 2 * hit / (raised + all_wrong) if raised + all_wrong else 0.0)


def choose_limits(
    values: Float[np.ndarray, "N K"],
    wrong: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, " N"],
    least_precision: float,
) -> list[float | None]:
    """Choose a limit for each measure, so that F1 of "beyond any limit" is large.

    Measures are added one by one, each time the one, with its limit, that raises F1 most while the precision of all
    together is at least `least_precision`. Then each limit is chosen anew beside the others, until none changes. A
    measure that flags fewer than 3 wrong fits that no other one flags, or raises F1 by less than 0.005, gets no limit.

    Args:
        values: measures of the cases; a case is flagged where a value is above its limit. NaN: not known.
        wrong: whether each case is wrong.
        weights: weight of each case.
        least_precision: smallest precision that is allowed.

    Returns:
        The limit of each measure; None: it has none.
    """
    candidates = [_candidates(column) for column in values.T]
    chosen: dict[int, float] = {}
    while True:
        best = max(
            (
                _best_limit(values, wrong, weights, least_precision, chosen, measure, candidates[measure])
                for measure in range(values.shape[1])
                if measure not in chosen
            ),
            key=lambda found: found[0],
            default=(0.0, 0, None),
        )
        before = score_flags(beyond(values, chosen), wrong, weights).f1
        if best[2] is None or best[0] < before + _LEAST_GAIN:
            break
        chosen[best[1]] = best[2]
    for _ in range(_ROUNDS):
        earlier = dict(chosen)
        for measure in list(chosen):
            others = {key: limit for key, limit in chosen.items() if key != measure}
            _, _, limit = _best_limit(values, wrong, weights, least_precision, others, measure, candidates[measure])
            chosen[measure] = chosen[measure] if limit is None else limit
        if chosen == earlier:
            break
    return [chosen.get(measure) for measure in range(values.shape[1])]


def beyond(values: Float[np.ndarray, "N K"], limits: dict[int, float]) -> Bool[np.ndarray, " N"]:
    """Return whether any of some measures is above its limit.

    Args:
        values: measures of the cases; NaN: not known.
        limits: limit by number of the measure.
    """
    flagged = np.zeros(len(values), dtype=bool)
    for measure, limit in limits.items():
        flagged |= values[:, measure] > limit
    return flagged


def _best_limit(
    values: Float[np.ndarray, "N K"],
    wrong: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, " N"],
    least_precision: float,
    others: dict[int, float],
    measure: int,
    candidates: list[float],
) -> tuple[float, int, float | None]:
    """Return (F1, measure, limit) of the best limit beside the others; no limit if none is allowed."""
    flagged = beyond(values, others)
    best: tuple[float, int, float | None] = (0.0, measure, None)
    for limit in candidates:
        raised = values[:, measure] > limit
        if int((raised & wrong & ~flagged).sum()) < _LEAST_CASES:
            continue
        scores = score_flags(flagged | raised, wrong, weights)
        if scores.precision >= least_precision and scores.f1 > best[0]:
            best = (scores.f1, measure, limit)
    return best


def _candidates(values: Float[np.ndarray, " N"]) -> list[float]:
    """Return limits between the values of a measure, rounded, at most _CANDIDATES of them."""
    known = np.unique(values[np.isfinite(values)])
    between = (known[1:] + known[:-1]) / 2
    if len(between) > _CANDIDATES:
        between = between[np.linspace(0, len(between) - 1, _CANDIDATES).round().astype(int)]
    return sorted({float(f"{limit:.{_DIGITS}g}") for limit in between})
