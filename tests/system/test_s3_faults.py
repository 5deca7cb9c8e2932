"""Checkpoints in a bucket behind a network that fails: none is ever half there, and what was saved is found again."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from focus_ray.errors import CheckpointError
from focus_ray.storage import checkpoint, s3
from focus_ray.storage.checkpoint import Checkpoints, folder_name
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store
from tests.system.faulty_proxy import Faults, FaultyProxy
from tests.system.servers import use_s3


def state(step: int, megabytes: int) -> dict:
    """A state that tells its step in every number, in files of which the large one takes several parts."""
    return {"encoder": {"w": torch.full((megabytes, 1 << 18), float(step))}, "step": step}


def is_intact(stored: checkpoint.StoredCheckpoint) -> bool:
    return stored.state["step"] == stored.step and bool(stored.state["encoder"]["w"].eq(float(stored.step)).all())


class CheckpointReader:
    """Another reader, past the proxy, that loads whatever checkpoint it sees and notes those that were not whole."""

    def __init__(self, store: ObjectStore) -> None:
        self.checkpoints = Checkpoints(store)
        self.reads, self.broken = 0, []

    @contextmanager
    def running(self) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self._read_loop, args=(done,), daemon=True)
        thread.start()
        yield
        done.set()
        thread.join(60)

    def _read_loop(self, done: threading.Event) -> None:
        while not done.wait(0.2):
            for step in self.checkpoints.steps():
                try:
                    seen = is_intact(self.checkpoints.load(step))
                except CheckpointError:
                    # One that is let go of while it is read is not half there: its manifest is gone by now.
                    seen = step not in self.checkpoints.steps()
                self.reads += 1
                if not seen:
                    self.broken.append(step)


@pytest.fixture
def direct(bucket, s3_url, monkeypatch) -> ObjectStore:
    """The bucket without the proxy, for whoever looks on."""
    with monkeypatch.context() as environment:
        use_s3(environment, s3_url)
        store = open_store(f"{bucket}/run/checkpoints")
        store.list()  # the client is made here, and keeps its endpoint
    return store


def test_a_checkpoint_gets_through_faults_of_every_kind(bucket, proxy: FaultyProxy, direct):
    store = open_store(f"{bucket}/run/checkpoints")
    checkpoints = Checkpoints(store)
    checkpoints.save(1, state(1, 1))
    proxy.faults = Faults(busy=0.2, reset=0.3, lost=0.1, cut=0.1, stalled=0.05, stall_seconds=1)
    proxy.outage(2)
    checkpoints.save(2, state(2, 17))
    stored = checkpoints.latest()
    assert stored is not None
    assert stored.step == 2
    assert is_intact(stored)
    assert proxy.counts["dark"] > 0
    assert sum(proxy.counts[fault] for fault in ("busy", "reset", "lost", "cut", "stalled")) > 0

    content = bytearray(direct.read(f"{folder_name(2)}/encoder.safetensors"))
    content[-1] ^= 1
    direct.write(f"{folder_name(2)}/encoder.safetensors", bytes(content))
    stored = checkpoints.latest()
    assert stored is not None
    assert stored.step == 1
    assert is_intact(stored)
    assert "step-00000002/encoder.safetensors was altered" in stored.skipped[0]


STEPS = 40
MEGABYTES = 20
OUTAGE_SECONDS = 60


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_a_run_of_checkpoints_behind_a_network_that_fails(bucket, proxy: FaultyProxy, direct, record_property, caplog):
    rng = random.Random(0)
    checkpoints = Checkpoints(open_store(f"{bucket}/run/checkpoints"), keep=3)
    callback = CheckpointReader(direct)
    proxy.faults = Faults(busy=0.1, stalled=0.03, stall_seconds=5, reset=0.1, lost=0.02, cut=0.02)
    slowest, during_outage = 0.0, 0.0
    with callback.running():
        for step in range(1, STEPS + 1):
            if step == STEPS // 2:
                threading.Timer(rng.uniform(0.0, 0.5), proxy.outage, args=(OUTAGE_SECONDS,)).start()
            began = time.monotonic()
            checkpoints.save(step, state(step, MEGABYTES), best=step % 7 == 0)
            took = time.monotonic() - began
            if step in (STEPS // 2, STEPS // 2 + 1):
                during_outage = max(during_outage, took)
            else:
                slowest = max(slowest, took)
            assert checkpoints.steps()[-1] == step
    assert callback.reads > STEPS
    assert callback.broken == []
    assert during_outage > 0.8 * OUTAGE_SECONDS
    assert during_outage < OUTAGE_SECONDS + 60
    kept = checkpoints.steps()
    assert kept == sorted({35, STEPS - 2, STEPS - 1, STEPS})

    name = f"{folder_name(STEPS)}/encoder.safetensors"
    direct.write(name, direct.read(name)[:-1] + b"\x7f")
    direct.delete([f"{folder_name(STEPS - 1)}/state.json"])
    stored = checkpoints.latest()
    assert stored is not None
    assert stored.step == STEPS - 2
    assert is_intact(stored)
    assert len(stored.skipped) == 2

    record_property("checkpoints_saved", STEPS)
    record_property("megabytes_each", MEGABYTES)
    record_property("faults", {name: count for name, count in sorted(proxy.counts.items())})
    record_property("looked_at_by_another_reader", callback.reads)
    record_property("half_checkpoints_seen", len(callback.broken))
    record_property("slowest_save_seconds", round(slowest, 1))
    record_property("save_through_the_outage_seconds", round(during_outage, 1))
    record_property("retries_of_ours", sum(record.name == s3.__name__ for record in caplog.records))
