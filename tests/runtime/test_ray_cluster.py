"""The cluster of a run: a small one on this machine, or the one that is named; what it cannot give is said at once."""

import os
import sys
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from focus_ray.errors import ClusterError, ConfigError
from focus_ray.runtime import ray_cluster
from focus_ray.runtime.ray_cluster import ClusterSettings, connect_ray, missing_resources


class Ray(SimpleNamespace):
    """Stands in for the package: remembers how it was started, and has the resources that a test gives it."""

    def __init__(self, **resources: float):
        super().__init__(running=False, inits=[], problem=None)
        self.resources = self.free = resources

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **options) -> None:
        if self.problem is not None:
            raise self.problem
        self.inits.append(options)
        self.running = True

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def available_resources(self) -> dict[str, float]:
        return self.free

    def shutdown(self) -> None:
        self.running = False


@pytest.fixture
def ray(monkeypatch) -> Ray:
    """A machine of 6 cores without a GPU, on which no cluster is named."""
    ray = Ray(CPU=6.0)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(ray_cluster, "cores", lambda: 6)
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


def test_a_node_of_its_own_for_as_long_as_it_takes(ray):
    with connect_ray(ClusterSettings(workers=2, data_workers=1)) as decided:
        assert ray.running
        (options,) = ray.inits
        assert options["address"] == "local"
        assert options["num_cpus"] == 8  # three cores a worker, and one that makes its batches
        assert options["include_dashboard"] is False
        assert options["log_to_driver"] is False
        assert decided == ClusterSettings(workers=2, data_workers=1, cpus_per_worker=3)
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"  # the loopback interface only
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert not ray.running


@pytest.mark.parametrize(
    ("workers", "asked", "per_worker", "cpus"), [(1, None, 6, 6), (4, None, 1, 6), (8, None, 1, 8), (2, 6, 6, 12)]
)
def test_the_cores_of_a_worker(ray, workers, asked, per_worker, cpus):
    with connect_ray(ClusterSettings(workers=workers, cpus_per_worker=asked)) as decided:
        assert decided.cpus_per_worker == per_worker
        assert ray.inits[0]["num_cpus"] == cpus  # more workers than cores are let begin


def test_what_the_user_set_stays(ray):
    os.environ["RAY_USAGE_STATS_ENABLED"] = "1"
    with connect_ray(ClusterSettings()):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"


def test_a_node_ends_with_the_error_of_a_run(ray):
    with pytest.raises(RuntimeError), connect_ray(ClusterSettings()):
        raise RuntimeError
    assert not ray.running


def test_a_machine_without_gpus_refuses_gpu(ray):
    message = (
        "8 workers with one GPU each are requested, this machine has 0 GPUs; use fewer workers, or workers without "
        "GPU, or set RAY_ADDRESS to a cluster"
    )
    with pytest.raises(ConfigError) as caught, connect_ray(ClusterSettings(workers=8, gpu=True)):
        pytest.fail("nothing begins")
    assert str(caught.value) == message
    assert not ray.running


def test_a_machine_with_gpus_gives_as_many_as_it_has(ray):
    ray.resources["GPU"] = 2.0
    with connect_ray(ClusterSettings(workers=2, gpu=True)) as decided:
        assert decided.gpu
    with (
        pytest.raises(ConfigError, match="3 workers with one GPU each are requested, this machine has 2"),
        connect_ray(ClusterSettings(workers=3, gpu=True)),
    ):
        pytest.fail("nothing begins")


def test_a_cluster_that_is_named_is_used_as_it_is(ray):
    """It may grow: that it has no GPU yet is no reason to refuse one."""
    os.environ["RAY_ADDRESS"] = "head:6379"
    with connect_ray(ClusterSettings(workers=8, gpu=True)) as decided:
        (options,) = ray.inits
        assert options["address"] == "head:6379"
        assert "num_cpus" not in options
        assert decided.cpus_per_worker == 1
        assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
    assert not ray.running
    with connect_ray(ClusterSettings(cpus_per_worker=12)) as decided:
        assert decided.cpus_per_worker == 12


def test_what_a_run_waits_for_is_said(ray):
    eight = ClusterSettings(workers=2, cpus_per_worker=3, data_workers=1, gpu=True)
    ray.resources, ray.free = {"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}
    assert missing_resources(eight) is None
    ray.free = {"CPU": 7.5}  # Ray leaves out what there is none of
    assert (
        missing_resources(eight)
        == "waiting for the cluster: 8 CPU requested, 7.5 of 16 free; 2 GPU requested, 0 of 2 free"
    )
    ray.free = {"CPU": 7.5, "GPU": 2.0}
    assert missing_resources(eight) == "waiting for the cluster: 8 CPU requested, 7.5 of 16 free"


def test_a_connection_that_was_there_is_left_as_it_was(ray):
    ray.running = True
    with connect_ray(ClusterSettings()) as decided:
        assert decided.cpus_per_worker == 6
    assert ray.running
    assert ray.inits == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            None,
            "cannot start Ray on this machine: no room in /dev/shm; see `focus-ray doctor`, or train in this process",
        ),
        ("head:6379", "cannot reach the Ray cluster head:6379: no room in /dev/shm; see"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_one_line(ray, address, message):
    if address is not None:
        os.environ["RAY_ADDRESS"] = address
    ray.problem = OSError("no room\n in /dev/shm")
    with pytest.raises(ClusterError) as caught, connect_ray(ClusterSettings()):
        pytest.fail("nothing begins")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_that_is_too_long_for_sockets_is_refused_before_ray_tries(ray, name):
    os.environ.pop("TMPDIR", None)
    os.environ[name] = "/" + "t" * 60
    with (
        pytest.raises(ClusterError, match="set RAY_TMPDIR or TMPDIR to a shorter folder"),
        connect_ray(ClusterSettings()),
    ):
        pytest.fail("nothing begins")
    assert ray.inits == []
    os.environ["RAY_ADDRESS"] = "head:6379"  # its sockets are elsewhere
    with connect_ray(ClusterSettings()):
        assert len(ray.inits) == 1


def test_the_longest_folder_for_sockets(ray, monkeypatch):
    os.environ.pop("TMPDIR", None)
    monkeypatch.setattr(ray_cluster, "MAX_SOCKET_PATH_BYTES", 107)
    for length, fits in ((45, True), (46, False)):  # 62 bytes for Ray's own names, and a process number of one digit
        os.environ["RAY_TMPDIR"] = "t" * length
        assert (ray_cluster.socket_problem(pid=7) is None) == fits


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"cpus_per_worker": 0}, {"data_workers": -1}, {"max_failures": -2}])
def test_settings_that_no_cluster_can_have_are_refused(wrong):
    with pytest.raises(ValidationError):
        ClusterSettings(**wrong)


def test_the_cores_of_this_machine_are_those_that_may_be_used():
    assert 1 <= ray_cluster.cores() <= (os.cpu_count() or 1)
