"""Several callbacks hear the same, each in turn; who looks at nothing is a callback too."""

import inspect

from focus_ray.runtime.callbacks import Callback, CallbackList, ResumeHistory


class Named(Callback):
    """Notes every event, and which callback received it, on a list of all."""

    def __init__(self, name: str, heard: list):
        self.name, self.heard = name, heard

    def __getattribute__(self, name: str):
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda *arguments: self.heard.append((self.name, name, arguments))


def said(record) -> list[tuple]:
    """One call of everything that a callback can be told."""
    return [
        ("on_train_begin", (20, 3, ResumeHistory([{"step": 2}], [{"step": 1}]))),
        ("on_step_end", (record,)),
        ("on_progress", ("scoring", 1, 2)),
        ("on_message", ("guard: recalibrate",)),
        ("on_evaluate", ({"step": 3},)),
        ("on_image", ("step-00000003.png", b"png")),
        ("on_save", (3,)),
        ("on_log", ({"level": "info"},)),
    ]


def test_all_of_them_hear_everything_in_their_order(record_of):
    heard: list = []
    several = CallbackList([Named("first", heard), Named("second", heard)])
    calls = said(record_of(3))
    for what, arguments in calls:
        getattr(several, what)(*arguments)
    assert heard == [(name, what, arguments) for what, arguments in calls for name in ("first", "second")]


def test_nothing_that_a_watcher_can_be_told_is_left_out(record_of):
    words = {name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if not name.startswith("_")}
    assert {what for what, _ in said(record_of(3))} == words
    for callback in (CallbackList([]), Callback()):
        assert isinstance(callback, Callback)
        for what, arguments in said(record_of(3)):
            assert getattr(callback, what)(*arguments) is None
