"""What the endpoint costs beside its model: requests a second and latencies from a second process, as ratios.

python benchmarks/serving.py    (ten minutes on two cores; nothing else should run)

The bare model is the same predictor on decoded crops in one process, with the endpoint's batch size and threads, while
the same load generator keeps a server that does nothing as busy as it keeps the endpoint.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import multiprocessing
import subprocess

import cv2
import torch

from focus_ray import load
from focus_ray.data.detect import Detection
from focus_ray.data.detect_quick import QuickDetector
from focus_ray.data.image_file import read_image
from focus_ray.focus.face.parametric import parametric_face
from focus_ray.reconstruction.located import Located, located
from focus_ray.serving.fitting import Fitter, Sought
from focus_ray.serving.settings import ServingSettings
from infra.loopback_cluster import free_ports
from tests.system.endpoint import crops, endpoint

SECONDS = 20.0
CONCURRENCIES = (1, 8, 32)
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """The table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    settings = ServingSettings()
    with tempfile.TemporaryDirectory(prefix="focus-ray-") as scratch:
        folder = Path(scratch)
        pictures = crops(folder / "crops", 64, parametric_face("small", 120, 80, 120))
        options = ("--set", "models.most=1", "--set", "ingress.most=1", "--set", "admission.requests_at_once=64")
        with endpoint(folder, *options, "--set", "admission.requests_of_a_client=64") as running:
            seen = {}
            for query in ("aligned=true", "aligned=true&refine=false"):
                running.load(pictures, query, concurrency=8, seconds=5).result()
                for concurrency in CONCURRENCIES:
                    seen[query, concurrency] = running.load(
                        pictures, query, concurrency=concurrency, seconds=SECONDS
                    ).result()
        for refine, query in ((True, "aligned=true"), (False, "aligned=true&refine=false")):
            print(f"\n{query}")
            for concurrency in CONCURRENCIES:
                one = seen[query, concurrency]
                print(f"  {concurrency:3} at once: {one['rate']:7.2f}/s  {one['accepted']}")
            best = max(seen[query, concurrency]["rate"] for concurrency in CONCURRENCIES)
            bare = bare_rate(pictures, refine, settings, best)
            alone = direct_seconds(pictures, refine)
            single = seen[query, 1]["accepted"]["p50_ms"] / 1e3
            print(f"  bare model {bare:.2f}/s; ratio at saturation {best / bare:.2f}")
            print(f"  one at a time: direct call {1e3 * alone:.1f} ms, overhead {1e3 * (single - alone):.1f} ms")


def bare_rate(pictures: Path, refine: bool, settings: ServingSettings, rate: float) -> float:
    """Faces a second of the predictor on decoded crops, beside a server that does nothing at that rate."""
    fitter = Fitter(load(), settings.batching)
    images = [read_image(path) for path in sorted(pictures.glob("*.png"))]
    whole = [Sought(Located(image, [Detection((0.0, 0.0, 64.0, 64.0))], "picture"), refine) for image in images]
    batch = settings.batching.batch
    with company(pictures, rate):
        done, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            start = done % (len(whole) - batch + 1)
            fitter.fit(whole[start : start + batch])
            done += batch
        return done / (time.perf_counter() - begin)


def direct_seconds(pictures: Path, refine: bool) -> float:
    """The median time of decoding and fitting one crop in this process."""
    fitter = Fitter(load(), ServingSettings().batching)
    detector, times = QuickDetector(), []
    for path in sorted(pictures.glob("*.png"))[:24]:
        begin = time.perf_counter()
        fitter.fit([Sought(located(read_image(path), detector, aligned=True), refine)])
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


@contextmanager
def company(pictures: Path, rate: float) -> Iterator[None]:
    """The load generator against a server that does nothing."""
    (port,) = free_ports(1)
    server = multiprocessing.get_context("spawn").Process(target=nothing, args=(port,), daemon=True)
    server.start()
    time.sleep(3)
    command = [sys.executable, "-m", "tests.system.load", "--pictures", str(pictures), "--seconds", str(2 * SECONDS)]
    command += ["--url", f"http://127.0.0.1:{port}/", "--rate", str(rate)]
    generator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        generator.kill()
        generator.wait()
        server.kill()
        server.join()


def nothing(port: int) -> None:
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


if __name__ == "__main__":
    main()
