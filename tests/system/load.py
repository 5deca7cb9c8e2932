"""A load generator that runs as a process of its own: closed loops or a fixed rate, against this machine only.

python -m tests.system.load --url http://127.0.0.1:8000/v1/reconstructions --pictures DIR --concurrency 8 --seconds 10
prints one line of JSON. At a fixed rate a latency counts from when the request was due, also where it began late.
"""

import argparse
import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np

MOST_SECONDS, MOST_REQUESTS, MOST_AT_ONCE = 600.0, 50_000, 512
BUSY = (429, 503)


@dataclass
class Seen:
    """What became of the requests."""

    accepted: list[float] = field(default_factory=list)  # s
    rejected: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    without_retry_after: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)  # s since the begin, what
    versions: Counter[str] = field(default_factory=Counter)
    by_second: Counter[int] = field(default_factory=Counter)  # accepted

    def summary(self, seconds: float) -> dict[str, Any]:
        """Rates and percentiles."""
        return {
            "seconds": round(seconds, 3),
            "rate": round(len(self.accepted) / seconds, 3),
            "requests": sum(self.statuses.values()),
            "statuses": dict(self.statuses),
            "accepted": percentiles(self.accepted),
            "rejected": percentiles(self.rejected),
            "retries": self.retries,
            "without_retry_after": self.without_retry_after,
            "failures": self.failures[:20],
            "failed": len(self.failures),
            "versions": dict(self.versions),
            "by_second": [self.by_second[second] for second in range(round(seconds) + 1)],
        }


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    if not seconds:
        return {}
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99]) * 1e3
    named = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max(seconds) * 1e3}
    return {name: round(float(value), 2) for name, value in named.items()}


class Load:
    """Sends pictures in turn to one address."""

    def __init__(self, url: str, pictures: list[bytes], retry: bool) -> None:
        if urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"):
            raise SystemExit(f"{url} is not on this machine")
        self.url = url
        self.pictures = itertools.cycle(pictures)
        self.retry = retry
        self.seen = Seen()
        self.begin = 0.0
        self.ended = False  # told to: what is under way is waited for

    async def closed(self, concurrency: int, seconds: float, requests: int | None) -> float:
        """As many at a time, one after the other. Gives the seconds it took."""
        left = itertools.count() if requests is None else iter(range(requests))
        async with self._session() as session:

            async def loop() -> None:
                while not self.ended and time.perf_counter() - self.begin < seconds and next(left, None) is not None:
                    await self._one(session, time.perf_counter())

            self.begin = time.perf_counter()
            await asyncio.gather(*(loop() for _ in range(concurrency)))
            return time.perf_counter() - self.begin

    async def open(self, rate: float, seconds: float) -> float:
        """At a fixed rate, whatever the answers. Gives the seconds it took."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.end)
        async with self._session() as session:
            self.begin = time.perf_counter()
            tasks = set()
            for number in range(round(rate * seconds)):
                due = self.begin + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if self.ended:
                    break
                if len(tasks) < MOST_AT_ONCE:
                    tasks.add(task := asyncio.create_task(self._one(session, due)))
                    task.add_done_callback(tasks.discard)
                else:
                    self.seen.failures.append((due - self.begin, "the generator has too many under way"))
            await asyncio.gather(*tasks)
            return time.perf_counter() - self.begin

    def end(self) -> None:
        """Begin no more."""
        self.ended = True

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=MOST_AT_ONCE)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120))

    async def _one(self, session: aiohttp.ClientSession, due: float) -> None:
        picture = next(self.pictures)
        for last in (not self.retry, True):
            status, wait, version = await self._sent(session, picture)
            if status == 200 or last:
                break
            self.seen.retries += 1
            await asyncio.sleep(wait)
        now = time.perf_counter()
        if status == 200:
            self.seen.accepted.append(now - due)
            self.seen.by_second[int(now - self.begin)] += 1
            self.seen.versions[version] += 1
        elif status in BUSY:
            self.seen.rejected.append(now - due)
        else:
            self.seen.failures.append((round(due - self.begin, 2), version))

    async def _sent(self, session: aiohttp.ClientSession, picture: bytes) -> tuple[int, float, str]:
        """Status, how long to wait before another try, and the model's version or what went wrong."""
        try:
            async with session.post(self.url, data=picture, headers={"Content-Type": "image/png"}) as response:
                body = await response.read()
                self.seen.statuses[str(response.status)] += 1
                after = response.headers.get("Retry-After")
                if response.status in BUSY and after is None:
                    self.seen.without_retry_after += 1
                version = json.loads(body)["model_version"] if response.status == 200 else body[:200].decode()
                return response.status, float(after or 0.5), version
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            self.seen.statuses["connection"] += 1
            return 0, 0.5, f"{type(error).__name__}: {error}"


def main() -> None:
    """One load, one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--retry", action="store_true", help="one more try, after what Retry-After says")
    asked = parser.parse_args()
    seconds, concurrency = min(asked.seconds, MOST_SECONDS), min(asked.concurrency, MOST_AT_ONCE)
    requests = None if asked.requests is None else min(asked.requests, MOST_REQUESTS)
    load = Load(asked.url, [path.read_bytes() for path in sorted(asked.pictures.glob("*.png"))], asked.retry)
    begin = time.perf_counter()
    if asked.rate is None:
        asyncio.run(load.closed(concurrency, seconds, requests))
    else:
        asyncio.run(load.open(asked.rate, min(seconds, MOST_REQUESTS / asked.rate)))
    print(json.dumps(load.seen.summary(time.perf_counter() - begin)))


if __name__ == "__main__":
    main()
