"""The interface around a desk: HEAD, methods that are not served, and targets as proxies write them."""

import asyncio
import json

import httpx
import pytest

from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.serving.admission import AdmissionMiddleware
from focus_ray.serving.app import create_app
from focus_ray.serving.fitting import ModelInfo
from focus_ray.serving.keys import hash_key
from focus_ray.serving.settings import HttpSettings, ServingSettings

KEY = "fr_right"
SETTINGS = ServingSettings(http=HttpSettings(keys=(f"alice:{hash_key(KEY)}",)))
OPEN = ["/", "/healthz", "/readyz", "/openapi.json", "/assets/page.js"]
CLOSED = ["/v1/model", "/metrics"]


class Replica:
    """What the interface asks, without a model."""

    def __init__(self) -> None:
        self.service = self.results = self
        self.detector = resolve_detector("haar")

    async def model_info(self) -> ModelInfo:
        return ModelInfo("1", None, 64, 10, 20, 50, "none")

    async def metrics(self) -> str:
        return "none\n"


@pytest.fixture(scope="module")
def interface() -> AdmissionMiddleware:
    return AdmissionMiddleware(create_app(Replica(), SETTINGS), SETTINGS)


def ask(
    interface: AdmissionMiddleware, method: str, path: str, *, key: bool = True, body: bytes = b""
) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(interface, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            headers = {"authorization": f"Bearer {KEY}"} if key else {}
            return await client.request(method, path, headers=headers, content=body)

    return asyncio.run(send())


@pytest.mark.parametrize("path", OPEN + CLOSED)
def test_head_is_get_without_the_body(path: str, interface: AdmissionMiddleware):
    got, asked = (ask(interface, method, path, key=path in CLOSED) for method in ("GET", "HEAD"))
    assert (asked.status_code, asked.content) == (got.status_code, b"") == (200, b"")
    for name in ("content-type", "content-length", "etag"):
        assert asked.headers.get(name) == got.headers.get(name)
    assert got.content


def test_head_is_refused_as_get_is(interface: AdmissionMiddleware):
    for path, key in (("/v1/model", False), ("/nothing", True)):
        got, asked = (ask(interface, method, path, key=key) for method in ("GET", "HEAD"))
        assert (asked.status_code, asked.content) == (got.status_code, b"")
        assert got.status_code in (401, 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("DELETE", "/v1/model", {"GET", "HEAD"}),
        ("PUT", "/", {"GET", "HEAD"}),
        ("POST", "/openapi.json", {"GET", "HEAD"}),
        ("GET", "/v1/reconstructions", {"POST"}),
        ("HEAD", "/v1/reconstructions:batch", {"POST"}),
    ],
)
def test_a_405_says_which_methods_there_are(method: str, path: str, allowed: set[str], interface: AdmissionMiddleware):
    answer = ask(interface, method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert method == "HEAD" or answer.json()["code"] == "method_not_allowed"


def test_the_document_says_so(interface: AdmissionMiddleware):
    assert "HEAD" in json.loads(ask(interface, "GET", "/openapi.json").content)["info"]["description"]
