"""GET /metrics: the metrics of all processes of the endpoint, collected from the agents of Ray's nodes.

Ray adds labels for address, session and process. They are dropped and the series that differ only in them are summed
up; `node`, the beginning of a node's random id, stays, so that an agent that does not answer once is missed, and what
the others counted is not taken for a new beginning.
"""

import asyncio
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from focus_ray.serving.metrics import METRICS

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0  # that an agent may take
_MAX_BYTES = 32 << 20  # of an agent's answer
_NODE_CHARACTERS = 8

_RAY_PREFIX = "ray_"
_RAY_SERVE_PREFIX = "ray_serve_"
_WANTED = re.compile(r"(?:# (?:HELP|TYPE) )?ray_(?:focus|serve)_")
# The labels of Ray Serve's figures that say what they are about.
_SERVE_LABELS = {
    *("application", "deployment", "replica", "replica_id", "handle", "handle_source", "actor_id", "node_id"),
    *("route", "method", "status_code", "error_code", "error_type", "exception_name", "exception_type"),
    *("function_name", "model_id", "namespace", "namespace_or_state", "outcome", "policy_scope", "reason"),
}
_BUCKET = "le"


class Agent(NamedTuple):
    """Address of a node's metrics agent."""

    node: str
    url: str


def agents() -> list[Agent]:
    """The agents of the nodes that are alive, by what this process's cluster says of them."""
    import ray

    found = []
    for node in ray.nodes():
        address, port = node["NodeManagerAddress"], node.get("MetricsExportPort", 0)
        if node["Alive"] and port > 0:
            host = f"[{address}]" if ":" in address else address
            found.append(Agent(node["NodeID"][:_NODE_CHARACTERS], f"http://{host}:{port}/metrics"))
    return found


async def scrape_metrics(find_agents: Callable[[], Sequence[Agent]] = agents, timeout: float = TIMEOUT_SECONDS) -> str:
    """The figures in Prometheus's text format. Agents that do not answer in time are left out."""
    asked = await asyncio.to_thread(find_agents)
    texts = await asyncio.gather(*(_scrape_agent(agent, timeout) for agent in asked))
    answered = [(agent.node, text) for agent, text in zip(asked, texts, strict=True) if text is not None]
    return await asyncio.to_thread(merge_metrics, answered)


async def _scrape_agent(agent: Agent, timeout: float) -> str | None:
    try:
        return await asyncio.wait_for(asyncio.to_thread(_read, agent.url, timeout), 2 * timeout)
    except (OSError, ValueError, TimeoutError) as error:
        logger.warning("the metrics of node %s are left out (%s)", agent.node, type(error).__name__)
        return None


def _read(url: str, timeout: float) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows no nodes
    try:
        with direct.open(url, timeout=timeout) as answer:
            return answer.read(_MAX_BYTES).decode()
    except urllib.error.HTTPError as error:
        error.close()
        raise


def merge_metrics(texts: Sequence[tuple[str, str]]) -> str:
    """What the agents of nodes said, as one text: our figures and Ray Serve's, without what only Ray needs to know."""
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for node, text in texts:
        for family in _parse_families(node, text):
            families.setdefault(family.name, Family(family.name, family.documentation, family.type))
            sums = values.setdefault(family.name, {})
            kept = _labels(family.name)
            for sample in family.samples:
                labels = {key: value for key, value in sample.labels.items() if key in kept} | {"node": node}
                key = (sample.name, tuple(sorted(labels.items())))
                sums[key] = sums.get(key, 0.0) + sample.value
    for name, sums in values.items():
        for (sample, labels), value in sums.items():
            families[name].add_sample(sample, dict(labels), value)
    return generate_latest(_Collector(families)).decode()


def _parse_families(node: str, text: str) -> list[Family]:
    """The metric families of one agent; none where its text cannot be parsed."""
    lines = "\n".join(line for line in text.split("\n") if _WANTED.match(line))
    try:
        families = list(text_string_to_metric_families(lines + "\n"))
    except (ValueError, KeyError, IndexError):
        logger.warning("the metrics of node %s cannot be read; they are left out", node)
        return []
    return [
        one
        for one in families
        if one.name.startswith(_RAY_SERVE_PREFIX) or one.name.removeprefix(_RAY_PREFIX) in METRICS
    ]


def _labels(family: str) -> set[str]:
    """The labels of a metric that are exposed."""
    ours = METRICS.get(family.removeprefix(_RAY_PREFIX))
    return {*(_SERVE_LABELS if ours is None else ours.labels), _BUCKET}


class _Collector:
    """Families as `generate_latest` takes them."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        """In the order of their names."""
        return (self._families[name] for name in sorted(self._families))
