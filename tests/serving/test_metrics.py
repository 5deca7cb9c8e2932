"""What is measured is listed once; a misspelt figure is an error before anybody looks for it on a dashboard."""

import re
import subprocess

import pytest

from focus_ray.serving.metrics import METRICS, Meters, NoMeters, RayMeters


def test_names_and_labels_are_those_that_prometheus_takes():
    for name, metric in METRICS.items():
        assert re.fullmatch(r"focus_[a-z_]+[a-z]", name), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name  # Prometheus adds these
        assert all(re.fullmatch(r"[a-z_]+", label) and label not in ("le", "node") for label in metric.labels)
        assert metric.description[0].isupper()
        assert (metric.kind == "histogram") == bool(metric.bounds)
        assert list(metric.bounds) == sorted({*metric.bounds})
        assert all(bound > 0 for bound in metric.bounds)  # Ray refuses others


@pytest.mark.parametrize("meters", [NoMeters(), RayMeters()])
def test_a_misspelt_figure_is_refused(meters: Meters):
    with pytest.raises(KeyError):
        meters.count("focus_request", route="/", status="200")
    with pytest.raises(KeyError, match="focus_requests is a counter with labels route, status"):
        meters.count("focus_requests", route="/")
    with pytest.raises(KeyError, match="focus_rejections is a counter with labels reason"):
        meters.observe("focus_rejections", 1.0, reason="busy")
    with pytest.raises(KeyError, match="focus_in_flight is a gauge with labels none"):
        meters.set("focus_in_flight", 1.0, route="/")


def test_where_nobody_looks_nothing_happens():
    meters = NoMeters()
    meters.count("focus_requests", route="/healthz", status="200")
    meters.observe("focus_faces", 2)
    meters.set("focus_model_info", 1, version="v", registered="")


LIGHT = """
import sys
from focus_ray.serving.metrics import NoMeters, RayMeters
NoMeters().count("focus_requests", route="/", status="200")
RayMeters()
print({"ray", "torch", "prometheus_client"} & {*sys.modules})
"""


def test_a_process_without_ray_does_not_load_it(python: str, python_environment: dict[str, str]):
    result = subprocess.run([python, "-c", LIGHT], env=python_environment, capture_output=True, text=True, timeout=60)
    assert result.stdout == "set()\n", result.stderr
