"""Times `reconstruct` from the start of its process, for one photograph and for two: wall and processor seconds.

    python benchmarks/startup.py [--photo FILE] [--runs 5] [--json FILE]

Processes with one photograph, with two, and with `import torch` alone take turns; the table has medians. The second
photograph costs the difference. The first turn is not counted: it compiles the kernels if they are not in the cache.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from PIL import Image
from skimage import data

ROOT = Path(__file__).resolve().parent.parent


def measure(photo: Path | None, runs: int) -> dict[str, dict[str, float]]:
    """Median wall and processor seconds of each kind of process."""
    with tempfile.TemporaryDirectory() as folder:
        first, second, out = (Path(folder) / name for name in ("1.png", "2.png", "out"))
        if photo is None:
            Image.fromarray(data.astronaut()).save(first)
        else:
            first = Path(shutil.copy(photo, first.with_suffix(photo.suffix)))
        shutil.copy(first, second)
        reconstruct = ["-m", "focus_ray", "reconstruct", "--out", str(out)]
        commands = {
            "import torch": ["-c", "import torch"],
            "one photograph": [*reconstruct, str(first)],
            "two photographs": [*reconstruct, str(first), str(second)],
        }
        turns = [{name: time_process(command) for name, command in commands.items()} for _ in range(runs + 1)][1:]
    results = {}
    for name in commands:
        wall, processor = zip(*(turn[name] for turn in turns), strict=True)
        results[name] = {"wall_s": median(wall), "processor_s": median(processor)}
    one, two = results["one photograph"], results["two photographs"]
    return results | {"second photograph": {unit: two[unit] - one[unit] for unit in one}}


def time_process(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds (user and system) of one Python process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=environment, capture_output=True)
    wall, after = perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a photograph with one face; none: one of scikit-image's")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    results = measure(options.photo, options.runs)
    print(f"{'':18} wall s  processor s")
    for name, row in results.items():
        print(f"{name:18} {row['wall_s']:6.2f}  {row['processor_s']:11.2f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
