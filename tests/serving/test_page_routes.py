"""The page's files: fixed, typed, and with headers that let nothing else run."""

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response

from focus_ray.serving.page_routes import FOLDER, assets, router
from focus_ray.serving.problems import Problem


def get(path: str, **headers: str) -> httpx.Response:
    app = FastAPI()
    app.include_router(router())

    @app.exception_handler(Problem)
    async def told(request: Request, problem: Problem) -> Response:
        return Response(problem.body("r"), problem.status)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(send())


def test_the_page_lets_nothing_else_run():
    answer = get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert "connect-src 'self' blob:;" in policy, "the viewer reads the texture inside a GLB"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.js", "text/javascript"),
        ("page.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("example.jpg", "image/jpeg"),
    ],
)
def test_files_have_their_kind_and_are_sent_once(name: str, kind: str):
    answer = get(f"/assets/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    again = get(f"/assets/{name}", **{"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["", "nothing.js", "../page_routes.py", "%2e%2e/schema.py", "vendor/VERSION", "/etc/passwd"]
)
def test_there_is_nothing_else(name: str):
    assert get(f"/assets/{name}").status_code == 404


def test_the_page_has_no_inline_script_or_style_and_asks_nobody_else():
    html = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert "<style" not in html
    assert re.findall(r"\s(?:on\w+|style)=", html) == []
    for path in FOLDER.glob("*"):
        if path.suffix in (".html", ".js", ".css"):
            assert re.findall(r"https?://(?!www\.w3\.org)", path.read_text()) == [], path


def test_every_file_that_is_named_is_there():
    own = {name: file for name, file in assets().items() if not name.startswith("vendor/")}
    for name, file in own.items():
        if name.endswith((".html", ".js")):
            for asked in re.findall(r"/assets/([\w./-]+)", file.content.decode()):
                assert asked in assets() or asked.startswith("vendor/"), f"{name} asks for {asked}"
