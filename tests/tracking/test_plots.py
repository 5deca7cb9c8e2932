"""Plots: what is drawn, and that nothing is drawn across other phases."""

import numpy as np
from PIL import Image

from focus_ray.tracking import plots


def line(step, phase, **losses):
    return {"step": step, "phase": phase, "loss": losses, "mask_mean": None}


HISTORY = [
    *(line(step, "init", total=100.0 / (1 + step), pixel=0.5) for step in range(20)),
    *(line(step, "em_seg", total=0.1, nbr=0.2) for step in range(20, 25)),
    *(line(step, "em_face", total=0.1, pixel=0.3) for step in range(25, 40)),
    *(line(step, "em_seg", total=0.1, nbr=0.1) for step in range(40, 45)),
]


def test_a_panel_for_each_symbol_the_total_first():
    figure = plots.loss_curves(HISTORY)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss.total", "loss.pixel", "loss.nbr"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]


def test_the_phases_are_shaded_where_they_were():
    assert plots.phase_spans(HISTORY) == [("init", 0, 20), ("em_seg", 20, 25), ("em_face", 25, 40), ("em_seg", 40, 45)]


def test_no_line_joins_points_of_different_phases():
    figure = plots.loss_curves(HISTORY)
    assert figure is not None
    pixel = figure.axes[1].lines[0]
    x = np.asarray(pixel.get_xdata())
    gap = np.flatnonzero(np.isnan(x))
    assert x[gap - 1].tolist() == [19.0]
    assert x[gap + 1].tolist() == [25.0]


def test_losses_that_are_not_finite_leave_a_hole():
    history = [line(step, "init", total=None if step == 3 else 1.0) for step in range(200)]
    figure = plots.loss_curves(history)
    assert figure is not None
    raw, smooth = figure.axes[0].lines
    assert np.isnan(np.asarray(raw.get_ydata(), dtype=float)).sum() == 1
    assert np.isfinite(np.asarray(smooth.get_ydata(), dtype=float)).all()


def test_nothing_to_draw_is_none():
    assert plots.loss_curves([]) is None
    assert plots.loss_curves([line(0, "em_seg")]) is None
    assert plots.mask_coverage(HISTORY, 0.02, 0.98) is None
    assert plots.figures_over_time([{"step": 1}], {"heldout.f1": "F1"}) is None


def test_long_histories_stay_small():
    history = [line(step, "init", total=1.0) for step in range(50_000)]
    figure = plots.loss_curves(history)
    assert figure is not None
    assert all(len(curve.get_xdata()) <= 2 * plots.MAX_POINTS for curve in figure.axes[0].lines)


def test_a_running_median_ignores_spikes_and_nan():
    values = np.ones(50)
    values[10], values[20] = 100.0, np.nan
    assert np.array_equal(plots.running_median(values, 5), np.ones(50))


def test_a_figure_becomes_a_picture(tmp_path):
    figure = plots.loss_curves(HISTORY)
    assert figure is not None
    (tmp_path / "plot.png").write_bytes(plots.png(figure))
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 1000
