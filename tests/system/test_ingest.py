"""Batches made by Ray Data's actors: the bits and the order of the training process, whatever happens to the actors."""

import gc
import os
import signal
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

from focus_ray.data.align import STANDARD_POINTS
from focus_ray.data.ingest import BatchFactory, StepStream
from focus_ray.data.landmark_check import MEAN_LANDMARKS
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.photos import PhotoFolder
from focus_ray.errors import ConfigError, ImageError
from focus_ray.storage.open_store import open_store
from tests.system.batches import RandomBatches, photo_batches, synthetic_batches
from tests.system.servers import new_bucket, s3_server, use_s3

CPUS = 4
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray's own, of its own settings
    # Ray leaves its log files open where two datasets are read at a time.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket that this process and the actors reach."""
    with pytest.MonkeyPatch.context() as environment, s3_server() as url:
        use_s3(environment, url)
        yield f"s3://{new_bucket(url)}"


@pytest.fixture(scope="module", autouse=True)
def session(s3: str) -> Iterator[None]:
    """One Ray for the module, begun when the bucket is known: actors have the environment of that moment."""
    import ray

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        environment.setenv("RAY_AUTH_MODE", "disabled")
        environment.setenv("RAY_worker_niceness", "0")
        ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Ray ends its processes and does not wait for them
            gc.collect()


@pytest.fixture
def toys(tmp_path: Path) -> RandomBatches:
    (tmp_path / "log").touch()
    return RandomBatches(tmp_path / "log")


def assert_same(stream: StepStream, make: BatchFactory, steps: range) -> None:
    """The stream's batches are those that this process makes itself."""
    batch_of = make()
    for step in steps:
        ours, theirs = batch_of(step), stream.batch(step)
        assert torch.equal(ours.images, theirs.images), step
        assert torch.equal(ours.landmarks, theirs.landmarks), step


def wait_for_all_cpus() -> None:
    """The actors are gone when Ray has all its CPUs again."""
    import ray

    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != CPUS:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_ranks_take_the_steps_of_their_own_process_from_the_middle_on(toys: RandomBatches, tmp_path: Path):
    (tmp_path / "other").touch()
    other = RandomBatches(tmp_path / "other", rank=1)
    with StepStream(toys, 7, 40, actors=2) as one, StepStream(other, 7, 40) as two:
        assert_same(one, toys, range(7, 40))
        assert_same(two, other, range(7, 40))
        with pytest.raises(ValueError, match=r"step 40 requested after 33 of the steps range\(7, 40\)"):
            one.batch(40)
    makers = {pid for _, pid in toys.read_log()} - {os.getpid()}
    assert len(makers) == 2
    assert len({pid for step, pid in toys.read_log() if step % 2} & makers) == 1, "each actor has its steps"
    wait_for_all_cpus()


def test_an_actor_pauses_where_nobody_takes_its_batches(toys: RandomBatches):
    with StepStream(toys, 0, 500_000, memory_mb=0.1) as stream:
        ahead = []
        for step in range(60):
            stream.batch(step)
            time.sleep(0.05)
            ahead.append(len(toys.read_log()) - step)
    assert max(ahead) < 50  # about ten batches are 0.1 MB, and the actor has some in hand
    wait_for_all_cpus()


def test_photographs_in_a_bucket(s3: str, tmp_path: Path):
    picture = Image.fromarray(skimage.data.astronaut()).resize((256, 256))
    points = MEAN_LANDMARKS[:, :2] * [0.01, -0.01]
    right, left, nose, right_mouth, left_mouth = STANDARD_POINTS[:, :2] * [1, -1]
    points[[36, 39]], points[[42, 45]] = right, left
    points[30], points[48], points[54] = nose, right_mouth, left_mouth
    names = [f"{number}.png" for number in range(5)]
    write_landmarks(tmp_path / "landmarks.csv", {name: points * 30.0 + [111.25, 62.25] for name in names})
    store = open_store(f"{s3}/photos")
    store.write("landmarks.csv", (tmp_path / "landmarks.csv").read_bytes())
    for number, name in enumerate(names):
        picture.rotate(number).save(tmp_path / name)
        store.upload(tmp_path / name, name)
    local, stored = PhotoFolder(tmp_path, image_size=32), PhotoFolder(f"{s3}/photos", image_size=32)
    with StepStream(partial(photo_batches, stored, 4), 2, 8) as stream:
        assert_same(stream, partial(photo_batches, local, 4), range(2, 8))
    wait_for_all_cpus()


def test_errors_arrive_as_they_were_raised(toys: RandomBatches):
    with StepStream(RandomBatches(toys.log, failing_step=3), 0, 9) as stream:
        assert_same(stream, toys, range(3))
        with pytest.raises(ImageError, match=r"b\.png: the picture is damaged"):
            stream.batch(3)
    wait_for_all_cpus()


def test_too_few_cpus_are_an_error_and_no_waiting_for_ever(toys: RandomBatches):
    with (
        StepStream(toys, 0, 9, cpus=CPUS + 1.0, start_timeout_s=1) as stream,
        pytest.raises(ConfigError, match="Ray has no free CPUs for the batch actors; add CPUs"),
    ):
        stream.batch(0)
    wait_for_all_cpus()


@pytest.mark.drill
def test_an_actor_that_is_killed_changes_nothing(toys: RandomBatches):
    slow = RandomBatches(toys.log, seconds=0.02)
    with StepStream(slow, 0, 150, actors=2) as stream:
        assert_same(stream, toys, range(40))
        victim = [pid for _, pid in toys.read_log() if pid != os.getpid()][-1]
        os.kill(victim, signal.SIGKILL)
        assert_same(stream, toys, range(40, 150))
    assert len({pid for _, pid in toys.read_log()} - {os.getpid()}) == 3
    wait_for_all_cpus()


@pytest.mark.drill
@pytest.mark.parametrize("ranks", [1, 2])
def test_synthetic_faces_of_ranks(ranks: int):
    makers = [partial(synthetic_batches, 24, 8, rank, ranks) for rank in range(ranks)]
    streams = [StepStream(make, 1, 9, actors=2) for make in makers]
    try:
        for stream, make in zip(streams, makers, strict=True):
            assert_same(stream, make, range(1, 9))
    finally:
        for stream in streams:
            stream.close()
    wait_for_all_cpus()


@pytest.mark.drill
def test_a_long_plan_begins_soon_and_is_small(toys: RandomBatches):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with StepStream(toys, 0, 500_000, actors=2) as stream:
        assert_same(stream, toys, range(20))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    wait_for_all_cpus()
