"""A real endpoint under real load: right answers, lost processes, other models, too much. Short, and as drills.

The drills measure: they want a quiet machine.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from focus_ray import model as models
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.serving.client import Client
from focus_ray.serving.schema import Reconstruction
from tests.system.endpoint import CONTROLLER, INGRESS, MODEL, PROXY, Endpoint, run_endpoint, write_crops

ALIGNED = "aligned=true"
TWO_MODELS = ("--set", "models.least=2", "--set", "models.most=2")
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("endpoint")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Endpoint]:
    # As many at once as the tests ask for: what is too many is one of them.
    options = ("--set", "admission.requests_at_once=64", "--set", "admission.requests_of_a_client=64")
    quickly = {"RAY_metrics_report_interval_ms": "1000"}  # so that what happens is seen when it does
    with run_endpoint(folder, *TWO_MODELS, *options, env=quickly) as running:
        yield running


@pytest.fixture(scope="module")
def pictures(folder: Path, world_face) -> Path:
    return write_crops(folder / "crops", 64, world_face)


@pytest.fixture(scope="module")
def other_model(folder: Path) -> Path:
    """The shipped model under another name."""
    models.save(folder / "other", replace(models.load(SHIPPED_MODELS["embedded"]), version="another-one"))
    return folder / "other"


def theta_vector(answer: Reconstruction) -> np.ndarray:
    (face,) = answer.faces
    theta = face.theta
    return np.array([*theta.identity, *theta.expression, *theta.albedo, *theta.light, *theta.camera])


def reconstruct_many(url: str, contents: list[bytes], at_once: int, **options: Any) -> list[Reconstruction]:
    """The answers to pictures that are asked for concurrently, in their order."""
    with Client(url, retries=20) as client, ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(lambda content: client.reconstruct(content, aligned=True, **options), contents))


def test_concurrent_answers_are_those_of_single_requests(running: Endpoint, pictures: Path):
    contents = [path.read_bytes() for path in sorted(pictures.glob("*.png"))][:8]
    for refine in (False, True):
        together = reconstruct_many(running.url, contents, len(contents), refine=refine)
        alone = reconstruct_many(running.url, contents, 1, refine=refine)
        answers, different = (np.stack([theta_vector(answer) for answer in told]) for told in (together, alone))
        apart = np.abs(answers[:, None] - different[None]).max(axis=2)
        assert apart.argmin(axis=1).tolist() == list(range(len(contents)))  # each has its own answer
        assert apart.diagonal().max() <= 1e-5
        assert len(np.unique(different.round(3), axis=0)) == len(contents)


def test_a_poisoned_picture_fails_alone(running: Endpoint, pictures: Path):
    good = [path.read_bytes() for path in sorted(pictures.glob("*.png"))][:3]
    with Client(running.url) as client:
        answer = client.reconstruct_batch([good[0], good[1][:500], good[2], b"GIF89a"], aligned=True, refine=False)
    said = [item.problem.code if item.problem else len(item.reconstruction.faces) for item in answer.results]
    assert said == [1, "unprocessable", 1, "unsupported_media"]


@pytest.mark.drill
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("which", [MODEL, INGRESS, PROXY, CONTROLLER])
def test_a_process_that_is_killed_at_half_of_what_the_endpoint_can(
    which: str, running: Endpoint, pictures: Path, record_property: Callable[[str, Any], None]
):
    rate = 0.5 * running.start_load(pictures, ALIGNED, concurrency=16, seconds=15).result()["rate"]
    seconds = 60
    loading = running.start_load(pictures, ALIGNED, rate=rate, seconds=seconds, retry=True)
    time.sleep(seconds / 4)
    recovered = KilledProcess(running, which).seconds_until_replaced()
    seen = loading.result()
    record_property("load", {"rate": rate, **seen})
    record_property("replaced_after_s", recovered)
    if which != PROXY:  # a connection that was open is lost with it; new ones are refused until it is back
        assert seen["failed"] <= 0.001 * rate * seconds
    assert sum(seen["by_second"][-8:]) > 0
    if which == MODEL:
        assert recovered < 20


def test_a_model_and_an_ingress_that_are_killed_cost_no_answer(running: Endpoint, pictures: Path):
    loading = running.start_load(pictures, f"{ALIGNED}&refine=false", rate=2.0, seconds=20, retry=True)
    time.sleep(3)
    model = KilledProcess(running, MODEL)
    time.sleep(5)
    ingress = KilledProcess(running, INGRESS)
    seen = loading.result()
    assert seen["failures"] == []
    assert sum(seen["by_second"]) == 40
    model.seconds_until_replaced()
    ingress.seconds_until_replaced()


class KilledProcess:
    """A process of a kind that was killed with -9."""

    def __init__(self, running: Endpoint, which: str) -> None:
        self.running, self.which = running, which
        self.processes, self.replicas = running.processes(which), healthy_replicas(running)
        os.kill(self.processes[0], signal.SIGKILL)
        self.at = time.monotonic()

    def seconds_until_replaced(self) -> float:
        """From the kill until another one is at work, and the endpoint is ready."""
        deadline = self.at + 120
        while time.monotonic() < deadline:
            if self._is_replaced() and self.running.get("/readyz")[0] == 200:
                return round(time.monotonic() - self.at, 1)
            time.sleep(0.2)
        raise AssertionError(f"{self.which} did not come back")

    def _is_replaced(self) -> bool:
        """A replica is replaced when Serve finds another one healthy, others when there is another process."""
        if self.which in (MODEL, INGRESS):
            kind = self.which.rpartition(":")[2]
            return any(deployment == kind for deployment, _ in healthy_replicas(self.running) - self.replicas)
        return bool(set(self.running.processes(self.which)) - set(self.processes))


def healthy_replicas(running: Endpoint) -> set[tuple[str, str]]:
    """Deployment and name of the replicas that Serve has found healthy, as the endpoint's figures tell."""
    status, body = running.get("/metrics")
    if status != 200:
        return set()
    samples = (sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples)
    return {
        (sample.labels["deployment"], sample.labels.get("replica", ""))
        for sample in samples
        if sample.name == "ray_serve_deployment_replica_healthy" and sample.value == 1
    }


def test_metrics_tell_of_requests_and_of_no_content(running: Endpoint, pictures: Path):
    with Client(running.url) as client:
        client.reconstruct(next(iter(sorted(pictures.glob("*.png")))), aligned=True)
    deadline = time.monotonic() + 60
    text = ""
    while "ray_focus_model_seconds_count" not in text and time.monotonic() < deadline:
        time.sleep(1)
        status, body = running.get("/metrics")
        text = body.decode()
        assert status == 200
    for name in ("ray_focus_requests", "ray_focus_batch_faces", "ray_focus_decode_seconds", "ray_serve_"):
        assert name in text
    assert str(pictures) not in text


def test_nothing_there_and_wrong_ways(running: Endpoint):
    assert running.get("/v1/nothing")[0] == 404
    assert running.get("/assets/../../etc/passwd")[0] in (404, 400)
    status, body = running.get("/openapi.json")
    assert status == 200
    assert b"/v1/reconstructions:batch" in body


def test_another_model_takes_over(
    running: Endpoint, pictures: Path, other_model: Path, record_property: Callable[[str, Any], None]
):
    loading = running.start_load(pictures, f"{ALIGNED}&refine=false", rate=1, seconds=400)
    try:
        swapped = running.swap(str(other_model))
        assert swapped.returncode == 0, swapped.stderr
        assert b'"model_version":"another-one"' in running.get("/v1/model")[1]
        time.sleep(3)
    finally:
        loading.process.send_signal(signal.SIGINT)
    seen = loading.result()
    record_property("load", seen)
    assert seen["failures"] == []
    assert set(seen["statuses"]) == {"200"}
    assert set(seen["versions"]) == {"another-one", models.load(SHIPPED_MODELS["embedded"]).version}


@pytest.mark.drill
def test_a_broken_model_does_not_take_over(running: Endpoint, pictures: Path, other_model: Path):
    broken = other_model.with_name("broken")
    broken.mkdir(exist_ok=True)
    (broken / "manifest.json").write_text("{}")
    loading = running.start_load(pictures, f"{ALIGNED}&refine=false", rate=3, seconds=400)
    try:
        assert running.swap(str(broken)).returncode == 4
        time.sleep(3)
    finally:
        loading.process.send_signal(signal.SIGINT)
    seen = loading.result()
    assert seen["failures"] == []
    assert set(seen["statuses"]) == {"200"}
