"""What the endpoint costs beside its model: requests a second and latencies from a second process, as ratios.

python benchmarks/serving.py [--model M] [--seconds 20] [--track]    (ten minutes on two cores; nothing else should run)

The bare model is the same predictor in one process, with the endpoint's batch size and threads, while the same load
generator keeps a server that does nothing as busy as it kept the endpoint. For crops it gets decoded ones; for whole
pictures it decodes and detects too, which the endpoint does in another process than the model's. A direct call is the
reconstruction of one picture, decoding included. With --track the figures are a run of MLflow.
"""

import argparse
import itertools
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import torch

from focus_ray.data.detectors.detection import Detector
from focus_ray.face_models.parametric import parametric_face
from focus_ray.inference import Reconstructor
from focus_ray.inference.face_locations import FaceLocations, locate_faces
from focus_ray.serving.fitting import FitRequest, Fitter
from focus_ray.serving.image_checks import decode
from focus_ray.serving.mlflow_run import deployment_run
from focus_ray.serving.model_source import load_reconstructor, resolve, resolve_prior
from focus_ray.serving.service import resolve_endpoint_detector
from focus_ray.serving.settings import ServingSettings
from focus_ray.serving.settings_loader import load_settings
from infra.loopback_cluster import free_ports
from tests.system.endpoint import Endpoint, run_endpoint, write_crops, write_photographs

ROOT = Path(__file__).resolve().parent.parent
PICTURES = 64
DIRECT_CALLS = 24
CONCURRENCIES = (1, 8, 32)
SECONDS_TO_WARM_UP, SECONDS_TO_START = 5.0, 60.0
# One replica of each kind, and an admission that lets 32 at once in: the model is what is measured.
ASSIGNMENTS = (
    "models.most=1",
    "ingress.most=1",
    "admission.requests_at_once=64",
    "admission.requests_of_a_client=64",
)


class LoadCase(NamedTuple):
    """A kind of request."""

    name: str
    aligned: bool
    refine: bool

    @property
    def query(self) -> str:
        return f"aligned={self.aligned}&refine={self.refine}".lower()


CASES = (
    LoadCase("crops_refined", aligned=True, refine=True),
    LoadCase("crops_one_pass", aligned=True, refine=False),
    LoadCase("pictures_refined", aligned=False, refine=True),
    LoadCase("pictures_one_pass", aligned=False, refine=False),
)


def main() -> None:
    """The tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="as `focus-ray serve` takes it; the default one unless given")
    parser.add_argument("--detector", help="as `focus-ray serve` takes it; auto unless given")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--track", action="store_true", help="a run of the MLflow that MLFLOW_TRACKING_URI names")
    asked = parser.parse_args()
    settings = load_settings(None, ASSIGNMENTS, {"model": asked.model, "detector": asked.detector})
    torch.set_num_threads(settings.batching.threads or max(1, int(settings.models.cpus)))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
        folder = Path(scratch)
        source = resolve(asked.model)
        reconstructor = load_reconstructor(source, resolve_prior(None), folder / "cache")
        run = deployment_run(settings, source, _log, version=reconstructor.model.version, kind="benchmark")
        with run if asked.track else nullcontext() as record:
            figures = measure(folder, settings, reconstructor, asked.seconds)
            if record is not None:
                record.log_metrics(figures)


def measure(folder: Path, settings: ServingSettings, reconstructor: Reconstructor, seconds: float) -> dict[str, Any]:
    """The figures of all cases, which are printed too."""
    world = parametric_face("small", 120, 80, 120)
    pictures = {
        True: write_crops(folder / "crops", PICTURES, world, reconstructor.model.image_size),
        False: write_photographs(folder / "pictures", PICTURES, world),
    }
    assignments = (*ASSIGNMENTS, f"detector={settings.detector}")
    options = [part for assignment in assignments for part in ("--set", assignment)]
    with run_endpoint(folder, *options, model=settings.model) as running:
        loads = {case: run_loads(running, pictures[case.aligned], case, seconds) for case in CASES}
    figures: dict[str, Any] = {}
    for case in CASES:
        best = max(load["rate"] for load in loads[case].values())
        contents = [path.read_bytes() for path in sorted(pictures[case.aligned].iterdir())]
        with background_load(pictures[case.aligned], best, 2 * seconds + SECONDS_TO_START):
            bare = bare_rate(Fitter(reconstructor, settings.batching), contents, case, settings, seconds)
        direct = direct_seconds(reconstructor, contents, case, settings)
        figures[case.name] = report_case(case, loads[case], bare, direct)
    return figures


def run_loads(running: Endpoint, pictures: Path, case: LoadCase, seconds: float) -> dict[int, dict[str, Any]]:
    """What the generator saw, by the number of requests at once."""
    running.start_load(pictures, case.query, concurrency=8, seconds=SECONDS_TO_WARM_UP).result()
    return {
        concurrency: running.start_load(pictures, case.query, concurrency=concurrency, seconds=seconds).result()
        for concurrency in CONCURRENCIES
    }


def report_case(case: LoadCase, loads: dict[int, dict[str, Any]], bare: float, direct: float) -> dict[str, Any]:
    """Print a case and give its figures."""
    print(f"\n{case.name}  ?{case.query}")
    print("  at once  requests/s   p50 ms   p90 ms   p99 ms  refused  failed")
    figures: dict[str, Any] = {}
    for concurrency, load in loads.items():
        accepted = {name: load["accepted"].get(name, float("nan")) for name in ("p50_ms", "p90_ms", "p99_ms")}
        refused = sum(load["rejected_by_second"])
        times = " ".join(f"{value:8.1f}" for value in accepted.values())
        print(f"  {concurrency:7}  {load['rate']:10.2f} {times}  {refused:7}  {load['failed']:6}")
        figures[f"at_{concurrency}"] = {"rate": load["rate"], **accepted, "refused": refused, "failed": load["failed"]}
    best = max(load["rate"] for load in loads.values())
    single = figures["at_1"]["p50_ms"] / 1e3
    print(f"  bare model {bare:.2f}/s, endpoint {best:.2f}/s: ratio {best / bare:.2f}")
    print(f"  one at a time {1e3 * single:.1f} ms, direct call {1e3 * direct:.1f} ms: ratio {single / direct:.2f}")
    return figures | {
        "bare_rate": bare,
        "ratio_to_bare": best / bare,
        "direct_ms": 1e3 * direct,
        "overhead_ms": 1e3 * (single - direct),
    }


def bare_rate(
    fitter: Fitter, contents: list[bytes], case: LoadCase, settings: ServingSettings, seconds: float
) -> float:
    """Pictures a second, in whole batches."""
    detector = resolve_endpoint_detector(settings).build()
    if case.aligned:
        crops_in_memory = [_locate(content, detector, case, settings) for content in contents]
        pictures: Iterator[FaceLocations] = itertools.cycle(crops_in_memory)
    else:
        pictures = (_locate(content, detector, case, settings) for content in itertools.cycle(contents))
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        batch = list(itertools.islice(pictures, settings.batching.batch))
        fitter.fit([FitRequest(picture, case.refine) for picture in batch])
        done += len(batch)
    return done / (time.perf_counter() - begin)


def direct_seconds(
    reconstructor: Reconstructor, contents: list[bytes], case: LoadCase, settings: ServingSettings
) -> float:
    """The median time of one reconstruction after the other in this process."""
    detector, times = resolve_endpoint_detector(settings).build(), []
    for content in contents[:DIRECT_CALLS]:
        begin = time.perf_counter()
        reconstructor.fit([_locate(content, detector, case, settings)], None if case.refine else 0)
        times.append(time.perf_counter() - begin)
    return median(times)


def _locate(content: bytes, detector: Detector, case: LoadCase, settings: ServingSettings) -> FaceLocations:
    return locate_faces(decode(content, settings.admission), detector, aligned=case.aligned)


@contextmanager
def background_load(pictures: Path, rate: float, seconds: float) -> Iterator[None]:
    """The load generator against a server that does nothing. Raises SystemExit where it did not last."""
    (port,) = free_ports(1)
    server = multiprocessing.get_context("spawn").Process(target=serve_noop, args=(port,), daemon=True)
    server.start()
    _wait(port)
    command = [sys.executable, "-m", "tests.system.load", "--pictures", str(pictures), "--seconds", str(seconds)]
    command += ["--url", f"http://127.0.0.1:{port}/", "--rate", str(rate)]
    generator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
        if generator.poll() is not None:
            raise SystemExit("the load generator ended before the bare model was measured")
    finally:
        generator.kill()
        generator.wait()
        server.kill()
        server.join()


def _wait(port: int) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit("the server that does nothing did not start")


def serve_noop(port: int) -> None:
    """Answers everything at once."""
    import uvicorn

    async def app(scope, receive, send) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            kind = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": kind})
            await send({"type": "http.response.body", "body": b'{"model_version": "none"}'})

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", lifespan="off")


def _log(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
