"""Ctrl-C and SIGTERM ask, the second one ends, and afterwards signals are answered as before."""

import os
import signal
import threading

import pytest

from focus_ray.runtime.signals import graceful_shutdown, sigterm_as_sigint


class Ended(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def answered():
    """Signals are answered by raising Ended; gives the answer. What was before is put back."""

    def answer(number, frame):
        raise Ended

    before = {number: signal.signal(number, answer) for number in (signal.SIGINT, signal.SIGTERM)}
    yield answer
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_asks_and_the_second_ends(answered, number):
    with graceful_shutdown() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        with pytest.raises(Ended):
            os.kill(os.getpid(), number)
        assert asked()


def test_either_signal_has_a_first_time(answered):
    """A scheduler's SIGTERM after somebody's Ctrl-C does not cut the checkpoint off that is being written."""
    with graceful_shutdown() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        with pytest.raises(Ended):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("raised", [False, True])
def test_afterwards_signals_are_answered_as_before(answered, raised):
    try:
        with graceful_shutdown():
            os.kill(os.getpid(), signal.SIGINT)
            if raised:
                raise RuntimeError
    except RuntimeError:
        pass
    for number in (signal.SIGINT, signal.SIGTERM):
        assert signal.getsignal(number) is answered
        with pytest.raises(Ended):
            os.kill(os.getpid(), number)


def test_a_signal_that_was_ignored_is_ignored_again(answered):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with graceful_shutdown() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_leaves_signals_to_the_main_one(answered):
    told = []

    def work():
        with graceful_shutdown() as asked:
            told.append((asked(), signal.getsignal(signal.SIGINT) is answered))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [(False, True)]


def test_a_library_that_knows_ctrl_c_alone_is_told_of_sigterm_by_it(answered):
    got = []
    signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    with sigterm_as_sigint():
        os.kill(os.getpid(), signal.SIGTERM)
    assert got == [signal.SIGINT]
    with pytest.raises(Ended):
        os.kill(os.getpid(), signal.SIGTERM)
