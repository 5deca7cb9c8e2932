"""What GET /metrics says is valid, tells no addresses, adds up what processes counted, and waits for nobody."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_client.parser import text_string_to_metric_families

from focus_ray.serving.exposition import Agent, merge_metrics, scrape_metrics
from focus_ray.serving.metrics import METRICS

# As an agent of Ray 2.60 says it.
RAYS = (
    'Component="core_worker",NodeAddress="10.1.2.3",SessionName="session_2026-11-27_18-37-25_865318_5503",'
    'Version="2.60.0",WorkerId="{worker}"'
)
SCOPE = 'otel_scope_name="ray._private.telemetry.open_telemetry_metric_recorder",otel_scope_schema_url=""'
AGENT = """# HELP ray_focus_requests_total Requests that were "answered" \\\\ all
# TYPE ray_focus_requests_total counter
ray_focus_requests_total{@A,@S,route="/v1/reconstructions",status="200"} 3.0
ray_focus_requests_total{@B,@S,route="/v1/reconstructions",status="200"} 4.0
ray_focus_requests_total{@B,@S,route="/v1/reconstructions",status="503"} 1.0
# HELP ray_focus_in_flight Requests that are being answered now
# TYPE ray_focus_in_flight gauge
ray_focus_in_flight{@A,@S} 2.0
ray_focus_in_flight{@B,@S} 5.0
# HELP ray_focus_model_seconds That the model takes for a batch
# TYPE ray_focus_model_seconds histogram
ray_focus_model_seconds_bucket{@A,le="0.1",@S} 1.0
ray_focus_model_seconds_bucket{@A,le="+Inf",@S} 2.0
ray_focus_model_seconds_count{@A,@S} 2.0
ray_focus_model_seconds_sum{@A,@S} 0.5
ray_focus_model_seconds_bucket{@B,le="0.1",@S} 10.0
ray_focus_model_seconds_bucket{@B,le="+Inf",@S} 10.0
ray_focus_model_seconds_count{@B,@S} 10.0
ray_focus_model_seconds_sum{@B,@S} 0.25
# HELP ray_focus_of_somebody_else Not of the endpoint
# TYPE ray_focus_of_somebody_else gauge
ray_focus_of_somebody_else{@A,@S} 1.0
# HELP ray_serve_deployment_queued_queries waiting
# TYPE ray_serve_deployment_queued_queries gauge
ray_serve_deployment_queued_queries{@A,@S,actor_id="a1",application="focus",deployment="Model",handle="h1"} 1.0
ray_serve_deployment_queued_queries{@B,@S,actor_id="b1",application="focus",deployment="Model",handle="h2"} 2.0
# HELP ray_serve_proxy_status 1 means healthy
# TYPE ray_serve_proxy_status gauge
ray_serve_proxy_status{@A,@S,node_id="n1",node_ip_address="10.1.2.3"} 1.0
ray_serve_proxy_status{@A,@S,node_id="n2",node_ip_address="10.1.2.4"} 1.0
# HELP ray_node_mem_used memory
# TYPE ray_node_mem_used gauge
ray_node_mem_used{@A,pid="4711"} 1.0
# HELP python_info Python
# TYPE python_info gauge
python_info{version="3.11"} 1.0
"""


def said(text: str = AGENT) -> str:
    """The text with everything that Ray adds to it."""
    for letter in "AB":
        text = text.replace(f"@{letter}", RAYS.format(worker=letter * 56))
    return text.replace("@S", SCOPE)


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What Prometheus reads, by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_what_several_processes_counted_is_added_up():
    found = samples(merge_metrics([("n0", said())]))
    route = {"route": "/v1/reconstructions", "node": "n0"}
    assert found["ray_focus_requests_total"] == [
        (route | {"status": "200"}, 7.0),
        (route | {"status": "503"}, 1.0),
    ]
    assert found["ray_focus_in_flight"] == [({"node": "n0"}, 7.0)]
    assert found["ray_focus_model_seconds_bucket"] == [
        ({"node": "n0", "le": "0.1"}, 11.0),
        ({"node": "n0", "le": "+Inf"}, 12.0),
    ]
    assert found["ray_focus_model_seconds_count"] == [({"node": "n0"}, 12.0)]
    assert found["ray_focus_model_seconds_sum"] == [({"node": "n0"}, 0.75)]


def test_only_the_endpoint_is_spoken_of():
    text = merge_metrics([("n0", said())])
    assert {*samples(text)} == {
        "ray_focus_requests_total",
        "ray_focus_in_flight",
        *(f"ray_focus_model_seconds_{part}" for part in ("bucket", "count", "sum")),
        "ray_serve_deployment_queued_queries",
        "ray_serve_proxy_status",
    }
    for secret in ("10.1.2", "session_", "4711", "AAAA", "otel", "Component"):
        assert secret not in text
    waiting = samples(text)["ray_serve_deployment_queued_queries"]
    assert [(labels["handle"], value) for labels, value in waiting] == [("h1", 1.0), ("h2", 2.0)]
    assert [labels["node_id"] for labels, _ in samples(text)["ray_serve_proxy_status"]] == ["n1", "n2"]


def test_nodes_stay_apart():
    """An agent that is missed once must not look like counters that begin anew."""
    both, one = merge_metrics([("n0", said()), ("n1", said())]), merge_metrics([("n1", said())])
    assert text_families(both) == text_families(one)
    for name, found in samples(both).items():
        assert [entry for entry in found if entry[0]["node"] == "n1"] == samples(one)[name]


def text_families(text: str) -> list[str]:
    families = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len({*families})
    return families


def test_labels_of_any_text_come_through():
    """Also with line separators that are none to Prometheus."""
    text = '# TYPE ray_focus_rejections_total counter\nray_focus_rejections_total{reason="a\\"b\\\\c\u2028\\n"} 1.0\n'
    ((labels, _),) = samples(merge_metrics([("n0", text)]))["ray_focus_rejections_total"]
    assert labels["reason"] == 'a"b\\c\u2028\n'


@pytest.mark.parametrize(
    "nonsense", ["", "\n", "ray_focus_requests{", 'ray_focus_requests{a="b} 1', "ray_focus_requests one", "<html>"]
)
def test_an_agent_that_talks_nonsense_is_left_out(nonsense: str):
    assert merge_metrics([("n0", nonsense), ("n1", said())]) == merge_metrics([("n1", said())])


def test_nothing_to_say():
    assert merge_metrics([]) == ""
    assert merge_metrics([("n0", "# HELP python_info Python\n")]) == ""


@pytest.fixture
def agent() -> Iterator[str]:
    """The URL of an agent that answers at /metrics, says nothing for a while at /slow, and is not there at /gone."""
    ended = threading.Event()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/slow":
                ended.wait(20)
            self.send_response(404 if self.path == "/gone" else 200)
            self.end_headers()
            if self.path == "/metrics":
                self.wfile.write(said().encode())
            elif self.path == "/binary":
                self.wfile.write(b"\xff\xfe")

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = False  # they end before the test does
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_agents_are_asked_at_once_and_nobody_is_waited_for(agent: str, caplog, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # knows no nodes
    nobody = Agent("dead", "http://127.0.0.1:9/metrics")
    others = [Agent(f"n{i}", f"{agent}/{path}") for i, path in enumerate(("slow", "slow", "slow", "gone", "binary"))]
    began = time.monotonic()
    text = asyncio.run(scrape_metrics(lambda: [nobody, *others, Agent("good", f"{agent}/metrics")], timeout=0.5))
    assert time.monotonic() - began < 15
    assert text == merge_metrics([("good", said())])
    left_out = [record.getMessage() for record in caplog.records]
    assert len(left_out) == 6
    assert not any("127.0.0.1" in line for line in left_out)


def test_every_figure_of_the_endpoint_passes():
    kinds = {"counter": "_total", "gauge": "", "histogram": "_count"}
    lines = []
    for name, metric in METRICS.items():
        labels = ",".join(f'{label}="x"' for label in metric.labels)
        total = "_total" if metric.kind == "counter" else ""
        lines += [f"# TYPE ray_{name}{total} {metric.kind}", f"ray_{name}{kinds[metric.kind]}{{{labels}}} 1.0"]
    found = samples(merge_metrics([("n0", "\n".join(lines) + "\n")]))
    assert {*found} == {f"ray_{name}{kinds[metric.kind]}" for name, metric in METRICS.items()}
    for name, metric in METRICS.items():
        ((labels, _),) = found[f"ray_{name}{kinds[metric.kind]}"]
        assert {*labels} == {*metric.labels, "node"}
