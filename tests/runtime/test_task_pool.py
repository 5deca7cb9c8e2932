"""Pieces of work, in this process; by Ray's tasks they are seen in tests/system."""

from dataclasses import dataclass, field

import pytest
import torch

from focus_ray.errors import Interrupted
from focus_ray.runtime.task_pool import run_tasks


@dataclass
class Squares:
    threads: list[int] = field(default_factory=list)
    device: str = ""

    def prepare(self, device: str) -> None:
        self.device = device

    def piece(self, number: int) -> int:
        self.threads.append(torch.get_num_threads())
        return number**2


def test_this_process_does_one_after_the_other_with_one_thread():
    job, before = Squares(), torch.get_num_threads()
    assert list(run_tasks(job, [3, 1], None, lambda: False)) == [(3, 9), (1, 1)]
    assert job.device == "cpu"
    assert job.threads == [1, 1]
    assert torch.get_num_threads() == before


def test_somebody_may_ask_to_stop():
    asked = iter([False, True])
    pieces = run_tasks(Squares(), [1, 2, 3], None, lambda: next(asked))
    assert next(pieces) == (1, 1)
    with pytest.raises(Interrupted, match="run the same command to resume"):
        next(pieces)
