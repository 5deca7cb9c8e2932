"""A Hugging Face Hub of this process: as much of its HTTP interface as the client uses for model repositories."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub.utils._cache_assets
import pytest
from huggingface_hub import constants

from tests.http_servers import QuietHandler, serve_handler

TOKEN = "hf_test"
LARGE = ".safetensors"  # stored as LFS objects, behind a redirect

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Repository:
    """A repository: files by name of each commit, the newest last."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        digest = hashlib.sha1(str(len(self.commits)).encode())
        for name in sorted(files):
            digest.update(name.encode() + files[name])
        self.commits[digest.hexdigest()] = dict(files)
        return digest.hexdigest()

    @property
    def head(self) -> str:
        return list(self.commits)[-1]


@dataclass
class Hub:
    """State of the server: what it holds, what it was asked for, and sizes that it reports wrongly."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    sizes: dict[str, int | None] = field(default_factory=dict)
    status: int | None = None  # answered to everything, if set

    def add(self, name: str, files: dict[str, bytes], **options: bool) -> Repository:
        repository = self.repositories[name] = Repository(**options)
        repository.commit(files)
        return repository

    def downloads(self) -> list[str]:
        """Names of the files whose content was sent, in order."""
        return [path.rpartition("/")[2] for method, path in self.requests if method == "GET" and "/resolve/" in path]


def failure(status: int, code: str = "") -> Answer:
    return status, {"X-Error-Code": code} if code else {}, b"{}"


def as_json(content: object, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(content).encode()


class Handler(QuietHandler):
    """Answers for the hub of the class."""

    hub: Hub

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def answer(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((method, path))
        body = self.read_all() if method in ("POST", "PUT") else b""
        status, headers, content = self.find(method, path, body)
        if method == "HEAD":
            headers = {"Content-Length": str(len(content)), **headers}
            content = b""
        self.respond((status, headers, content))

    def read_all(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.read_body()
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def find(self, method: str, path: str, body: bytes) -> Answer:
        if self.hub.status is not None:
            return failure(self.hub.status)
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"(?:GET) /api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self.info),
            (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)", self.resolve),
            (r"(?:GET) /lfs/(\w+)", self.read_object),
            (r"POST /api/repos/create", self.create),
            (r"POST /api/validate-yaml", self.validate),
            (r"POST /api/models/([^/]+/[^/]+)/preupload/main", self.preupload),
            (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.batch),
            (r"PUT /lfs/(\w+)", self.write_object),
            (r"POST /api/models/([^/]+/[^/]+)/commit/main", self.commit),
        ]
        for pattern, respond in routes:
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return respond(*match.groups(), **({"body": body} if method in ("POST", "PUT") else {}))
        return failure(404)

    @property
    def allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def open(self, name: str, revision: str | None) -> tuple[Repository, str] | Answer:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self.allowed):
            return failure(404 if self.allowed else 401, "RepoNotFound")
        if repository.gated and not self.allowed:
            return failure(403, "GatedRepo")
        commit = repository.head if revision in (None, "main") else str(revision)
        if commit not in repository.commits:
            return failure(404, "RevisionNotFound")
        return repository, commit

    def info(self, name: str, revision: str | None) -> Answer:
        found = self.open(name, revision)
        if not isinstance(found[0], Repository):
            return found  # pyright: ignore[reportReturnType]
        repository, commit = found[0], str(found[1])
        files = repository.commits[commit]
        siblings = [{"rfilename": one, "size": self.hub.sizes.get(one, len(files[one]))} for one in files]
        return as_json({"id": name, "sha": commit, "private": repository.private, "siblings": siblings})

    def resolve(self, name: str, revision: str, file: str) -> Answer:
        found = self.open(name, revision)
        if not isinstance(found[0], Repository):
            return found  # pyright: ignore[reportReturnType]
        repository, commit = found[0], str(found[1])
        content = repository.commits[commit].get(file)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            return 404, {**headers, "X-Error-Code": "EntryNotFound"}, b""
        if not file.endswith(LARGE):
            return 200, {**headers, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}, content
        digest = hashlib.sha256(content).hexdigest()
        self.hub.objects[digest] = content
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost")  # the client follows no redirect to another host
        return 302, {**headers, **linked, "Location": f"{elsewhere}/lfs/{digest}"}, b""

    def read_object(self, digest: str) -> Answer:
        assert "Authorization" not in self.headers, "the token is for the hub, not for its storage"
        return 200, {}, self.hub.objects[digest]

    def create(self, body: bytes) -> Answer:
        if not self.allowed:
            return failure(401)
        request = json.loads(body)
        name = f"{request.get('organization') or 'me'}/{request['name']}"
        if request.get("organization") == "others":
            return failure(403)
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            return as_json({"url": url}, 409)
        self.hub.add(name, {".gitattributes": b""}, private=request.get("visibility") == "private")
        return as_json({"url": url})

    def validate(self, body: bytes) -> Answer:
        complete = json.loads(body)["content"].startswith("---\n")
        return as_json({"errors": [], "warnings": [] if complete else [{"message": "empty metadata"}]})

    def preupload(self, name: str, body: bytes) -> Answer:
        files = [
            {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular"}
            for one in json.loads(body)["files"]
        ]
        return as_json({"files": [{**one, "shouldIgnore": False} for one in files]})

    def batch(self, name: str, body: bytes) -> Answer:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        return as_json({"transfer": "basic", "objects": objects})

    def write_object(self, digest: str, body: bytes) -> Answer:
        assert hashlib.sha256(body).hexdigest() == digest
        self.hub.objects[digest] = body
        return 200, {}, b""

    def commit(self, name: str, body: bytes) -> Answer:
        repository = self.hub.repositories[name]
        files = dict(repository.commits[repository.head])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "header" if value["parentCommit"] != repository.head:
                    return failure(412)
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        commit = repository.commit(files)
        return as_json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub without repositories."""
    hub = Hub()
    with serve_handler(type("HubHandler", (Handler,), {"hub": hub})) as url:
        hub.url = url
        yield hub


def use_hub(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch, *, token: bool = True) -> None:
    """Let the client of this process, which read its environment when it was imported, use a hub and an empty cache."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(huggingface_hub.utils._cache_assets, "HF_ASSETS_CACHE", str(home / "assets"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the server has no such storage
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
