"""What a worker knows besides the run: its face model, its gauges, and how errors are told."""

from types import SimpleNamespace

import pytest

from focus_ray.errors import MaskCollapse
from focus_ray.training import worker
from focus_ray.training.worker import RayMetricsCallback, load_face_model, report_failure


def test_the_face_arrives_as_it_was_sent(ellipsoid_face):
    assert load_face_model(ellipsoid_face.to_bytes()).digest == ellipsoid_face.digest


def test_an_error_is_told_by_its_name(channel):
    with worker.event_sender(channel) as sender:
        report_failure(sender, MaskCollapse("all face; raise the area weight"))
    assert channel.take.remote(0.0).result(10) == [(worker.FAILED, ("MaskCollapse", "all face; raise the area weight"))]


@pytest.fixture
def shown(monkeypatch) -> dict:
    """The gauges by name, with the value and the tags that they were set to last."""
    shown: dict = {}

    def gauge(name: str, description: str, tag_keys: tuple[str, ...] = ()) -> SimpleNamespace:
        assert description
        return SimpleNamespace(set=lambda value, tags=None: shown.update({name: (value, tags)}))

    monkeypatch.setattr(worker, "Gauge", gauge)
    return shown


def test_gauges_show_the_last_step(shown, record_of):
    gauges = RayMetricsCallback()
    gauges.on_step_end(record_of(6, losses={"nbr": 1.0, "total": 2.5}, mask_mean=0.75))
    assert shown == {
        "focus_ray_step": (7, None),
        "focus_ray_images_per_second": (16.0, None),
        "focus_ray_busy_share": (pytest.approx(0.8), None),
        "focus_ray_loss": (2.5, {"phase": "em_seg"}),
        "focus_ray_mask_mean": (0.75, None),
    }
    gauges.on_step_end(record_of(7, losses={}, mask_mean=None))  # a resting segmenter has no loss
    assert shown["focus_ray_step"] == (8, None)
    assert shown["focus_ray_loss"] == (2.5, {"phase": "em_seg"})
