"""Building a misfit prior: faces a second against N, peak memory, two workers against one; and a model of 10^9 faces.

    python benchmarks/prior.py [--model DIR] [--sizes 1000 2000 4000 8000]

Measured are whole builds of `focus-ray prior build` (the start of Ray is not counted), each beside the others in one
run. Two independent processes say what the machine gives: its cores may share more than a bus. The constants of the
model (a task's cost beside its faces, the size of a state, a merge) are measured here too; what it says of clusters is
arithmetic, not measurement.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from focus_ray import model as models
from focus_ray.data.rendered import RenderedConfig
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.priors.measure import MeasurementSpec, Measurer
from focus_ray.priors.shard_pool import BRANCH_SIZE
from focus_ray.priors.shards import encode_state

SHARD = 250
POLL_SECONDS = 0.05  # s between two looks at the memory


@dataclass(frozen=True)
class BuildResult:
    """What one build took."""

    faces: int
    seconds: float
    peak: dict[str, float]  # MB: of the driver, of the largest worker

    @property
    def rate(self) -> float:
        return self.faces / self.seconds


def build(model: Path, folder: Path, n: int, *options: str) -> BuildResult:
    """One build, its memory watched."""
    command = [sys.executable, "-m", "focus_ray", "prior", "build", "--model", str(model), "--out", str(folder)]
    command += ["--n", str(n), "--heldout", "2", "--shard-size", str(SHARD), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = {"driver": 0.0, "worker": 0.0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            for pid in Path("/proc").glob("[0-9]*"):
                name = "driver" if pid.name == str(process.pid) else "worker"
                if name == "driver" or command_line(pid).startswith("ray::_leaf"):
                    peak[name] = max(peak[name], resident_mb(pid))

    callback = threading.Thread(target=watch)
    callback.start()
    code = process.wait()
    ended.set()
    callback.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with code {code}")
    seconds = json.loads((folder / "metrics.json").read_text())["seconds"]["prior"]
    return BuildResult(n, seconds, peak)


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def resident_mb(process: Path) -> float:
    """Resident memory that is the process's own, in MB: what lies in Ray's shared object store is not counted."""
    try:
        fields = (process / "status").read_text().splitlines()
    except OSError:
        return 0.0
    kilobytes = {line.split(":")[0]: line.split()[1] for line in fields if line.startswith("Rss")}
    return int(kilobytes.get("RssAnon", 0)) / 1024


def concurrent_rate(model: Path, scratch: Path, n: int) -> float:
    """Faces a second of two independent processes, added up."""
    command = [sys.executable, "-m", "focus_ray", "prior", "build", "--model", str(model), "--local"]
    command += ["--n", str(n), "--heldout", "2", "--shard-size", str(SHARD), "--out"]
    processes = [
        subprocess.Popen([*command, str(scratch / f"own-{i}")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for i in range(2)
    ]
    if any([process.wait() for process in processes]):
        raise SystemExit("an independent process failed")
    seconds = [json.loads((scratch / f"own-{i}" / "metrics.json").read_text())["seconds"]["prior"] for i in range(2)]
    return sum(n / value for value in seconds)


def fit_line(built: list[BuildResult]) -> tuple[float, float]:
    """Seconds to begin and seconds a face, by least squares: the first is the start of a worker process."""
    slope, begin = np.polyfit([one.faces for one in built], [one.seconds for one in built], 1)
    return float(begin), float(slope)


def measure_constants(model: Path, built: list[BuildResult], alone: float) -> dict[str, float]:
    """What the model of larger clusters is made of."""
    begin, slope = fit_line(built)
    work = MeasurementSpec(models.load(model), RenderedConfig(), 0, "prior")
    state = Measurer(work).measure_shard(range(50))
    began = time.perf_counter()
    for _ in range(20):
        state.merge(state)
    merge = (time.perf_counter() - began) / 20
    return {
        "begin": begin,
        "face": 1 / alone,
        "task": max(slope - 1 / alone, 0.0) * SHARD,
        "state": float(len(encode_state(state))),
        "merge": merge,
    }


@dataclass(frozen=True)
class ClusterModel:
    """A cluster on paper."""

    workers: int
    submit: float = 1 / 2000  # s of the driver for each task that it submits and hears of: 2,000 tasks a second
    failures: float = 0.01  # share of the tasks whose worker dies
    network: float = 1e9  # bytes a second into the driver
    store: float = 3500.0  # objects a second under one prefix, as S3 takes them


def predict_seconds(
    n: float, shard: int, branch: int, cluster: ClusterModel, measured: dict[str, float]
) -> dict[str, float]:
    """Seconds of each part, were it alone; the build takes as long as the largest."""
    shards = n / shard
    joins = shards / branch if branch > 1 else 0
    task = shard * measured["face"] + measured["task"]
    return {
        "workers": measured["begin"] + shards * task * (1 + cluster.failures) / cluster.workers,
        "driver, tasks": (shards + joins) * cluster.submit,
        "driver, states": shards / branch * (measured["merge"] + measured["state"] / cluster.network),
        "store": shards / cluster.store,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED_MODELS["embedded"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        built = [build(arguments.model, scratch / f"n-{n}", n, "--tasks", "1") for n in arguments.sizes]
        print("one task at a time:")
        for one in built:
            memory = ", ".join(f"{name} {value:.0f} MB" for name, value in one.peak.items())
            print(f"  N = {one.faces}: {one.seconds:.1f} s, {one.rate:.0f} faces/s; peak {memory}")
        n = arguments.sizes[-1]
        two = build(arguments.model, scratch / "two", n, "--tasks", "2")
        alone = build(arguments.model, scratch / "alone", n, "--local").rate
        both = concurrent_rate(arguments.model, scratch, n)
    one = built[-1]
    print(f"one process without Ray: {alone:.0f} faces/s, a core")
    print(f"two tasks against one: {two.rate / one.rate:.2f}")
    print(f"two independent processes against one: {both / alone:.2f}")
    known = measure_constants(arguments.model, built, alone)
    print("constants: " + ", ".join(f"{name} {value:.4g}" for name, value in known.items()) + " (s, bytes)")
    print("10^9 faces on 1,000 nodes of 16 cores, on paper, seconds of each part:")
    for shard, branch in ((500, 1), (500, BRANCH_SIZE), (10_000, 1), (10_000, BRANCH_SIZE), (50_000, BRANCH_SIZE)):
        parts = predict_seconds(1e9, shard, branch, ClusterModel(16_000), known)
        told = ", ".join(f"{name} {value:.0f}" for name, value in parts.items())
        print(f"  shards of {shard}, branches of {branch}: {told}")


if __name__ == "__main__":
    main()
