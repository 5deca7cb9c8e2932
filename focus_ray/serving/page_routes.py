"""Routes of the web page: static files of the package, read once, with a strict content security policy."""

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from focus_ray.serving.problems import Problem

FOLDER = Path(__file__).resolve().parent / "page"
VENDOR = "vendor"  # three.js, fetched by infra/fetch_viewer.py and part of the wheel
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self' blob:",  # the 3D viewer reads the texture inside a GLB as a blob
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # revalidated with each request, by ETag
}


class Asset(NamedTuple):
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str  # hash of the content


@cache
def assets() -> dict[str, Asset]:
    """Return all files of the page by name under /assets/; no other file can be requested."""
    return {name: Asset(content, _MEDIA_TYPES[Path(name).suffix], _tag(content)) for name, content in _read_assets()}


def router() -> APIRouter:
    """Create the routes GET / and GET /assets/{name}."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page(request: Request) -> Response:
        return _asset_response(request, assets()["index.html"])

    @router.get("/assets/{name:path}")
    async def asset(request: Request, name: Annotated[str, InPath(max_length=80)]) -> Response:
        found = assets().get(name)
        if found is None:
            raise Problem("not_found", "the page has no such file; reload the page")
        return _asset_response(request, found)

    return router


def _asset_response(request: Request, file: Asset) -> Response:
    headers = {**_HEADERS, "etag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


def _read_assets() -> Iterator[tuple[str, bytes]]:
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and path.suffix in _MEDIA_TYPES:
            yield path.relative_to(FOLDER).as_posix(), path.read_bytes()


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
