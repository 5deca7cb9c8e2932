"""What is told of trials, and that copies of who tells are silent."""

import copy
from types import SimpleNamespace

from focus_ray.tuning.progress import Told


def test_ends_are_told_once_each():
    bars, notes = [], []
    told = Told(3, lambda *bar: bars.append(bar), notes.append)
    one = SimpleNamespace(trial_id="a", last_result={"objective": 0.25, "step": 12})
    told.on_trial_result(1, [], one, {})
    told.on_trial_complete(1, [], one)
    told.on_trial_error(1, [], SimpleNamespace(trial_id="b"))
    told.on_trial_complete(1, [], SimpleNamespace(trial_id="c", last_result={}))
    assert bars == [("trials", 0, 3), ("trials", 1, 3), ("trials", 2, 3), ("trials", 3, 3)]
    assert notes == ["trial a: objective 0.2500 after step 12", "trial b: failed", "trial c: no result"]


def test_a_copy_tells_nobody():
    told = Told(3, print, print)
    told.on_trial_error(1, [], SimpleNamespace(trial_id="b"))
    other = copy.deepcopy(told)
    other.on_trial_error(1, [], SimpleNamespace(trial_id="c"))
    assert other.get_state() == {"ended": ["b", "c"]}
    told.set_state(other.get_state())
    assert told.get_state() == {"ended": ["b", "c"]}
