"""What is told of trials, also by a copy that Tune has read from its own files."""

import copy
from types import SimpleNamespace

import pytest

from focus_ray.tuning.progress import Listener, TuneProgress, describe_result, use_listener


def tuned(trial_id: str, **last) -> SimpleNamespace:
    return SimpleNamespace(trial_id=trial_id, config={"xi": 0.1}, last_result=last)


def test_ends_are_told_once_each():
    bars, notes = [], []
    told = TuneProgress(3)
    one = tuned("a", objective=0.25, step=12, ending="done")
    with use_listener(
        Listener(lambda *bar: bars.append(bar), notes.append, lambda point, name: f"{name}{point['xi']}")
    ):
        told.on_trial_result(1, [], one, {})
        told.on_trial_complete(1, [], one)
        told.on_trial_error(1, [], tuned("b"))
        told.on_trial_complete(1, [], tuned("c"))
    assert bars == [("trials", 0, 3), ("trials", 1, 3), ("trials", 2, 3), ("trials", 3, 3)]
    assert notes == ["trial a0.1: objective 0.2500 after step 12", "trial b0.1: failed", "trial c0.1: no result"]
    told.on_trial_error(1, [], tuned("d"))  # nobody listens any more
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({"objective": 10.0, "step": -1, "ending": "collapsed"}, "collapsed"),
        ({"objective": 10.0, "step": -1, "ending": "nan"}, "nan"),
        ({"objective": 0.5, "step": 6}, "pruned, objective 0.5000 after step 6"),
    ],
)
def test_what_was_broken_off_does_not_look_as_if_it_had_ended(last, said: str):
    assert describe_result(last) == said


def test_a_copy_tells_whoever_listens_here():
    notes: list[str] = []
    told = TuneProgress(3)
    told.on_trial_error(1, [], tuned("b"))
    other = copy.deepcopy(told)
    with use_listener(Listener(note=notes.append)):
        other.on_trial_error(1, [], tuned("c"))
    assert notes == ["trial c: failed"]
    assert other.get_state() == {"ended": ["b", "c"]}
    told.set_state(other.get_state())
    assert told.get_state() == {"ended": ["b", "c"]}
