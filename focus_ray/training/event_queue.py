"""Between the workers of a run and its driver: what watchers are told goes one way, the wish to stop the other.

A small actor on the driver's node takes what the workers send and hands it to the driver, in order. Nobody waits for
it: workers send from a thread of their own.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from focus_ray.runtime.callbacks import Callback, ResumeHistory
from focus_ray.runtime.step_record import StepRecord

EventQueue = Any  # a handle of the actor below
Event = tuple[str, tuple[Any, ...]]  # a method of Callback, or one of the endings below, and its arguments
ENDED, FAILED = "ended", "failed"

SEND_INTERVAL_SECONDS = 0.2


class _EventQueueActor:
    """The actor: a queue, and whether the run is asked to stop."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._has_events = asyncio.Event()
        self._stop = False

    async def put(self, events: list[Event]) -> bool:
        """Take events; whether the run is asked to stop."""
        self._events += events
        if events:
            self._has_events.set()
        return self._stop

    async def take(self, patience: float) -> list[Event]:
        """All events since the last call, after at most `patience` seconds."""
        if not self._events:  # asyncio would not even look where there is no patience at all
            try:
                await asyncio.wait_for(self._has_events.wait(), patience)
            except TimeoutError:
                return []
        self._has_events.clear()
        events, self._events = self._events, []
        return events

    async def stop(self) -> None:
        """Ask the run to stop."""
        self._stop = True


def open_event_queue() -> EventQueue:
    """A channel on this node; it ends with this driver."""
    return pin_to_node(_EventQueueActor, max_concurrency=100).remote()


def pin_to_node(kind: type, **options: Any) -> Any:
    """An actor class whose actors live beside this process and take no core of the cluster's."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=here, **options)


class EventSender:
    """A watcher that tells the driver, from a thread of its own. Everything sent is picklable and small."""

    def __init__(self, channel: EventQueue):
        self._queue = channel
        self._waiting: list[Event] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._asked = False
        self._thread = threading.Thread(target=self._flush_loop, name="to the driver", daemon=True)
        self._thread.start()

    @property
    def should_stop(self) -> bool:
        """Whether the driver wants the run to stop, as of the last time something was sent."""
        return self._asked

    def tell(self, what: str, *arguments: Any) -> None:
        """Put an event on its way."""
        with self._lock:
            self._waiting.append((what, arguments))

    def begin(self, total: int, done: int, past: ResumeHistory) -> None:
        self.tell("begin", total, done, past)

    def step(self, record: StepRecord) -> None:
        self.tell("step", record)

    def task(self, name: str, done: int, total: int) -> None:
        self.tell("task", name, done, total)

    def note(self, message: str) -> None:
        self.tell("note", message)

    def evaluated(self, entry: dict[str, Any]) -> None:
        self.tell("evaluated", entry)

    def picture(self, name: str, png: bytes) -> None:
        self.tell("picture", name, png)

    def saved(self, step: int) -> None:
        self.tell("saved", step)

    def log(self, entry: dict[str, Any]) -> None:
        self.tell("log", entry)

    def close(self) -> None:
        """Send what is left, and wait until the driver's side has it."""
        self._closing.set()
        self._thread.join()

    def _flush_loop(self) -> None:
        while not self._closing.wait(SEND_INTERVAL_SECONDS):
            self._send()
        self._send()

    def _send(self) -> None:
        with self._lock:
            events, self._waiting = self._waiting, []
        self._asked = bool(ray.get(self._queue.put.remote(events)))


@contextmanager
def event_sender(channel: EventQueue) -> Iterator[EventSender]:
    """A sender that is closed, all sent, when the block ends, however it does."""
    sender = EventSender(channel)
    try:
        yield sender
    finally:
        sender.close()


def dispatch(events: list[Event], watcher: Callback, other: Callable[[str, tuple[Any, ...]], None]) -> None:
    """Tell a watcher what it knows of, and `other` the rest."""
    for what, arguments in events:
        if what in (ENDED, FAILED):
            other(what, arguments)
        else:
            getattr(watcher, what)(*arguments)
