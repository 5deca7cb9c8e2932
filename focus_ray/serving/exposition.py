"""GET /metrics: the metrics of all processes of the endpoint, collected from the metrics agents of Ray's nodes.

Ray adds labels for address, session and process. They are dropped, and series that differ only in them are summed. The
label `node`, a prefix of the node's id, is kept: if an agent does not respond once, only its node's series have a gap,
and no sum drops in a way that looks like a counter reset.
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

TIMEOUT_SECONDS = 2.0  # for an agent to respond
_MAX_BYTES = 32 << 20  # of an agent's response
_NODE_CHARACTERS = 8

_RAY_PREFIX = "ray_"
_RAY_SERVE_PREFIX = "ray_serve_"
_WANTED = re.compile(r"(?:# (?:HELP|TYPE) )?ray_(?:focus|serve)_")
# Labels of Ray Serve's metrics that are kept.
_SERVE_LABELS = {
    *("application", "deployment", "replica", "replica_id", "handle", "handle_source", "actor_id", "node_id"),
    *("route", "method", "status_code", "error_code", "error_type", "exception_name", "exception_type"),
    *("function_name", "model_id", "namespace", "namespace_or_state", "outcome", "policy_scope", "reason"),
}
_BUCKET = "le"


class Agent(NamedTuple):
    """Address of a node's metrics agent."""

    node: str  # prefix of the node's id
    url: str


def agents() -> list[Agent]:
    """Return the agents of all live nodes of this process's Ray cluster."""
    import ray

    found = []
    for node in ray.nodes():
        address, port = node["NodeManagerAddress"], node.get("MetricsExportPort", 0)
        if node["Alive"] and port > 0:
            host = f"[{address}]" if ":" in address else address
            found.append(Agent(node["NodeID"][:_NODE_CHARACTERS], f"http://{host}:{port}/metrics"))
    return found


async def scrape_metrics(find_agents: Callable[[], Sequence[Agent]] = agents, timeout: float = TIMEOUT_SECONDS) -> str:
    """Collect the metrics of all nodes.

    Args:
        find_agents: returns the agents to read.
        timeout: time limit for each agent, s.

    Returns:
        Prometheus text format, without the nodes whose agents did not respond in time.
    """
    found = await asyncio.to_thread(find_agents)
    texts = await asyncio.gather(*(_scrape_agent(agent, timeout) for agent in found))
    received = [(agent.node, text) for agent, text in zip(found, texts, strict=True) if text is not None]
    return await asyncio.to_thread(merge_metrics, received)


async def _scrape_agent(agent: Agent, timeout: float) -> str | None:
    try:
        return await asyncio.wait_for(asyncio.to_thread(_read, agent.url, timeout), 2 * timeout)
    except (OSError, ValueError, TimeoutError) as error:
        logger.warning("the metrics of node %s are left out (%s)", agent.node, type(error).__name__)
        return None


def _read(url: str, timeout: float) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # without the HTTP proxy of the environment
    try:
        with direct.open(url, timeout=timeout) as response:
            return response.read(_MAX_BYTES).decode()
    except urllib.error.HTTPError as error:
        error.close()
        raise


def merge_metrics(texts: Sequence[tuple[str, str]]) -> str:
    """Merge the metrics of several nodes: those of focus-ray and Ray Serve, without Ray's internal labels.

    Args:
        texts: node and Prometheus text of each agent; a text that cannot be parsed is skipped.

    Returns:
        Prometheus text format.
    """
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
    """Parse the metric families of one agent; return none if its text cannot be parsed."""
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
    """Return the labels of a metric that are exposed."""
    ours = METRICS.get(family.removeprefix(_RAY_PREFIX))
    return {*(_SERVE_LABELS if ours is None else ours.labels), _BUCKET}


class _Collector:
    """Adapter of metric families for `generate_latest`."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        """Return the families sorted by name."""
        return (self._families[name] for name in sorted(self._families))
