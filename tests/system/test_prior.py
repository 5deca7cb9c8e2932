"""Building a misfit prior with Ray's tasks: workers and drivers that die, and numbers that must not change."""

import json
import random
import time
from pathlib import Path

import pytest
import torch

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.prior import Prior
from focus_ray.priors.build import compute_prior
from focus_ray.priors.prior_config import PriorConfig
from tests.priors.conftest import stand_in
from tests.system.runs import PriorBuild, runs_in_mlflow

pytestmark = pytest.mark.usefixtures("database")
FACES = ("--n", "240", "--heldout", "80", "--shard-size", "10")
SHARDS = 24 + 8


@pytest.fixture(scope="module")
def environment(python_environment_of_module: dict[str, str]) -> dict[str, str]:
    return python_environment_of_module


@pytest.fixture(scope="module")
def r_syn(small_face, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("r_syn") / "model"
    models.save(folder, stand_in(small_face))
    return folder


@pytest.fixture(scope="module")
def alone(r_syn, tmp_path_factory) -> Prior:
    """The prior as one process computes it, without Ray."""
    folder = tmp_path_factory.mktemp("alone") / "prior"
    compute_prior(PriorConfig(model=str(r_syn), n=240, heldout=80, shard_size=10), folder, None)
    return priors.load(folder / "prior")


def same_prior(one: Prior, other: Prior) -> bool:
    """To the last bit: errors, their spread, and what they do to held-out faces."""
    tensors = ("errors", "standard_errors")
    equal = all(
        torch.equal(getattr(one, name)[reading], getattr(other, name)[reading])
        for name in tensors
        for reading in one.errors
    )
    return equal and one.info.figures == other.info.figures


def start_build(python: str, folder: Path, r_syn: Path, environment: dict[str, str], *options: str) -> PriorBuild:
    return PriorBuild(
        python, folder, "--model", str(r_syn), "--out", str(folder), *FACES, *options, environment=environment
    )


def test_two_tasks_one_of_them_killed_and_a_driver_that_dies_give_the_bits_of_one_process(
    alone, r_syn, tmp_path, python, environment
):
    folder = tmp_path / "prior"
    run = start_build(python, folder, r_syn, environment, "--tasks", "2")
    run.reach(4)
    run.kill_worker(0)
    run.reach(10)
    run.kill_driver()
    finished = run.shards()
    assert 10 <= finished < SHARDS, run.read_log()
    again = start_build(python, folder, r_syn, environment, "--tasks", "3")
    assert again.wait() == 0, again.read_log()
    prior = priors.load(folder / "prior")
    assert prior.info.shards_kept == finished  # only what was missing is computed
    assert prior.info.shards_computed == SHARDS - finished
    assert same_prior(prior, alone)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["prior"]["n"] == 240
    assert runs_in_mlflow(folder) > 0


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_five_workers_killed_and_other_numbers_of_tasks(r_syn, tmp_path, python, environment, record_property):
    """N = 5,000 with 1, 2 and 4 tasks, and with five workers killed: the same bits; almost so for larger shards."""
    many = ("--n", "5000", "--heldout", "500", "--shard-size", "50")
    built, kills = {}, []
    for tasks in (1, 2, 4):
        folder = tmp_path / f"tasks-{tasks}"
        run = start_build(python, folder, r_syn, environment, "--tasks", str(tasks), *many)
        assert run.wait() == 0, run.read_log()
        built[tasks] = priors.load(folder / "prior")
    assert same_prior(built[1], built[2])
    assert same_prior(built[1], built[4])
    large = tmp_path / "large-shards"
    run = start_build(python, large, r_syn, environment, "--tasks", "2", *many, "--shard-size", "500")
    assert run.wait() == 0, run.read_log()
    apart = [
        float((error - priors.load(large / "prior").errors[reading]).abs().max())
        for reading, error in built[1].errors.items()
    ]
    record_property("shards_of_50_against_500_mm", max(apart))
    assert max(apart) < 1e-6
    folder = tmp_path / "killed"
    run = start_build(python, folder, r_syn, environment, "--tasks", "2", *many)
    dice = random.Random(0)
    for after in sorted(dice.sample(range(5, 95), 5)):
        run.reach(after)
        run.kill_worker(dice.randrange(2))
        kills.append(after)
        time.sleep(0.2)
    assert run.wait() == 0, run.read_log()
    assert same_prior(built[1], priors.load(folder / "prior"))
    record_property("killed_after_shards", kills)
