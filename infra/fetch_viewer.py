"""The 3D library of the web page: three.js, one version, known by its hash, from the npm registry that is configured.

python infra/fetch_viewer.py     puts it into focus_ray/serving/page/vendor, which is not part of the repository.
Only the standard library is used: building a wheel calls this before anything is installed.
"""

import base64
import hashlib
import io
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "0.170.0"
SHA512 = "FQK+LEpYc0fBD+J8g6oSEyyNzjp+Q7Ks1C568WWaoMRLW+TkNNWmenWeGgJjV105Gd+p/2ql1ZcjYvNiPZBhuQ=="
FILES = {
    "package/build/three.module.min.js": "three.module.min.js",
    "package/examples/jsm/loaders/GLTFLoader.js": "GLTFLoader.js",
    "package/examples/jsm/utils/BufferGeometryUtils.js": "BufferGeometryUtils.js",
    "package/examples/jsm/controls/OrbitControls.js": "OrbitControls.js",
    "package/LICENSE": "LICENSE",
}
# A bare name needs an import map, which would be a script within the page.
REWRITTEN = {"'three'": "'./three.module.min.js'", "'../utils/BufferGeometryUtils.js'": "'./BufferGeometryUtils.js'"}
VENDOR = Path(__file__).resolve().parent.parent / "focus_ray" / "serving" / "page" / "vendor"
_MOST_BYTES = 64 << 20
_SECONDS = 120


class ViewerError(Exception):
    """The library cannot be had, or is not what it should be."""


def present(vendor: Path = VENDOR) -> bool:
    """Whether this version is there."""
    mark = vendor / "VERSION"
    return mark.is_file() and mark.read_text() == VERSION and all((vendor / name).is_file() for name in FILES.values())


def fetch(vendor: Path = VENDOR, address: str | None = None) -> None:
    """Download, verify, and put in place. Raises ViewerError; nothing is written then."""
    if present(vendor):
        return
    content = _download(address or f"{registry()}/three/-/three-{VERSION}.tgz")
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise ViewerError(f"three {VERSION} is not what it should be: its SHA-512 differs; nothing was written")
    files = {FILES[name]: _rewritten(name, data) for name, data in _members(content).items()}
    if missing := FILES.values() - files.keys():
        raise ViewerError(f"three {VERSION} has no {', '.join(sorted(missing))}; nothing was written")
    vendor.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (vendor / name).write_bytes(data)
    (vendor / "VERSION").write_text(VERSION)


def registry() -> str:
    """npm's registry as npm itself is configured: environment, ~/.npmrc, the system's npmrc, else what npm says.

    Raises ViewerError where nobody knows.
    """
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    for file in (Path.home() / ".npmrc", Path("/usr/etc/npmrc"), Path("/etc/npmrc")):
        if file.is_file() and (found := re.search(r"^registry\s*=\s*(\S+)", file.read_text(), re.MULTILINE)):
            return found[1].rstrip("/")
    npm = shutil.which("npm")
    said = (
        npm and subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False).stdout
    )
    if said and said.startswith("http"):
        return said.strip().rstrip("/")
    raise ViewerError(f"no npm registry is configured to get three {VERSION} from; set NPM_CONFIG_REGISTRY")


def _download(address: str) -> bytes:
    certificates = os.environ.get("NODE_EXTRA_CA_CERTS") or os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context()
    if certificates and Path(certificates).is_file():
        context.load_verify_locations(certificates)
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS, context=context) as answer:
            content = answer.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ViewerError(f"three {VERSION} cannot be downloaded ({error}); set NPM_CONFIG_REGISTRY") from None
    if len(content) > _MOST_BYTES:
        raise ViewerError(f"three {VERSION} is larger than it should be; nothing was written")
    return content


def _members(content: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            if member.name in FILES and (stream := archive.extractfile(member)) is not None:
                found[member.name] = stream.read()
    return found


def _rewritten(name: str, data: bytes) -> bytes:
    text = data.decode()
    if "/jsm/" in name:
        for bare, relative in REWRITTEN.items():
            text = text.replace(f"from {bare}", f"from {relative}")
    return text.encode()


def main() -> int:
    """Fetch, or say why not."""
    try:
        fetch()
    except ViewerError as error:
        sys.stderr.write(f"the page will have no 3D view: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
