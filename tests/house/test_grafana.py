"""The dashboard asks for figures that exist: ours as metrics.py lists them, Ray Serve's as its source names them."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from focus_ray.serving.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "infra" / "grafana" / "focus-ray.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
SUFFIXES = {"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}
# What Ray Serve calls them, as kinds.
SERVE = {
    "serve_deployment_queued_queries": "gauge",
    "serve_deployment_replica_healthy": "gauge",
    "serve_deployment_replica_starts": "counter",
    "serve_replica_processing_queries": "gauge",
    "serve_autoscaling_target_replicas": "gauge",
    "serve_autoscaling_total_requests": "gauge",
}


def exposed() -> dict[str, str]:
    """The names that Prometheus has, with the figure that each belongs to."""
    kinds = {name: metric.kind for name, metric in METRICS.items()} | SERVE
    return {f"ray_{name}{suffix}": name for name, kind in kinds.items() for suffix in SUFFIXES[kind]}


def asked(expression: str) -> list[str]:
    """The names of an expression."""
    return re.findall(r"\bray_\w+", expression)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_figure_exists(expression: str):
    assert asked(expression)
    assert {*asked(expression)} <= {*exposed()}
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_labels_are_those_of_the_figure(expression: str):
    used = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", group)}
    used |= set(re.findall(r'(\w+)(?:=|!=|=~|!~)"', expression))
    names = {exposed()[name] for name in asked(expression)}
    known = {"le"} | {label for name in names if name in METRICS for label in METRICS[name].labels}
    assert used <= known | ({"deployment"} if names <= {*SERVE} else set())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_counters_are_looked_at_as_rates(expression: str):
    for name in asked(expression):
        if name.endswith(("_total", "_bucket", "_count", "_sum")):
            assert re.search(rf"(rate|increase)\({name}(\{{[^}}]*\}})?\[\$__rate_interval\]\)", expression)


@pytest.mark.parametrize(("name", "kind"), SERVE.items())
def test_ray_serve_has_these_figures(name: str, kind: str):
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0]) / "serve" / "_private"
    found = [
        match[1].lower()
        for file in source.glob("*.py")
        for match in re.finditer(rf'metrics\.(\w+)\(\s*"{name}"', file.read_text())
    ]
    assert found == [kind]


def test_every_figure_of_ours_is_shown():
    shown = {exposed()[name] for expression in EXPRESSIONS for name in asked(expression)}
    assert {*METRICS} - shown == set()


def test_it_is_a_dashboard_for_any_data_source():
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 39
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert all(part["datasource"] == source for panel in PANELS for part in (panel, *panel["targets"]))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len({*ids})


def test_no_panel_lies_over_another():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert all(x < 24 for x, _ in cells)
        assert not cells & taken
        taken |= cells
        assert panel["type"] == "row" or panel["targets"][0]["refId"] == "A"
