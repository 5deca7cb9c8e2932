"""The page's library comes verified or not at all."""

import base64
import hashlib
import http.server
import importlib.util
import io
import sys
import tarfile
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import fetch_viewer
from infra.fetch_viewer import FILES, THREE, ViewerError, fetch, is_present, registry_url

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a registry of this machine would have the package."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "registry"))

        def log_message(self, *_: object) -> None:
            pass

    package = tmp_path / "registry" / "three" / "-" / f"three-{THREE.version}.tgz"
    package.parent.mkdir(parents=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_address[1]}/")
    yield package
    server.shutdown()
    server.server_close()
    thread.join()


def package(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def trusted(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    known = base64.b64encode(hashlib.sha512(content).digest()).decode()
    monkeypatch.setattr(fetch_viewer, "THREE", THREE._replace(sha512=known))


def test_what_is_verified_is_put_in_place_without_bare_names(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = b"import { Mesh } from 'three';\nimport * as U from '../utils/SkeletonUtils.js';\n"
    content = package({name: data for name in FILES} | {"package/../../evil.js": b"x", "package/evil.js": b"x"})
    served.write_bytes(content)
    trusted(monkeypatch, content)
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    (vendor / "of_an_older_version.js").touch()
    fetch(vendor)
    assert is_present(vendor)
    assert {path.name for path in vendor.iterdir()} == {*FILES.values(), "VERSION"}
    assert (vendor / "GLTFLoader.js").read_bytes() == (
        b"import { Mesh } from './three.module.min.js';\nimport * as U from './SkeletonUtils.js';\n"
    )
    assert (vendor / "three.module.min.js").read_bytes() == data
    served.unlink()
    fetch(vendor)  # it is there


def test_what_was_tampered_with_is_refused(served: Path, tmp_path: Path):
    served.write_bytes(package(dict.fromkeys(FILES, b"alert(1)")))
    with pytest.raises(ViewerError, match="SHA-512 differs"):
        fetch(tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_what_is_not_there_or_not_whole(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ViewerError, match="cannot be downloaded"):
        fetch(tmp_path / "vendor")
    content = package({"package/LICENSE": b"MIT"})
    served.write_bytes(content)
    trusted(monkeypatch, content)
    with pytest.raises(ViewerError, match=r"has no .*three\.module\.min\.js"):
        fetch(tmp_path / "vendor")
    assert not is_present(tmp_path / "vendor")


def test_the_registry_is_npms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:4873/")
    assert registry_url() == "http://127.0.0.1:4873"
    monkeypatch.delenv("NPM_CONFIG_REGISTRY")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".npmrc").write_text("audit=false\nregistry = http://127.0.0.1:4874/npm/\n")
    assert registry_url() == "http://127.0.0.1:4874/npm"


@pytest.fixture
def built(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What the hook adds to a wheel of a checkout whose registry is `served`; the build tool is a stand-in."""
    place = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    place.BuildHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, place.__name__, place)
    monkeypatch.setitem(sys.modules, "fetch_viewer", fetch_viewer)
    monkeypatch.delenv("FOCUS_RAY_WITHOUT_VIEWER", raising=False)
    monkeypatch.setenv("FOCUS_RAY_WITHOUT_DETECTOR", "1")
    monkeypatch.syspath_prepend(str(tmp_path))  # what the hook itself puts on the path goes with it
    specification = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    def build(version: str) -> dict[str, Any]:
        hook, data = module.DownloadHook(), {"artifacts": []}
        hook.root = str(tmp_path)
        hook.initialize(version, data)
        return data

    return build


def test_a_wheel_has_the_library(served: Path, built: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    content = package(dict.fromkeys(FILES, b"3D"))
    served.write_bytes(content)
    trusted(monkeypatch, content)
    assert built("standard") == {"artifacts": ["focus_ray/serving/page/vendor/*"]}


def test_a_wheel_without_the_library_is_one_that_was_asked_for(
    built: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ViewerError, match=r"set NPM_CONFIG_REGISTRY; or set FOCUS_RAY_WITHOUT_VIEWER=1: the page"):
        built("standard")
    assert built("editable") == {"artifacts": []}
    monkeypatch.setenv("FOCUS_RAY_WITHOUT_VIEWER", "1")
    assert built("standard") == {"artifacts": []}
