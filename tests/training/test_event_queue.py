"""Between workers and driver: everything arrives, in order, nobody waits, and the wish to stop goes the other way."""

import asyncio
import inspect
import threading
import time

import pytest
import ray

from focus_ray.runtime.callbacks import Callback, ResumeHistory
from focus_ray.training.event_queue import ENDED, FAILED, EventSender, _EventQueueActor, dispatch, event_sender

EVENTS = [("on_message", (str(number),)) for number in range(5)]


# --- the actor


def test_events_are_taken_once_in_the_order_they_came():
    async def talk():
        channel = _EventQueueActor()
        await channel.put(EVENTS[:2])
        await channel.put(EVENTS[2:3])
        first = await channel.take(1.0)
        await channel.put(EVENTS[3:])
        return first, await channel.take(1.0), await channel.take(0.01)

    assert asyncio.run(talk()) == (EVENTS[:3], EVENTS[3:], [])


@pytest.mark.parametrize("patience", [0.0, 30.0])
def test_what_is_there_is_taken_without_waiting(patience):
    """The driver's last look has no patience: the workers have ended."""

    async def talk():
        channel = _EventQueueActor()
        await channel.put(EVENTS)
        return await asyncio.wait_for(channel.take(patience), 5.0)

    assert asyncio.run(talk()) == EVENTS


def test_who_waits_is_woken_by_news_and_by_nothing_else():
    async def talk():
        channel = _EventQueueActor()
        waiting = asyncio.create_task(channel.take(30.0))
        await asyncio.sleep(0.01)
        await channel.put([])  # a worker that only asks whether to stop
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await channel.put(EVENTS[:1])
        return await asyncio.wait_for(waiting, 5.0)

    assert asyncio.run(talk()) == EVENTS[:1]


def test_patience_ends():
    async def talk():
        channel = _EventQueueActor()
        started = time.monotonic()
        assert await channel.take(0.05) == []
        return time.monotonic() - started

    assert asyncio.run(talk()) >= 0.05


def test_a_worker_hears_of_the_wish_to_stop_from_then_on():
    async def talk():
        channel = _EventQueueActor()
        before = await channel.put(EVENTS[:1])
        await channel.stop()
        return before, await channel.put([]), await channel.put(EVENTS[1:]), await channel.take(0.0)

    assert asyncio.run(talk()) == (False, True, True, EVENTS)


# --- the worker's side


def taken(channel) -> list:
    return channel.take.remote(0.0).result(10)


def test_everything_is_sent_in_order_when_the_sender_is_closed(channel):
    sender = EventSender(channel)
    for number in range(500):
        sender.on_message(str(number))
    sender.close()
    assert taken(channel) == [("on_message", (str(number),)) for number in range(500)]


def test_what_is_told_arrives_without_closing(channel):
    with event_sender(channel) as sender:
        sender.on_save(8)
        assert channel.take.remote(30.0).result(40) == [("on_save", (8,))]


def test_who_tells_does_not_wait_for_the_driver(channel, monkeypatch):
    """A driver that does not answer holds nobody up but the thread that sends."""
    answers, get = threading.Event(), ray.get
    monkeypatch.setattr("ray.get", lambda ref: (answers.wait(30), get(ref))[1])
    sender = EventSender(channel)
    started = time.monotonic()
    for number in range(100):
        sender.on_message(str(number))
    assert time.monotonic() - started < 5.0
    answers.set()
    sender.close()
    assert [arguments for _, arguments in taken(channel)] == [(str(number),) for number in range(100)]


def test_nothing_is_lost_when_the_block_ends_in_an_error(channel):
    def work() -> None:
        with event_sender(channel) as sender:
            sender.on_message("the last words")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert taken(channel) == [("on_message", ("the last words",))]


def test_words_of_many_threads_arrive_each_once(channel):
    """Uploads and the log speak from threads of their own; each keeps its own order."""
    with event_sender(channel) as sender:
        threads = [
            threading.Thread(target=lambda who=who: [sender.on_message(f"{who} {number}") for number in range(50)])
            for who in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    heard = [message.split() for _, (message,) in taken(channel)]
    for who in range(4):
        assert [int(number) for name, number in heard if name == str(who)] == list(range(50))


def test_the_wish_to_stop_reaches_a_worker_that_has_nothing_to_say(channel):
    with event_sender(channel) as sender:
        assert not sender.should_stop
        channel.stop.remote().result(10)
        deadline = time.monotonic() + 30
        while not sender.should_stop:
            assert time.monotonic() < deadline
            time.sleep(0.005)


# --- the driver's side


def test_whatever_a_worker_says_is_heard_at_the_other_end(channel, listener, record_of):
    said = {
        "on_train_begin": (20, 3, ResumeHistory([{"step": 2}])),
        "on_step_end": (record_of(3),),
        "on_progress": ("scoring", 1, 2),
        "on_message": ("guard: recalibrate",),
        "on_evaluate": ({"step": 3},),
        "on_image": ("step-00000003.png", b"png"),
        "on_save": (3,),
        "on_log": ({"level": "info"},),
    }
    assert set(said) == {name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if name[0] != "_"}
    with event_sender(channel) as sender:
        assert isinstance(sender, Callback)
        for what, arguments in said.items():
            getattr(sender, what)(*arguments)
    dispatch(taken(channel), listener, lambda what, arguments: pytest.fail(what))
    assert listener.heard == list(said.items())


def test_last_words_are_not_for_watchers(listener):
    ends: list = []
    events = [
        ("on_message", ("a",)),
        (ENDED, ({"steps": 14},)),
        (FAILED, ("MaskCollapse", "all face")),
        ("on_message", ("b",)),
    ]
    dispatch(events, listener, lambda what, arguments: ends.append((what, arguments)))
    assert listener.heard == [events[0], events[3]]
    assert ends == events[1:3]
