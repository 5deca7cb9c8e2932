"""Figures of real processes of a Ray cluster arrive, added up, and stay when a process has gone."""

import json
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

COUNT = """
import asyncio, json, time
from focus_ray.serving.exposition import agents, scrape_metrics
from focus_ray.serving.metrics import RayMeters
from focus_ray.runtime.ray_cluster import ClusterSettings, connect_ray

class Replica:
    def __init__(self):
        self.meters = RayMeters()
    def work(self):
        self.meters.count("focus_requests", route="/v1/reconstructions", status="200")
        self.meters.count("focus_requests", route="/v1/reconstructions", status="200")
        self.meters.observe("focus_model_seconds", 0.02)
        self.meters.observe("focus_faces", 1)
        self.meters.set("focus_model_info", 1, version="v1", registered="focus/3")

def said_when(sign, seconds=60):
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        text = asyncio.run(scrape_metrics())
        if sign in text:
            return time.monotonic() - began, text
        time.sleep(0.2)
    raise SystemExit(f"no {sign} in {text}")

with connect_ray(ClusterSettings()):
    import ray
    Replica = ray.remote(num_cpus=0)(Replica)
    replicas = [Replica.remote() for _ in range(2)]
    ray.get([replica.work.remote() for replica in replicas])
    seconds, first = said_when("ray_focus_model_info{", 60)
    time.sleep(5)
    _, second = said_when("ray_focus_model_info{")  # a gauge is not told while a loaded machine delays its reports
    ray.kill(replicas[0])
    time.sleep(5)
    _, third = said_when("ray_focus_model_info{")
    print(json.dumps({"seconds": seconds, "texts": [first, second, third], "urls": [one.url for one in agents()]}))
"""


@pytest.fixture(scope="module")
def counted(python: str, python_environment_of_module: dict[str, str]) -> dict:
    """What was said when figures had arrived, some seconds later, and after one of two processes was killed."""
    environment = python_environment_of_module | {"RAY_metrics_report_interval_ms": "1000"}
    result = subprocess.run(
        [python, "-c", COUNT], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def values(text: str) -> dict[str, float]:
    """The values of our figures by sample, the node's label left out."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [f"{key}={value}" for key, value in sorted(sample.labels.items()) if key != "node"]
            found[f"{sample.name} {' '.join(labels)}".strip()] = sample.value
    return found


def test_figures_of_all_processes_are_added_up_and_outlive_them(counted: dict, record_property):
    record_property("seconds_until_told", round(counted["seconds"], 1))
    for text in counted["texts"][1:]:
        found = values(text)
        assert found["ray_focus_requests_total route=/v1/reconstructions status=200"] == 4
        assert found["ray_focus_model_seconds_count"] == 2
        assert found["ray_focus_model_seconds_bucket le=0.01"] == 0
        assert found["ray_focus_model_seconds_bucket le=0.025"] == 2
        assert found["ray_focus_faces_count"] == 2


def test_a_gauge_is_that_of_the_processes_that_live(counted: dict):
    told = [values(text)["ray_focus_model_info registered=focus/3 version=v1"] for text in counted["texts"][1:]]
    assert told == [2, 1]


def test_no_address_is_told(counted: dict):
    ((address, port),) = [url.removeprefix("http://").removesuffix("/metrics").split(":") for url in counted["urls"]]
    for text in counted["texts"]:
        assert text.startswith("# HELP ray_focus_")
        assert address not in text
        assert port not in text
        assert "session_" not in text
