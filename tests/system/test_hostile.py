"""Hostile requests against the whole interface in this process, with a model that knows nothing."""

import asyncio
import json

import httpx
import pytest

from focus_ray.inference import Reconstructor
from focus_ray.serving.admission import AdmissionMiddleware
from focus_ray.serving.app import create_app
from focus_ray.serving.fitting import Fitter
from focus_ray.serving.service import ReconstructionService
from focus_ray.serving.settings import AdmissionSettings, BatchingSettings, ServingSettings
from tests.serving.test_service import Here
from tests.system.hostile import RequestCase, cases

ALL = [case for case in cases() if case.raw is None]
LEAKS = ("Traceback", "/work", "/tmp", "site-packages", "focus_ray", "s3://", 'File "')
SETTINGS = ServingSettings(refine=False, admission=AdmissionSettings(requests_at_once=64, requests_of_a_client=64))


class FakeIngress:
    """A replica without Ray."""

    def __init__(self, service: ReconstructionService) -> None:
        self.service = service
        self.results = self

    async def put(self, content: bytes, media_type: str, owner: str | None) -> str:
        return "name"

    async def get(self, name: str, owner: str | None) -> tuple[bytes, str] | None:
        return None

    async def metrics(self) -> str:
        return "none\n"


@pytest.fixture(scope="module")
def interface(untrained):
    service = ReconstructionService(Here(Fitter(Reconstructor(untrained), BatchingSettings(batch=2))), SETTINGS)
    service._detector = lambda: (
        NoFaces()
    )  # the mutated pictures have none, and the thorough search takes long to say so
    yield AdmissionMiddleware(create_app(FakeIngress(service), SETTINGS), SETTINGS)
    service.close()


class NoFaces:
    def detect(self, image):
        return []


async def send_all(interface: AdmissionMiddleware, some: list[RequestCase]) -> list[tuple[RequestCase, int, str]]:
    transport = httpx.ASGITransport(interface, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        got = []
        for case in some:
            headers = [(name.encode(), value.encode("latin-1")) for name, value in case.headers]
            answer = await client.request(case.method, case.path, headers=headers, content=case.body)
            got.append((case, answer.status_code, answer.text))
        return got


def find_problems(got: list[tuple[RequestCase, int, str]]) -> list[str]:
    """What should not have been answered."""
    found = []
    for case, status, text in got:
        if status not in case.allowed:
            found.append(f"{case.name}: {status} {text[:200]}")
        if any(leak in text for leak in LEAKS) and "json" not in case.path:
            found.append(f"{case.name}: leaks {text[:200]}")
        if status >= 400 and case.method != "HEAD" and json.loads(text)["status"] != status:
            found.append(f"{case.name}: no problem+json")
    return found


def test_there_are_two_thousand_of_them():
    assert len(cases()) >= 2000
    assert [case.name for case in cases()] == [case.name for case in cases()]


def test_every_seventh_of_them(interface: AdmissionMiddleware):
    assert find_problems(asyncio.run(send_all(interface, ALL[::7]))) == []


@pytest.mark.drill
def test_all_of_them(interface: AdmissionMiddleware):
    assert find_problems(asyncio.run(send_all(interface, ALL))) == []


def test_a_bug_behind_the_routes_is_told_as_one():
    class Broken:
        async def model_info(self):
            raise RuntimeError("/tmp/secret")

        def close(self) -> None:
            pass

    admission = AdmissionMiddleware(create_app(FakeIngress(Broken()), SETTINGS), SETTINGS)
    ((_, status, text),) = asyncio.run(send_all(admission, [RequestCase("model", "GET", "/v1/model")]))
    assert (status, json.loads(text)["code"]) == (500, "internal")
    assert "secret" not in text
