"""Event queue between workers and driver: callback events to the driver, the stop request to the workers.

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
        """Add events; returns whether the run is asked to stop."""
        self._events += events
        if events:
            self._has_events.set()
        return self._stop

    async def take(self, timeout: float) -> list[Event]:
        """All events since the last call, after at most `timeout` seconds."""
        if not self._events:  # asyncio would not even look where there is no patience at all
            try:
                await asyncio.wait_for(self._has_events.wait(), timeout)
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


def pin_to_node(actor_class: type, **options: Any) -> Any:
    """An actor class whose actors live beside this process and take no core of the cluster's."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(actor_class).options(num_cpus=0, scheduling_strategy=here, **options)


class EventSender(Callback):
    """Callback that sends events to the driver, from a thread of its own. Events are picklable and small."""

    def __init__(self, queue: EventQueue):
        self._queue = queue
        self._pending: list[Event] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._should_stop = False
        self._thread = threading.Thread(target=self._flush_loop, name="to the driver", daemon=True)
        self._thread.start()

    @property
    def should_stop(self) -> bool:
        """Whether the driver wants the run to stop, as of the last time something was sent."""
        return self._should_stop

    def send(self, event: str, *arguments: Any) -> None:
        """Queue an event for sending."""
        with self._lock:
            self._pending.append((event, arguments))

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        self.send("on_train_begin", total, done, history)

    def on_step_end(self, record: StepRecord) -> None:
        self.send("on_step_end", record)

    def on_progress(self, name: str, done: int, total: int) -> None:
        self.send("on_progress", name, done, total)

    def on_message(self, message: str) -> None:
        self.send("on_message", message)

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        self.send("on_evaluate", entry)

    def on_image(self, name: str, png: bytes) -> None:
        self.send("on_image", name, png)

    def on_save(self, step: int) -> None:
        self.send("on_save", step)

    def on_log(self, entry: dict[str, Any]) -> None:
        self.send("on_log", entry)

    def close(self) -> None:
        """Send what is left, and wait until the driver's side has it."""
        self._closing.set()
        self._thread.join()

    def _flush_loop(self) -> None:
        while not self._closing.wait(SEND_INTERVAL_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            events, self._pending = self._pending, []
        self._should_stop = bool(ray.get(self._queue.put.remote(events)))


@contextmanager
def event_sender(queue: EventQueue) -> Iterator[EventSender]:
    """A sender that sends everything and closes when the block ends, however it does."""
    sender = EventSender(queue)
    try:
        yield sender
    finally:
        sender.close()


def dispatch(events: list[Event], callback: Callback, on_end: Callable[[str, tuple[Any, ...]], None]) -> None:
    """Call the callback's method of each event; `on_end` for the two that end a run."""
    for name, arguments in events:
        if name in (ENDED, FAILED):
            on_end(name, arguments)
        else:
            getattr(callback, name)(*arguments)
