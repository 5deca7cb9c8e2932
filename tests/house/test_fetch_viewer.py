"""The page's library comes verified or not at all."""

import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import fetch_viewer
from infra.fetch_viewer import FILES, ViewerError, fetch, present, registry


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and where a server shows it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "registry"))

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "registry").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield tmp_path / "registry", f"http://127.0.0.1:{server.server_address[1]}"
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
    import base64
    import hashlib

    monkeypatch.setattr(fetch_viewer, "SHA512", base64.b64encode(hashlib.sha512(content).digest()).decode())


def test_what_is_verified_is_put_in_place_without_bare_names(served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, url = served
    data = b"import { Mesh } from 'three';\n"
    content = package({name: data for name in FILES} | {"package/../../evil.js": b"x", "package/evil.js": b"x"})
    (folder / "three.tgz").write_bytes(content)
    trusted(monkeypatch, content)
    vendor = tmp_path / "vendor"
    fetch(vendor, f"{url}/three.tgz")
    assert present(vendor)
    assert {path.name for path in vendor.iterdir()} == {*FILES.values(), "VERSION"}
    assert (vendor / "GLTFLoader.js").read_bytes() == b"import { Mesh } from './three.module.min.js';\n"
    (folder / "three.tgz").unlink()
    fetch(vendor, f"{url}/three.tgz")  # it is there


def test_what_was_tampered_with_is_refused(served, tmp_path: Path):
    folder, url = served
    (folder / "three.tgz").write_bytes(package(dict.fromkeys(FILES, b"alert(1)")))
    with pytest.raises(ViewerError, match="SHA-512 differs"):
        fetch(tmp_path / "vendor", f"{url}/three.tgz")
    assert not (tmp_path / "vendor").exists()


def test_what_is_not_there_or_not_whole(served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, url = served
    with pytest.raises(ViewerError, match="cannot be downloaded"):
        fetch(tmp_path / "vendor", f"{url}/three.tgz")
    content = package({"package/LICENSE": b"MIT"})
    (folder / "three.tgz").write_bytes(content)
    trusted(monkeypatch, content)
    with pytest.raises(ViewerError, match=r"has no .*three\.module\.min\.js"):
        fetch(tmp_path / "vendor", f"{url}/three.tgz")
    assert not present(tmp_path / "vendor")


def test_the_registry_is_npms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:4873/")
    assert registry() == "http://127.0.0.1:4873"
    monkeypatch.delenv("NPM_CONFIG_REGISTRY")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".npmrc").write_text("audit=false\nregistry = http://127.0.0.1:4874/npm/\n")
    assert registry() == "http://127.0.0.1:4874/npm"
