"""Prepared faces: tar against Parquet, PNG against JPEG, and training from S3 against training from memory.

    python benchmarks/prepared.py STORE [--records 512] [--steps 30] [--json FILE]

STORE is a prepared folder; its first records are read by a seeded permutation. A server that stands in for S3 runs on
this machine. A shard of a bucket is fetched whole, then read from the local disk. The step is one of the initialisation
of the preset embedded; batches of both sources are taken in turns in one run, each prefetched by a thread.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from focus_ray import model, presets
from focus_ray.data.image_file import read_image
from focus_ray.data.photos import PhotoFace
from focus_ray.data.prepared.prepared_photos import PreparedPhotos
from focus_ray.data.prepared.prepared_split import PreparedSplit
from focus_ray.data.prepared.shard_file import PictureFormat
from focus_ray.data.prepared.store_files import read_description, shard_key
from focus_ray.data.sample import Batch
from focus_ray.data.sampler import epoch_of
from focus_ray.focus.initialise import freeze_perceptual, init_step
from focus_ray.focus.schedule import Phase, SchedulePosition
from focus_ray.focus.state import TrainState
from focus_ray.storage.object_store import LocalStore
from focus_ray.storage.open_store import open_store
from focus_ray.training.assemble import fitted_face
from focus_ray.training.batch_source import PrefetchSource
from tests.system.servers import new_bucket, s3_server, use_s3

GROUPS = (1, 16)  # records of a row group
WARMUP_STEPS = 5


def as_parquet(photos: PreparedPhotos, numbers: range, group: int) -> bytes:
    """The same records as rows of a Parquet file: JSON and picture as they are, not compressed again."""
    contents = [photos.shards.read(row.shard, row.offset, row.size) for row in (photos.rows[one] for one in numbers)]
    sink = io.BytesIO()
    pq.write_table(pa.table({"record": contents}), sink, row_group_size=group, compression="none", use_dictionary=False)
    return sink.getvalue()


def rate(read: Callable[[int], bytes], order: np.ndarray) -> float:
    """Records per second without decoding; the best of three rounds."""
    rounds = []
    for _ in range(3):
        started = perf_counter()
        for number in order.tolist():
            read(number)
        rounds.append(len(order) / (perf_counter() - started))
    return max(rounds)


def compare_files(photos: PreparedPhotos, count: int, scratch: Path, bucket: str) -> dict[str, Any]:
    """Random access by row, from the disk and (with the fetch of the files) from the bucket."""
    order = np.random.default_rng(0).permutation(count)
    figures: dict[str, Any] = {}

    def from_tar(number: int) -> bytes:
        row = photos.rows[number]
        return photos.shards.read(row.shard, row.offset, row.size)

    figures["tar, disk"] = rate(from_tar, order)
    for group in GROUPS:
        path = scratch / f"{group}.parquet"
        path.write_bytes(as_parquet(photos, range(count), group))
        file = pq.ParquetFile(path, memory_map=True)
        figures[f"parquet, {group} a group, disk"] = rate(
            lambda one, file=file, group=group: file.read_row_group(one // group)["record"][one % group].as_py(), order
        )
    store = open_store(bucket)
    shards = sorted({photos.rows[one].shard for one in range(count)})
    for number in shards:
        store.upload(Path(str(photos.store)) / shard_key(number), shard_key(number))
    store.upload(scratch / f"{GROUPS[0]}.parquet", "all.parquet")
    started = perf_counter()
    for number in shards:
        store.download(shard_key(number), scratch / f"{number}.tar")
    figures["tar, bucket"] = count / (perf_counter() - started + count / figures["tar, disk"])
    started = perf_counter()
    store.download("all.parquet", scratch / "fetched.parquet")
    figures["parquet, 1 a group, bucket"] = count / (
        perf_counter() - started + count / figures["parquet, 1 a group, disk"]
    )
    started = perf_counter()
    for number in range(min(count, 200)):
        photos.record(number)
    figures["decode a record, ms"] = 1000 * (perf_counter() - started) / min(count, 200)
    return figures


def compare_formats(photos: PreparedPhotos, count: int) -> dict[str, Any]:
    """kB a picture, and what JPEG changes in the crops, in levels and as PSNR."""
    figures: dict[str, Any] = {}
    for name, quality in (("png", 95), ("jpeg", 90), ("jpeg", 95), ("jpeg", 98)):
        sizes, errors = [], []
        for number in range(count):
            record = photos.record(number)
            encoded = PictureFormat(name=name, quality=quality).encode(record.face.image)
            sizes.append(len(encoded))
            face = PhotoFace(read_image(encoded), record.face.landmarks, record.face.crop)
            change = face.crop.warp(face.image).astype(float) - face.crop.warp(record.face.image)
            errors.append(float((change**2).mean()))
        label = name if name == "png" else f"{name} {quality}"
        figures[label] = {
            "kB": statistics.mean(sizes) / 1000,
            "rms": float(np.sqrt(np.mean(errors))),
            "psnr": None if not max(errors) else float(10 * np.log10(255**2 / np.mean(errors))),
        }
    return figures


def step_rates(store: str, steps: int) -> dict[str, float]:
    """Milliseconds a step from the bucket and from memory, in turns; shards and faces are not cached at the start."""
    config = presets.load("embedded").with_photos(store, None)
    state = TrainState(model.build(config.model, fitted_face(config), perceptual=False))
    freeze_perceptual(state)
    position = SchedulePosition(Phase.INIT, 0, 1, 100, 1, 1)

    def batches(memory_mb: float, filled: bool) -> Callable[[int], Batch]:
        photos = PreparedPhotos(store, config.model.camera.image_size, memory_mb=memory_mb)
        train = PreparedSplit(photos, 0.1, 0).train

        def batch_of(step: int) -> Batch:
            numbers = train.step_numbers(0, step, config.batch_size)
            return train.batch(numbers, 0, epoch_of(step, config.batch_size, len(train)))

        if filled:
            train.batch(range(len(train)))
        return batch_of

    kept = presets.load("embedded").data.cache_mb
    sources = {
        "memory": batches(4000.0, True),
        "bucket": batches(kept, False),
        "bucket, kept nowhere": batches(0.0, False),
    }
    times: dict[str, list[float]] = {name: [] for name in sources}
    last = WARMUP_STEPS + steps
    with ExitStack() as stack:
        ahead = {name: stack.enter_context(PrefetchSource(one, last)) for name, one in sources.items()}
        for step in range(last):
            for name, source in ahead.items():
                started = perf_counter()
                init_step(state, source.targets(step), position, config.initialise, config.optimizers.init)
                times[name].append(perf_counter() - started)
    medians = {name: statistics.median(seconds[WARMUP_STEPS:]) for name, seconds in times.items()}
    return {f"{name}, ms a step": 1000 * median for name, median in medians.items()} | {
        f"rate, {name} / memory": medians["memory"] / medians[name] for name in sources
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--records", type=int, default=512)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    described = read_description(LocalStore(arguments.store))
    photos = PreparedPhotos(str(arguments.store), described.size, memory_mb=0.0)
    count = min(arguments.records, len(photos))
    results: dict[str, Any] = {"pictures": compare_formats(photos, min(count, 100))}
    with s3_server() as url, pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as scratch:
        use_s3(patch, url)
        patch.setenv("FOCUS_RAY_CACHE", scratch)
        bucket = f"s3://{new_bucket(url)}/faces"
        results["records a second"] = compare_files(photos, count, Path(scratch), bucket)
        store = LocalStore(arguments.store)
        for entry in store.list():
            open_store(bucket).upload(store.path(entry.key), entry.key)
        results["training"] = step_rates(bucket, arguments.steps)
    for title, figures in results.items():
        print(title)
        for name, figure in figures.items():
            print(f"  {name}: {figure if isinstance(figure, dict) else round(figure, 3)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
