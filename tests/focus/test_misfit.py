"""E_MP of Eq. 11: nothing for a perfect estimator, d for one that is off by d, and a state that merges."""

import pytest
import torch

from focus_ray.focus.misfit import (
    READINGS,
    MisfitStats,
    correct_vertices,
    misfit,
    misfit_readings,
    root_mean_square,
    vertex_regions,
)
from focus_ray.focus.parameters import join_theta, split_theta
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, sample_theta
from focus_ray.numerics.statistics import merge_tree


@pytest.fixture(scope="module")
def theta() -> torch.Tensor:
    return sample_theta(SamplingDistributions(), 6, make_generator(4))


def test_a_perfect_estimator_gives_a_prior_of_exactly_nothing(small_face, theta):
    errors = misfit_readings(small_face, theta, theta)
    state = MisfitStats.from_errors(errors, vertex_regions(small_face))
    plain, aligned = state.error.mean[:2], state.error.mean[2:]
    assert torch.equal(plain, torch.zeros_like(plain))
    assert aligned.abs().max() < 1e-10  # mm: what the alignment rounds


def test_an_estimator_that_is_off_by_d_gives_d_and_the_correction_takes_it_out(small_face, theta):
    true = small_face.vertices(split_theta(theta).alpha).double()
    d = torch.tensor([1.5, -0.25, 3.0], dtype=torch.float64)
    errors = misfit(true + d, true)[:, None]
    prior = MisfitStats.from_errors(errors, vertex_regions(small_face)).error.mean[0]
    torch.testing.assert_close(prior, d.expand_as(prior), rtol=0, atol=1e-12)
    torch.testing.assert_close(correct_vertices(true + d, prior), true, rtol=0, atol=1e-12)


def test_what_only_the_expression_gets_wrong_is_not_in_the_neutral_reading(small_face, theta):
    parts = split_theta(theta)
    other = join_theta(parts._replace(expression=parts.expression + 1))
    lengths = root_mean_square(misfit_readings(small_face, other, theta)).mean(0)
    by_reading = dict(zip(READINGS, lengths.tolist(), strict=True))
    assert by_reading["neutral"] == 0
    assert by_reading["posed"] > 0.1
    assert by_reading["posed_aligned"] < by_reading["posed"]


def test_size_and_place_do_not_count_after_alignment(small_face, theta, monkeypatch):
    from focus_ray.focus import misfit as module

    true = module.shapes(small_face, theta)
    monkeypatch.setattr(module, "shapes", lambda face, which: true if which is theta else moved)
    moved = tuple(1.1 * shape + torch.tensor([2.0, 0.0, -5.0]) for shape in true)
    errors = misfit_readings(small_face, theta + 0, theta)
    assert errors[:, :2].abs().max() > 5
    assert errors[:, 2:].abs().max() < 1e-9


def test_states_merge_to_the_state_of_all(small_face, theta):
    regions = vertex_regions(small_face)
    other = sample_theta(SamplingDistributions(), 6, make_generator(5))
    errors = misfit_readings(small_face, other, theta)
    correction = errors.mean(0)
    whole = MisfitStats.from_errors(errors, regions, correction)
    parts = merge_tree(MisfitStats.from_errors(piece, regions, correction) for piece in errors.split([1, 2, 3]))
    assert parts.count == whole.count == 6
    assert whole.error.mean.abs().max() < 1e-9  # its own mean taken out
    for name in ("error", "distance", "improved"):
        one, other_state = getattr(parts, name), getattr(whole, name)
        torch.testing.assert_close(one.mean, other_state.mean, rtol=0, atol=1e-10)
        torch.testing.assert_close(one.standard_error, other_state.standard_error, rtol=1e-9, atol=1e-10)
    before, after = whole.distance.mean[0, 0].tolist()
    assert before == pytest.approx(float(errors[:, 0].norm(dim=-1).mean()))
    assert after == pytest.approx(float((errors - correction)[:, 0].norm(dim=-1).mean()))
    assert 0 <= float(whole.improved.mean.min()) <= float(whole.improved.mean.max()) <= 1
