"""Training under Ray Train as a whole: workers and drivers that die, stores that fail, numbers that must not change."""

import json
import random
import subprocess
import time
import warnings
from pathlib import Path

import pytest
import torch

from focus_ray import presets
from focus_ray.training.in_process import train
from tests.conftest import quick_runs
from tests.system.faulty_proxy import FaultyProxy
from tests.system.runs import MINIATURE, STEPS, TrainingRun, load_weights, read_jsonl, same_weights, set_options

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("database")]
ONE = ("--cpus-per-worker", "1")
TWO = ("--workers", "2", "--cpus-per-worker", "1")


@pytest.fixture(scope="module")
def environment(python_environment_of_module: dict[str, str]) -> dict[str, str]:
    return python_environment_of_module


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The same run in this process, without Ray."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    with quick_runs():
        train(presets.load("embedded", None, MINIATURE), folder)
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory, python: str, environment) -> Path:
    """Two workers whom nobody disturbs."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    run = TrainingRun(python, folder, *set_options(MINIATURE), *TWO, "--out", str(folder), environment=environment)
    assert run.wait() == 0, run.read_log()
    return folder


def mlflow_runs(folder: Path) -> list:
    """What the database beside a run folder knows of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies, while it is imported
        import mlflow
        import mlflow.store.tracking.sqlalchemy_store

    client = mlflow.MlflowClient(f"sqlite:///{folder.parent / 'mlflow.db'}")
    run_id = json.loads((folder / "run.json").read_text())["run_id"]
    experiment = client.get_experiment_by_name("focus")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], f"tags.`focus.run_id` = '{run_id}'")


def test_a_worker_and_a_driver_that_are_killed_and_a_store_that_fails_change_nothing(
    plain, tmp_path, python, environment, bucket: str, proxy: FaultyProxy, bucket_environment
):
    """One worker of Ray Train, whatever befalls it, trains the bits of the plain loop."""
    folder = tmp_path / "killed"
    kill_worker_and_driver(folder, ONE, python, environment | bucket_environment, bucket, proxy)
    assert same_weights(plain, folder)
    ours, theirs = (read_jsonl(run / "history.jsonl") for run in (folder, plain))
    assert [line["loss"] for line in ours] == [line["loss"] for line in theirs]


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_two_workers_one_of_them_killed_and_the_driver_too(
    straight, tmp_path, python, environment, bucket: str, proxy: FaultyProxy, bucket_environment
):
    folder = tmp_path / "killed"
    kill_worker_and_driver(folder, TWO, python, environment | bucket_environment, bucket, proxy)
    assert same_weights(straight, folder)


def kill_worker_and_driver(
    folder: Path, workers: tuple[str, ...], python: str, environment: dict[str, str], bucket: str, proxy: FaultyProxy
) -> None:
    """Kill both in a run behind a store that refuses a tenth of its requests, and go on with it to its end."""
    proxy.faults.busy = 0.1
    first = ("--storage", f"{bucket}/runs", "--out", str(folder))
    run = TrainingRun(python, folder, *set_options(MINIATURE), *workers, *first, environment=environment)
    run.reach(STEPS - 30)  # in the first cycles of EM
    run.kill_worker(-1)
    run.reach(STEPS - 8)
    run.kill_driver()
    again = TrainingRun(python, folder, "--resume", str(folder), *workers, environment=environment)
    assert again.wait() == 0, again.read_log()
    assert [line["step"] for line in read_jsonl(folder / "history.jsonl")] == list(range(STEPS))
    assert len(mlflow_runs(folder)) == 1
    assert proxy.counts["busy"] > 0


@pytest.mark.drill  # in make test: one replica's broken picture makes all skip, and ten steps without a loss end a run
def test_what_is_no_number_on_one_worker_is_skipped_by_all_and_ends_the_run(tmp_path, python, environment):
    folder = tmp_path / "poisoned"
    script = Path(__file__).with_name("poisoned_run.py")
    ended = subprocess.run(
        [python, str(script), str(folder)], env=environment, capture_output=True, text=True, timeout=400
    )
    assert ended.returncode == 6, ended.stderr
    assert "10 steps in a row had no finite loss" in ended.stderr
    history = read_jsonl(folder / "history.jsonl")
    assert [line["skipped"] for line in history][-12:] == [False, False] + [True] * 10
    said = [line for line in read_jsonl(folder / "log.jsonl") if "skipped" in line["message"]]
    by_rank = [[line["step"] for line in said if line["rank"] == rank] for rank in (0, 1)]
    assert by_rank[0] == by_rank[1]
    assert len(by_rank[0]) == 10
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    assert (newest / "manifest.json").is_file()


@pytest.mark.drill
@pytest.mark.timeout(3000)
def test_five_workers_killed_in_one_run(straight, tmp_path, python, environment, record_property):
    """Workers die at random steps in both phases of EM; each kill costs at most what was not yet kept."""
    folder = tmp_path / "killed"
    long = [*MINIATURE[:3], MINIATURE[3].replace("cycles: 3", "cycles: 12"), *MINIATURE[4:]]
    total = 6 * 3 + 12 * 12
    quiet = TrainingRun(python, tmp_path / "quiet", *set_options(long), *TWO, "--out", str(tmp_path / "quiet"))
    assert quiet.wait() == 0, quiet.read_log()
    rng = random.Random(0)
    run = TrainingRun(python, folder, *set_options(long), *TWO, "--out", str(folder), environment=environment)
    wasted, phases = [], set()
    for kill in range(5):
        at = 18 + kill * 28 + rng.randrange(12)
        run.reach(at)
        run.kill_worker(rng.randrange(2))
        reached = run.history()[-1]
        phases.add(reached["phase"])
        resumed = wait_for_resume(run, kill + 1)
        wasted.append(reached["step"] + 1 - resumed)
    assert run.wait() == 0, run.read_log()
    record_property("killed_at_phases", sorted(phases))
    record_property("wasted_steps", wasted)
    record_property("checkpoint_interval", 6)
    record_property("steps_on_the_way", steps_during_upload(folder))
    assert phases == {"em_seg", "em_face"}
    assert max(wasted) <= 2 * 6  # the interval, and the steps that ran while a checkpoint was on its way
    assert same_weights(tmp_path / "quiet", folder)
    assert [line["step"] for line in read_jsonl(folder / "history.jsonl")] == list(range(total))
    assert len(mlflow_runs(folder)) == 1


def steps_during_upload(folder: Path) -> list[int]:
    """How many steps were trained while each checkpoint that became whole was on its way."""
    said = [
        line for line in read_jsonl(folder / "log.jsonl") if line["rank"] == 0 and line["message"].endswith(" is whole")
    ]
    return [line["step"] - int(line["message"].split()[3]) for line in said]


def wait_for_resume(run: TrainingRun, times: int) -> int:
    """The step that the run went on from, once it has for the n-th time."""
    deadline = time.monotonic() + 300
    while True:
        found = [
            line
            for line in read_jsonl(run.folder / "log.jsonl")
            if line["rank"] == 0 and line["message"].startswith("going on from")
        ]
        if len(found) >= times:
            return int(found[times - 1]["message"].rpartition(" ")[2])
        assert time.monotonic() < deadline, run.read_log()
        assert run.process.poll() is None, run.read_log()
        time.sleep(0.05)


@pytest.mark.drill
@pytest.mark.timeout(3000)
def test_a_run_goes_on_with_another_number_of_workers(straight, tmp_path, python, environment, record_property):
    """A checkpoint of two workers, gone on with by one: the same samples, the same history up to rounding."""
    folder = tmp_path / "run"
    run = TrainingRun(python, folder, *set_options(MINIATURE), *TWO, "--out", str(folder), environment=environment)
    run.reach(STEPS - 14)
    run.kill_driver()
    alone = TrainingRun(python, folder, "--resume", str(folder), "--cpus-per-worker", "1", environment=environment)
    assert alone.wait() == 0, alone.read_log()
    a, b = load_weights(straight), load_weights(folder)
    difference = torch.stack([(a[name].double() - b[name].double()).norm() for name in a]).norm()
    size = torch.stack([a[name].double().norm() for name in a]).norm()
    record_property("relative_difference", float(difference / size))
    assert float(difference / size) < 1e-2


def test_a_bucket_that_is_not_there_is_said_before_anything_begins(tmp_path, python, environment, bucket_environment):
    folder = tmp_path / "run"
    elsewhere = ("--storage", "s3://no-such-bucket-of-focus-ray/runs")
    run = TrainingRun(
        python,
        folder,
        *set_options(MINIATURE),
        *elsewhere,
        "--out",
        str(folder),
        environment=environment | bucket_environment,
    )
    assert run.wait() == 5, run.read_log()
    (line,) = run.read_log().splitlines()
    assert line.startswith("error[storage]: ")
    assert "no-such-bucket-of-focus-ray" in line
    assert not folder.exists()


@pytest.mark.drill
@pytest.mark.timeout(3000)
def test_a_run_behind_a_network_that_fails(
    tmp_path,
    python,
    environment,
    bucket: str,
    proxy: FaultyProxy,
    bucket_environment,
    record_property,
):
    """Refusals, stalls, resets in mid-upload and an outage of a minute: training goes on, nothing is half."""
    proxy.faults.busy = 0.1
    proxy.faults.stalled = 0.05
    proxy.faults.reset = 0.1
    proxy.faults.reset_bytes = 1 << 17
    # A checkpoint every 20 s or so: no more than four of them wait while the store is gone.
    long = [*MINIATURE[:3], MINIATURE[3].replace("cycles: 3", "cycles: 90"), *MINIATURE[4:7]]
    long += ["cadence={log: 50, checkpoint: 200, evaluate: 2000, sheet: 2000}", "guard={low: 0.0, high: 1.0}"]
    quiet = TrainingRun(python, tmp_path / "quiet", *set_options(long), *TWO, "--out", str(tmp_path / "quiet"))
    assert quiet.wait() == 0, quiet.read_log()
    folder = tmp_path / "run"
    run = TrainingRun(
        python,
        folder,
        *set_options(long),
        *TWO,
        *("--storage", f"{bucket}/runs", "--out", str(folder)),
        environment=environment | bucket_environment,
    )
    run.reach(190)
    proxy.outage(60)
    during = len(run.history())
    while proxy.in_outage:
        time.sleep(0.5)
    record_property("steps_through_the_outage", len(run.history()) - during)
    assert len(run.history()) > during + 50  # training goes on
    assert run.wait() == 0, run.read_log()
    said = [line["message"] for line in read_jsonl(folder / "log.jsonl") if line["rank"] == 0]
    lost = [message for message in said if "is lost" in message or "is dropped for" in message]
    record_property("faults", dict(proxy.counts))
    record_property("checkpoints_lost_or_left_out", len(lost))
    assert len(lost) <= 1, lost
    assert same_weights(tmp_path / "quiet", folder)
