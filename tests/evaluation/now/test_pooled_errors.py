"""Pooled errors."""

import numpy as np
import pytest

from focus_ray.evaluation.now.pooled_errors import CURVE_MM, PooledErrors


def errors(**pictures):
    return PooledErrors({name: np.array(values, dtype=np.float32) for name, values in pictures.items()})


def test_pooled_is_concatenated():
    rng = np.random.default_rng(0)
    pictures = {f"p{i}": rng.gamma(2, 0.6, size=n).astype(np.float32) for i, n in enumerate((10, 3000, 1))}
    found = PooledErrors(pictures).summary()
    pool = np.concatenate(list(pictures.values())).astype(np.float64)
    assert (found.pictures, found.vertices) == (3, 3011)
    assert found.median == np.median(pool)
    assert found.mean == pytest.approx(pool.mean(), rel=1e-12)
    assert found.std == pytest.approx(pool.std(), rel=1e-12)
    assert found.curve == pytest.approx([np.mean(pool <= x) for x in CURVE_MM])


def test_the_order_of_merging_does_not_count():
    a, b, c = errors(a=[1.0, 2.0]), errors(b=[3.0]), errors(c=[0.5] * 4)
    assert a.merge(b).merge(c).summary() == c.merge(b.merge(a)).summary()
    assert a.merge(a).summary() == a.summary()


def test_a_part_is_that_of_its_pictures():
    both = errors(a=[1.0, 2.0], b=[8.0])
    assert both.select({"a"}).summary() == errors(a=[1.0, 2.0]).summary()
    assert both.summary().curve[-1] == pytest.approx(2 / 3)


def test_nothing_has_no_figures():
    found = PooledErrors().summary()
    assert (found.pictures, found.vertices, found.median, found.curve) == (0, 0, None, ())
