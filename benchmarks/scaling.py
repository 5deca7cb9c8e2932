"""What a second worker is worth, and what Ray Train costs: images a second, as ratios within one run of this script.

plain         the loop in one process, one thread (`train --local`)
ray, 1        Ray Train with one worker of one thread
ray, 2        two workers share each batch, one thread each
ray, 2, own   the same, each normalises its own part of a batch (compute.synchronise_batchnorm=false)
two plain     two independent plain processes at the same time: what the machine's second core can give at all

    python benchmarks/scaling.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS = [
    "schedule={warmup_steps: 60, init_steps: 60, pretrain_seg_steps: 40, cycles: 1, seg_steps: 40, face_steps: 60}",
    "heldout.size=0",
    "data.size=64",  # soon all made: with many, each worker would at first make most of them for itself
    "cadence={log: 10, checkpoint: 1000, evaluate: 1000, sheet: 1000}",
]
PHASES = ("warmup", "init", "pretrain_seg", "em_seg", "em_face")
WARMUP_STEPS = 10  # steps of each phase that are left out: kernels are compiled, data are made for the first time
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def start(folder: Path, *options: str) -> subprocess.Popen:
    """A training run in a process of its own."""
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "focus_ray", "train", *sets, *options, "--out", str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(errors)


def seconds_per_step(folder: Path) -> dict[str, float]:
    """Median time of a step in each phase, waiting for data left out."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return {
        phase: statistics.median(
            line["seconds"] - line["data_seconds"]
            for line in [line for line in lines if line["phase"] == phase][WARMUP_STEPS:]
        )
        for phase in PHASES
    }


def run_round(scratch: Path, number: int) -> dict[str, dict[str, float]]:
    """One round: each way once."""
    one = ("--cpus-per-worker", "1")
    times = {}
    for name, options in {
        "plain": ("--local",),
        "ray, 1": ("--workers", "1", *one),
        "ray, 2": ("--workers", "2", *one),
        "ray, 2, own": ("--workers", "2", *one, "--set", "compute.synchronise_batchnorm=false"),
    }.items():
        folder = scratch / f"{number}-{name.replace(', ', '-')}"
        wait_for(start(folder, *options))
        times[name] = seconds_per_step(folder)
    pair = [scratch / f"{number}-pair-{i}" for i in range(2)]
    for process in [start(folder, "--local") for folder in pair]:
        wait_for(process)
    both = [seconds_per_step(folder) for folder in pair]
    # Two batches in the time of the slower one.
    times["two plain"] = {phase: max(each[phase] for each in both) / 2 for phase in PHASES}
    return times


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        rounds = [run_round(Path(scratch), number) for number in range(ROUNDS)]

    def ratio(fast: str, slow: str, phase: str) -> float:
        return statistics.median(times[slow][phase] / times[fast][phase] for times in rounds)

    print(f"medians over {ROUNDS} rounds; images a second relative to one process of the same kind")
    names = ("phase", "Ray cost", "two workers", "share", "own norm", "share", "two processes", "ms a step")
    print("".join(f"{name:>15}" for name in names))
    for phase in PHASES:
        cost = 1 / ratio("ray, 1", "plain", phase) - 1
        workers, own = ratio("ray, 2", "ray, 1", phase), ratio("ray, 2, own", "ray, 1", phase)
        ceiling = ratio("two plain", "plain", phase)
        step = statistics.median(times["plain"][phase] for times in rounds) * 1e3
        shares = f"{workers:>15.2f}{workers / ceiling:>15.0%}{own:>15.2f}{own / ceiling:>15.0%}"
        print(f"{phase:>15}{cost:>+15.1%}{shares}{ceiling:>15.2f}{step:>15.1f}")


if __name__ == "__main__":
    main()
