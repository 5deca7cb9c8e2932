"""Event queue between workers and driver: callback events to the driver, the stop request to the workers.

An actor on the driver's node receives the events of the workers and returns them to the driver in order. Training does
not wait for it: each worker sends from a separate thread.
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

EventQueue = Any  # handle of an _EventQueueActor
Event = tuple[str, tuple[Any, ...]]  # name of a method of Callback, ENDED or FAILED; its arguments
ENDED, FAILED = "ended", "failed"

SEND_INTERVAL_SECONDS = 0.2


class _EventQueueActor:
    """Actor with the queued events and the stop request."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._has_events = asyncio.Event()
        self._stop = False

    async def put(self, events: list[Event]) -> bool:
        """Add events; return whether a stop is requested."""
        self._events += events
        if events:
            self._has_events.set()
        return self._stop

    async def take(self, timeout: float) -> list[Event]:
        """Return all events since the last call; wait for one for at most `timeout` s."""
        if not self._events:  # with timeout 0, wait_for would time out even if there are events
            try:
                await asyncio.wait_for(self._has_events.wait(), timeout)
            except TimeoutError:
                return []
        self._has_events.clear()
        events, self._events = self._events, []
        return events

    async def stop(self) -> None:
        """Request that the run stops."""
        self._stop = True


def open_event_queue() -> EventQueue:
    """Create an event queue on this node; it ends with this driver."""
    return pin_to_node(_EventQueueActor, max_concurrency=100).remote()


def pin_to_node(actor_class: type, **options: Any) -> Any:
    """Return a remote class whose actors run on this process's node and reserve no CPU.

    Args:
        actor_class: the class.
        options: further options of Ray's actors.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(actor_class).options(num_cpus=0, scheduling_strategy=here, **options)


class EventSender(Callback):
    """Callback that sends events to the driver from a separate thread. Events are picklable and small."""

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
        """Whether the driver requested a stop, as of the last send."""
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
        """Send the remaining events, and wait until the queue has them."""
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
    """Yield a sender, and close it when the block ends, also after an error."""
    sender = EventSender(queue)
    try:
        yield sender
    finally:
        sender.close()


def dispatch(events: list[Event], callback: Callback, on_end: Callable[[str, tuple[Any, ...]], None]) -> None:
    """Call the callback's method of each event.

    Args:
        events: events in their order.
        callback: receiver of the events.
        on_end: called with name and arguments of the final events ENDED and FAILED instead.
    """
    for name, arguments in events:
        if name in (ENDED, FAILED):
            on_end(name, arguments)
        else:
            getattr(callback, name)(*arguments)
