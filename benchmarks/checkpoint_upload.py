"""Whether training waits for its checkpoints: steps while a padded one is on its way to S3, against steps without.

A server that stands in for S3 runs on this machine, behind a proxy that lets so many bytes a second through. One worker
of one thread trains; its checkpoints carry padding. Server and proxy work on the same cores. Three runs are measured:
our upload, by a process of low priority; Ray Train's own asynchronous upload, by a thread of the worker; and a control,
in which a program that is not part of the training uploads as many bytes.


    python benchmarks/checkpoint_upload.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE

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
SET_OPTIONS = [part for setting in SETTINGS for part in ("--set", setting)]
# The worker's checkpoints with padding that no compression makes smaller.
PADDED_TRAIN = f"""
import logging, os, sys, tempfile, torch
from pathlib import Path
import ray.train
from focus_ray import cli
from focus_ray.storage import checkpoint
from focus_ray.storage.checkpoint import folder_name
from focus_ray.training import worker
train_worker = worker.train_worker

def report_by_ray(self, step, tree, best):
    from ray.train import Checkpoint, CheckpointUploadMode
    if tree is None:
        return ray.train.report({{"step": step}}, checkpoint_upload_mode=CheckpointUploadMode.ASYNC)
    folder = Path(tempfile.mkdtemp()) / folder_name(step)
    checkpoint.save(folder, tree)
    def upload(local, name):
        self.checkpoints.add(step, folder, best=best)
        self.last_saved_step = step
        logging.getLogger("focus_ray.training.ray_checkpoint_sink").info("checkpoint of step %d is whole", step)
        return Checkpoint(f"{{self._root}}/checkpoints/{{folder_name(step)}}", self._filesystem)
    ray.train.report(
        {{"step": step}},
        checkpoint=Checkpoint.from_directory(folder),
        checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
        checkpoint_upload_fn=upload,
        delete_local_checkpoint_after_upload=True,
    )

def work(settings):
    from focus_ray.training.ray_checkpoint_sink import RayCheckpointSink
    padding = torch.randint(0, 256, ({PADDING_MB} << 20,), dtype=torch.uint8)
    save = RayCheckpointSink.save
    def padded(self, step, tree, *, best, last):
        save(self, step, tree | {{"padding": {{"noise": padding}}}}, best=best, last=last)
    RayCheckpointSink.save = padded
    if os.environ.get("UPLOAD_BY_RAY"):
        RayCheckpointSink._report = report_by_ray
    train_worker(settings)

worker.train_worker = work
sys.exit(cli.main(sys.argv[1:]))
"""

UPLOADER = f"""
import boto3, os, sys
client, content = boto3.client("s3", region_name="us-east-1"), os.urandom({PADDING_MB} << 20)
os.nice(10)
for _ in sys.stdin:
    client.put_object(Bucket=sys.argv[1], Key="stranger", Body=content)
    print("sent", flush=True)
"""


def step_seconds(folder: Path) -> list[float]:
    """Seconds of each step so far."""
    file = folder / "history.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    return [json.loads(line)["seconds"] for line in lines if line.endswith("\n")]


def run_control(folder: Path, environment: dict[str, str], bucket: str) -> tuple[list[float], list[float]]:
    """Steps while somebody else uploads, and the others, of a run that keeps its checkpoints here."""
    command = [sys.executable, "-m", "focus_ray", "train", *SET_OPTIONS, "--cpus-per-worker", "1", "--out", str(folder)]
    run = subprocess.Popen(command, env=environment)
    stranger = subprocess.Popen(
        [sys.executable, "-c", UPLOADER, bucket], env=environment, stdin=PIPE, stdout=PIPE, text=True, bufsize=1
    )
    assert stranger.stdin is not None
    assert stranger.stdout is not None
    under_way = []
    try:
        while run.poll() is None and len(step_seconds(folder)) < STEPS // 4:
            time.sleep(0.5)
        while run.poll() is None and len(step_seconds(folder)) < STEPS * 3 // 4:
            begun = len(step_seconds(folder))
            stranger.stdin.write("\n")
            stranger.stdout.readline()
            under_way.append(range(begun + 1, len(step_seconds(folder))))
            time.sleep(5)
        if run.wait():
            raise SystemExit("the control did not train to its end")
    finally:
        run.kill()
        stranger.kill()
    return split_steps(step_seconds(folder), under_way)


def split_steps(seconds: list[float], under_way: list[range]) -> tuple[list[float], list[float]]:
    """Steps of uploads, and the others; the first ones are left out."""
    numbered = list(enumerate(seconds))[20:]
    during = [value for step, value in numbered if any(step in steps for steps in under_way)]
    return during, [value for step, value in numbered if not any(step in steps for steps in under_way)]


def print_ratio(label: str, during: list[float], around: list[float]) -> None:
    slow, usual = statistics.median(during), statistics.median(around)
    print(
        f"{label}: {len(during)} steps during uploads, median {slow * 1e3:.1f} ms; {len(around)} without, "
        f"{usual * 1e3:.1f} ms; ratio {slow / usual:.3f}"
    )


def run_uploads(folder: Path, environment: dict[str, str], bucket: str) -> tuple[list[float], list[float]]:
    """Steps while a checkpoint of the run is uploaded, and the others."""
    command = [
        "train",
        *SET_OPTIONS,
        "--cpus-per-worker",
        "1",
        "--storage",
        f"s3://{bucket}/runs",
        "--out",
        str(folder),
    ]
    subprocess.run([sys.executable, "-c", PADDED_TRAIN, *command], env=environment, check=True)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    whole = {
        int(line["message"].split()[3]): line["step"]
        for line in log
        if line["rank"] == 0 and line["message"].startswith("checkpoint of step") and line["message"].endswith("whole")
    }
    under_way = [range(step, whole[step]) for step in range(INTERVAL, STEPS, INTERVAL)]
    return split_steps(step_seconds(folder), under_way)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, s3_server() as url, FaultyProxy(url) as proxy:
        proxy.faults.bytes_per_second = MB_A_SECOND * 1e6
        bucket = new_bucket(url)
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        environment = os.environ | keys | {"AWS_ENDPOINT_URL_S3": proxy.url, "PYTHONPATH": str(ROOT)}
        print(f"{PADDING_MB} MB at {MB_A_SECOND:g} MB/s", flush=True)
        print_ratio("own process  ", *run_uploads(Path(scratch) / "own", environment, bucket))
        by_ray = environment | {"UPLOAD_BY_RAY": "1"}
        print_ratio("Ray's thread ", *run_uploads(Path(scratch) / "ray", by_ray, bucket))
        print_ratio("control      ", *run_control(Path(scratch) / "control", environment, bucket))


if __name__ == "__main__":
    main()
