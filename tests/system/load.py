"""A load generator that runs as a process of its own: closed loops or a fixed rate, against this machine only.

python -m tests.system.load --url http://127.0.0.1:8000/v1/reconstructions --pictures DIR --concurrency 8 --seconds 10
prints one line of JSON. At a fixed rate a latency counts from when the request was due, also where it began late.
--keep FILE writes down what was answered to each picture; --expected FILE holds later answers against that.
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
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import numpy as np

MAX_SECONDS, MAX_REQUESTS, MAX_CONCURRENCY = 600.0, 50_000, 512
MAX_WAIT = 30.0  # s before another try, whatever Retry-After says
TOLERANCE = 1e-5
OK, NO_ANSWER = 200, 0
BUSY = (429, 503)
RETRYABLE = (NO_ANSWER, *BUSY, 500, 502, 504)
KINDS = {"accepted": "by_second", "rejected": "rejected_by_second", "failed": "failed_by_second"}
TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


class Picture(NamedTuple):
    """What is sent."""

    name: str
    content: bytes


class Answer(NamedTuple):
    """What came back."""

    status: int
    wait: float = 0.5  # s before another try
    document: dict[str, Any] | None = None  # where the status is 200
    reason: str = ""  # what was wrong, else


@dataclass
class LoadStats:
    """What became of the requests."""

    accepted: list[float] = field(default_factory=list)  # s
    rejected: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)  # of every try
    retries: int = 0
    without_retry_after: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)  # s since the begin, what
    versions: Counter[str] = field(default_factory=Counter)
    refused_as_expected: int = 0
    difference: float = 0.0  # the largest, from what was expected
    by_second: dict[str, Counter[int]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})

    def count(self, kind: str, since: float) -> None:
        """One more at this moment, in the seconds since the begin."""
        self.by_second[kind][int(time.perf_counter() - since)] += 1

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
            "refused_as_expected": self.refused_as_expected,
            "difference": self.difference,
            **{name: self._per_second(kind, seconds) for kind, name in KINDS.items()},
        }

    def _per_second(self, kind: str, seconds: float) -> list[int]:
        return [self.by_second[kind][second] for second in range(int(seconds) + 1)]


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    if not seconds:
        return {}
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99]) * 1e3
    named = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max(seconds) * 1e3}
    return {name: round(float(value), 2) for name, value in named.items()}


def face_values(document: dict[str, Any] | None) -> list[float]:
    """What an answer says of its faces: theta, and landmarks as shares of the picture's width."""
    found: list[float] = []
    if document is None:
        return found
    width = document["image"]["width"]
    for face in document["faces"]:
        found += itertools.chain.from_iterable(face["theta"].values())
        found += [value / width for point in face["landmarks"] for value in point]
    return found


class AnswerStore:
    """What is answered to each picture, as a file."""

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        self.known = known or {}

    def keep(self, name: str, answer: Answer) -> None:
        """Write an answer down."""
        self.known[name] = {"status": answer.status, "numbers": face_values(answer.document)}

    def difference(self, name: str, answer: Answer) -> float:
        """How far an answer is from the known one; infinite where it is of another kind."""
        known = self.known.get(name, {"status": None, "numbers": []})
        got = face_values(answer.document)
        if known["status"] != answer.status or len(known["numbers"]) != len(got):
            return float("inf")
        return float(np.abs(np.subtract(known["numbers"], got)).max(initial=0.0))


class LoadGenerator:
    """Sends pictures in turn to one address."""

    def __init__(
        self,
        url: str,
        pictures: list[Picture],
        retry: bool = False,
        expected: AnswerStore | None = None,
        recorded: AnswerStore | None = None,
    ) -> None:
        if urlsplit(url).scheme != "http" or urlsplit(url).hostname != "127.0.0.1":
            raise SystemExit(f"{url} is not on this machine; give http://127.0.0.1:PORT/...")
        if not pictures:
            raise SystemExit(f"there are no pictures ({', '.join(TYPES)}) to send")
        self.url = url
        self.pictures = itertools.cycle(pictures)
        self.retry = retry
        self.expected = expected
        self.recorded = recorded
        self.stats = LoadStats()
        self.begin = 0.0
        self.stopped = False  # told to: what is under way is waited for

    async def run_closed_loop(self, concurrency: int, seconds: float, requests: int | None) -> float:
        """As many at a time, one after the other. Gives the seconds it took."""
        left = itertools.count() if requests is None else iter(range(requests))
        async with self._session() as session:

            async def loop() -> None:
                while not self.stopped and time.perf_counter() - self.begin < seconds and next(left, None) is not None:
                    await self._send_one(session, time.perf_counter())

            self.begin = time.perf_counter()
            await asyncio.gather(*(loop() for _ in range(concurrency)))
            return time.perf_counter() - self.begin

    async def run_open_loop(self, rate: float, seconds: float) -> float:
        """At a fixed rate, whatever the answers. Gives the seconds it took."""
        async with self._session() as session:
            self.begin = time.perf_counter()
            tasks = set()
            for number in range(round(rate * seconds)):
                due = self.begin + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if self.stopped:
                    break
                if len(tasks) < MAX_CONCURRENCY:
                    tasks.add(task := asyncio.create_task(self._send_one(session, due)))
                    task.add_done_callback(tasks.discard)
                else:
                    self._record_failure(due, "the generator has too many under way")
            await asyncio.gather(*tasks)
            return time.perf_counter() - self.begin

    def stop(self) -> None:
        """Begin no more."""
        self.stopped = True

    def _session(self) -> aiohttp.ClientSession:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.stop)
        connector = aiohttp.TCPConnector(limit=MAX_CONCURRENCY)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120))

    async def _send_one(self, session: aiohttp.ClientSession, due: float) -> None:
        picture = next(self.pictures)
        answer = await self._send(session, picture)
        if self.retry and answer.status in RETRYABLE:
            self.stats.retries += 1
            await asyncio.sleep(answer.wait)
            answer = await self._send(session, picture)
        seconds = time.perf_counter() - due
        if answer.status in BUSY:
            self.stats.rejected.append(seconds)
            self.stats.count("rejected", self.begin)
        elif wrong := self._find_problem(picture, answer):
            self._record_failure(due, wrong)
        elif answer.document is not None:
            self.stats.accepted.append(seconds)
            self.stats.count("accepted", self.begin)
            self.stats.versions[answer.document["model_version"]] += 1
        else:
            self.stats.refused_as_expected += 1

    def _find_problem(self, picture: Picture, answer: Answer) -> str:
        """What is wrong with an answer, in words; nothing where it is as it should be."""
        if self.recorded is not None:
            self.recorded.keep(picture.name, answer)
        if self.expected is None:
            return answer.reason
        difference = self.expected.difference(picture.name, answer)
        if difference > TOLERANCE:
            return f"{picture.name}: not the answer to this picture ({difference:g} beside it). {answer.reason}"
        self.stats.difference = max(self.stats.difference, difference)
        return ""

    def _record_failure(self, due: float, reason: str) -> None:
        self.stats.failures.append((round(due - self.begin, 2), reason))
        self.stats.count("failed", self.begin)

    async def _send(self, session: aiohttp.ClientSession, picture: Picture) -> Answer:
        headers = {"Content-Type": TYPES[Path(picture.name).suffix]}
        try:
            async with session.post(self.url, data=picture.content, headers=headers, allow_redirects=False) as response:
                body = await response.read()
                answer = self._parse_response(response, body)
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            self.stats.statuses["connection"] += 1
            return Answer(NO_ANSWER, reason=f"{type(error).__name__}: {error}")
        self.stats.statuses[str(answer.status)] += 1
        return answer

    def _parse_response(self, response: aiohttp.ClientResponse, body: bytes) -> Answer:
        after = response.headers.get("Retry-After")
        if response.status in BUSY and after is None:
            self.stats.without_retry_after += 1
        if response.status != OK:
            wait = min(MAX_WAIT, float(after or 0.5))
            return Answer(response.status, wait, reason=f"{response.status} {body[:200].decode(errors='replace')}")
        document = json.loads(body)
        if "model_version" not in document:
            raise ValueError("the answer names no model")
        return Answer(OK, document=document)


def load_images(folder: Path) -> list[Picture]:
    """The pictures of a folder, in the order of their names."""
    return [Picture(path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.suffix in TYPES]


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
    parser.add_argument("--keep", type=Path, help="write down what was answered to each picture")
    parser.add_argument("--expected", type=Path, help="what --keep wrote: other answers are failures")
    asked = parser.parse_args()
    seconds, concurrency = min(asked.seconds, MAX_SECONDS), min(asked.concurrency, MAX_CONCURRENCY)
    requests = None if asked.requests is None else min(asked.requests, MAX_REQUESTS)
    expected = None if asked.expected is None else AnswerStore(json.loads(asked.expected.read_text()))
    kept = None if asked.keep is None else AnswerStore()
    load = LoadGenerator(asked.url, load_images(asked.pictures), asked.retry, expected, kept)
    if asked.rate is None:
        took = asyncio.run(load.run_closed_loop(concurrency, seconds, requests))
    else:
        took = asyncio.run(load.run_open_loop(asked.rate, min(seconds, MAX_REQUESTS / asked.rate)))
    if kept is not None and asked.keep is not None:
        asked.keep.write_text(json.dumps(kept.known))
    print(json.dumps(load.stats.summary(took)))


if __name__ == "__main__":
    main()
