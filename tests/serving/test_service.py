"""The service: from bytes to an answer, with a model that is asked over there."""

import asyncio
import io
import threading
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import skimage.data
from PIL import Image

from focus_ray.data.detectors import by_name
from focus_ray.errors import ConfigError
from focus_ray.inference import Reconstructor
from focus_ray.serving import outputs
from focus_ray.serving.fitting import FitRequest, FitResult, Fitter, ModelInfo, RenderContext
from focus_ray.serving.problems import Problem
from focus_ray.serving.schema import Options, Reconstruction
from focus_ray.serving.service import PixelBudget, ReconstructionService, resolve_endpoint_detector
from focus_ray.serving.settings import BatchingSettings, ServingSettings

BOX = (60.0, 120.0, 80.0, 80.0)


class Here:
    """The model in this process; remembers what it was asked, and answers what it is told to."""

    def __init__(self, fitter: Fitter) -> None:
        self.fitter = fitter
        self.asked: list[FitRequest] = []
        self.told: FitResult | None = None

    async def fit(self, request: FitRequest) -> FitResult:
        self.asked.append(request)
        return self.told or self.fitter.fit([request])[0]

    async def model_info(self) -> ModelInfo:
        return self.fitter.model_info

    async def render_context(self, version: str) -> RenderContext:
        assert version == self.fitter.model_info.version
        return self.fitter.render_context


@pytest.fixture(scope="module")
def fitter(untrained) -> Fitter:
    return Fitter(Reconstructor(untrained), BatchingSettings(batch=2))


@pytest.fixture
def models(fitter: Fitter) -> Here:
    return Here(fitter)


@pytest.fixture
def service(models: Here):
    service = ReconstructionService(models, ServingSettings(batching=BatchingSettings(batch=2)))
    yield service
    service.close()


@pytest.fixture(scope="module")
def portrait() -> bytes:
    content = io.BytesIO()
    Image.fromarray(skimage.data.astronaut()[:300, 50:400]).save(content, "PNG")
    return content.getvalue()


def ask(service: ReconstructionService, content: bytes, **options) -> Reconstruction:
    return asyncio.run(service.reconstruct(content, Options(**options), "r-1", outputs.inline_output))


def test_a_face_where_the_request_says(service: ReconstructionService, models: Here, portrait: bytes):
    answer = ask(service, portrait, box=BOX)
    assert (answer.request_id, answer.image.width, answer.image.height) == ("r-1", 350, 300)
    (face,) = answer.faces
    assert face.box == BOX
    assert answer.model_version == face.model_version == "test"
    assert face.outputs == {}
    assert set(answer.milliseconds) == {"decode", "detect", "model", "draw"}
    assert models.asked[0].refine  # the endpoint's default


def test_a_face_that_is_found(service: ReconstructionService, portrait: bytes):
    (face,) = ask(service, portrait, refine=False).faces
    x, y, width, height = face.box
    assert np.hypot(x + width / 2 - 173, y + height / 2 - 115) < 20


def test_no_face_is_an_empty_list_and_costs_the_model_nothing(service: ReconstructionService, models: Here):
    content = io.BytesIO()
    Image.new("RGB", (64, 48), "grey").save(content, "PNG")
    answer = ask(service, content.getvalue(), outputs=("mask", "overlay"))
    assert (answer.faces, answer.model_version) == ([], "test")
    assert models.asked == []


def test_files_that_are_asked_for(service: ReconstructionService, portrait: bytes):
    answer = ask(service, portrait, box=BOX, refine=False, outputs=("mask", "glb", "overlay"))
    assert set(answer.faces[0].outputs) == {"mask", "glb"}
    assert set(answer.outputs) == {"overlay"}
    assert answer.faces[0].outputs["mask"].media_type == "image/png"
    assert answer.faces[0].outputs["glb"].base64


@pytest.mark.parametrize(("setting", "name"), [("haar", "haar"), ("thorough", "haar"), ("fast", "haar-fast")])
def test_the_detector_of_the_settings(setting: Literal["haar", "thorough", "fast"], name: str):
    spec = resolve_endpoint_detector(ServingSettings(detector=setting))
    assert spec.info.name == name
    assert spec.haar.candidates == 8


def test_without_weights_auto_is_the_fast_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(by_name, "MESH_FOLDER", tmp_path)
    assert resolve_endpoint_detector(ServingSettings()).info.name == "haar-fast"
    with pytest.raises(ConfigError, match="the weight file is missing"):
        resolve_endpoint_detector(ServingSettings(detector="mesh"))


def test_a_detected_face_names_its_detector(service: ReconstructionService, portrait: bytes):
    (face,) = ask(service, portrait, refine=False).faces
    assert face.detector == service.detector.info
    (given,) = ask(service, portrait, box=BOX, refine=False).faces
    assert given.detector is None


def test_many_faces_are_asked_for_in_parts(
    service: ReconstructionService, models: Here, portrait: bytes, monkeypatch: pytest.MonkeyPatch
):
    from focus_ray.data.detectors.detection import Detection
    from tests.inference.conftest import Finds

    found = [Detection((100.0 + 10 * place, 60.0, 80.0, 80.0)) for place in range(5)]
    monkeypatch.setattr(service, "_detector", lambda: Finds(*found))
    answer = ask(service, portrait, refine=False, max_faces=3)
    assert [face.box for face in answer.faces] == [face.box for face in found[:3]]
    assert sorted(len(sought.located.faces) for sought in models.asked) == [1, 2]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"box": (1000.0, 1000.0, 50.0, 50.0)}, "unprocessable", "outside of the picture"),
        ({"aligned": True}, "unprocessable", "square"),
        ({"landmarks": [(1e6, 1e6)] * 68}, "unprocessable", "landmark"),
        ({"prior": "on", "refine": True}, "unprocessable", "use prior=auto"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: dict, code: str, words: str, service: ReconstructionService, portrait: bytes
):
    with pytest.raises(Problem, match=words) as refused:
        ask(service, portrait, **options)
    assert refused.value.code == code


def test_what_is_no_picture_is_refused(service: ReconstructionService):
    with pytest.raises(Problem) as refused:
        ask(service, b"%PDF-1.7 no picture")
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("told", "code"), [(FitResult(error="they span no face"), "unprocessable"), (FitResult(failed=True), "internal")]
)
def test_what_the_model_refuses(
    told: FitResult, code: str, service: ReconstructionService, models: Here, portrait: bytes
):
    models.told = told
    with pytest.raises(Problem) as refused:
        ask(service, portrait, box=BOX)
    assert refused.value.code == code


def test_work_is_done_on_threads_that_stand_back(service: ReconstructionService):
    names = asyncio.run(service._on_thread(lambda: threading.current_thread().name))
    assert names.startswith("service")


def test_faces_of_two_versions_are_fitted_anew(
    service: ReconstructionService, models: Here, portrait: bytes, monkeypatch
):
    from focus_ray.data.detectors.detection import Detection
    from tests.inference.conftest import Finds

    found = [Detection((100.0 + 10 * place, 60.0, 80.0, 80.0)) for place in range(3)]
    monkeypatch.setattr(service, "_detector", lambda: Finds(*found))
    fit = models.fit

    async def while_another_takes_over(request: FitRequest) -> FitResult:
        answer = await fit(request)
        if len(models.asked) > 1:  # all but the very first
            return answer
        return FitResult(
            tuple(one._replace(face=one.face.model_copy(update={"model_version": "old"})) for one in answer.faces)
        )

    monkeypatch.setattr(models, "fit", while_another_takes_over)
    answer = ask(service, portrait, refine=False)
    assert {face.model_version for face in answer.faces} == {"test"}
    assert len(models.asked) == 4


def test_a_picture_waits_for_room():
    async def scene() -> None:
        room, order = PixelBudget(10.0), []

        async def come(name: str, megapixels: float, leave: asyncio.Event) -> None:
            async with room.reserve(megapixels):
                order.append(name)
                await leave.wait()

        leave = {name: asyncio.Event() for name in "abcd"}
        sizes = {"a": 6.0, "b": 6.0, "c": 4.0, "d": 99.0}
        coming = {}
        for name, size in sizes.items():
            coming[name] = asyncio.create_task(come(name, size, leave[name]))
            await asyncio.sleep(0.01)
        assert order == ["a", "c"]
        coming["c"].cancel()  # a client that goes away leaves its room
        leave["a"].set()
        await asyncio.sleep(0.01)
        assert order == ["a", "c", "b"]
        leave["b"].set()
        await asyncio.sleep(0.01)
        assert order == ["a", "c", "b", "d"]
        leave["d"].set()
        await coming["d"]
        assert room._in_use == 0

    asyncio.run(scene())
