"""Whether training waits for its checkpoints: steps while a padded one is on its way to S3, against steps without.

A server that stands in for S3 runs on this machine, behind a proxy that lets so many bytes a second through. One worker
of one thread trains; its checkpoints carry padding.

    python benchmarks/checkpoint_upload.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.system.faulty_proxy import FaultyProxy
from tests.system.servers import new_bucket, s3_server

PADDING_MB = int(os.environ.get("PADDING_MB", "200"))
MB_A_SECOND = float(os.environ.get("MB_A_SECOND", "20"))
STEPS, INTERVAL = 600, 200
SETTINGS = [
    f"schedule={{warmup_steps: 0, init_steps: {STEPS}, pretrain_seg_steps: 0, cycles: 0, seg_steps: 0, face_steps: 0}}",
    "heldout.size=0",
    "data.size=320",
    f"cadence={{log: 10, checkpoint: {INTERVAL}, evaluate: 10000, sheet: 10000}}",
]
# The worker's checkpoints with padding that no compression makes smaller.
PADDED = f"""
import sys, torch
from focus_ray import cli
from focus_ray.training import worker
honest = worker.work
def work(settings):
    from focus_ray.training import ray_vault
    padding = torch.randint(0, 256, ({PADDING_MB} << 20,), dtype=torch.uint8)
    save = ray_vault.RayVault.save
    def padded(self, step, tree, *, best, last):
        save(self, step, tree | {{"padding": {{"noise": padding}}}}, best=best, last=last)
    ray_vault.RayVault.save = padded
    honest(settings)
worker.work = work
sys.exit(cli.main(sys.argv[1:]))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, s3_server() as url, FaultyProxy(url) as proxy:
        proxy.faults.bytes_per_second = MB_A_SECOND * 1e6
        bucket = new_bucket(url)
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        environment = os.environ | keys | {"AWS_ENDPOINT_URL_S3": proxy.url, "PYTHONPATH": str(ROOT)}
        folder = Path(scratch) / "run"
        sets = [part for setting in SETTINGS for part in ("--set", setting)]
        command = ["train", *sets, "--cpus-per-worker", "1", "--storage", f"s3://{bucket}/runs", "--out", str(folder)]
        subprocess.run([sys.executable, "-c", PADDED, *command], env=environment, check=True)
        history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    whole = {
        int(line["message"].split()[3]): line["step"]
        for line in log
        if line["rank"] == 0 and line["message"].startswith("checkpoint of step") and line["message"].endswith("whole")
    }
    under_way = [range(step, whole[step]) for step in range(INTERVAL, STEPS, INTERVAL)]
    during = [line["seconds"] for line in history if any(line["step"] in steps for steps in under_way)]
    around = [line["seconds"] for line in history[20:] if not any(line["step"] in steps for steps in under_way)]
    ratio = statistics.median(during) / statistics.median(around)
    print(f"{PADDING_MB} MB at {MB_A_SECOND:g} MB/s: {len(during)} steps during uploads, {len(around)} without")
    print(
        f"median step {statistics.median(around) * 1e3:.1f} ms without, {statistics.median(during) * 1e3:.1f} ms during"
    )
    print(f"ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
