"""Downloads the web page's 3D library, three.js, in one version with a fixed hash, from the configured npm registry.

python infra/fetch_viewer.py     writes it to focus_ray/serving/page/vendor, which is not part of the repository.
Only the standard library is used: building a wheel calls this before any dependency is installed.
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
from typing import NamedTuple


class Package(NamedTuple):
    """An npm package with exact version and hash."""

    name: str
    version: str
    sha512: str  # of its tarball, base64, as in `npm view NAME@VERSION dist.integrity`


# The newest version that is published minified.
THREE = Package(
    "three", "0.185.1", "5aojFCXKwnjBRZvUnt3WFfEcvUJgkN5LlijRFN95hMy8WVkG4I0QNcJE+OuWvuJ0bOdStrbfXn0pkd6/QyiAlg=="
)
FILES = {
    "package/build/three.module.min.js": "three.module.min.js",
    "package/build/three.core.min.js": "three.core.min.js",
    "package/examples/jsm/loaders/GLTFLoader.js": "GLTFLoader.js",
    "package/examples/jsm/utils/BufferGeometryUtils.js": "BufferGeometryUtils.js",
    "package/examples/jsm/utils/SkeletonUtils.js": "SkeletonUtils.js",
    "package/examples/jsm/controls/OrbitControls.js": "OrbitControls.js",
    "package/LICENSE": "LICENSE",
}
# All files are in one folder. A bare module name would need an import map, an inline script of the page.
REPLACEMENTS = {"from 'three'": "from './three.module.min.js'", "from '../utils/": "from './"}
VENDOR = Path(__file__).resolve().parent.parent / "focus_ray" / "serving" / "page" / "vendor"
_MARK = "VERSION"
_MAX_BYTES = 64 << 20
_SECONDS = 120


class ViewerError(Exception):
    """The library cannot be downloaded, or differs from the expected one."""


def is_present(vendor: Path = VENDOR) -> bool:
    """Return whether the folder holds this version."""
    mark = vendor / _MARK
    complete = all((vendor / name).is_file() for name in FILES.values())
    return complete and mark.is_file() and mark.read_text() == THREE.version


def fetch(vendor: Path = VENDOR) -> None:
    """Download, verify and write the library, if it is not present.

    Args:
        vendor: folder to write; replaced if it exists.

    Raises:
        ViewerError: the library cannot be downloaded or verified; nothing is written.
    """
    if is_present(vendor):
        return
    files = {
        FILES[name]: _rewrite_imports(name, data)
        for name, data in extract_files(download_package(THREE), tuple(FILES)).items()
    }
    if vendor.exists():
        shutil.rmtree(vendor)
    vendor.mkdir(parents=True)
    for name, data in files.items():
        (vendor / name).write_bytes(data)
    (vendor / _MARK).write_text(THREE.version)  # last: marks a complete folder


def download_package(package: Package) -> bytes:
    """Download the tarball of a package and verify its hash.

    Raises:
        ViewerError: the download failed, or the hash differs.
    """
    what = f"{package.name} {package.version}"
    content = _download(f"{registry_url()}/{package.name}/-/{package.name}-{package.version}.tgz", what)
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != package.sha512:
        raise ViewerError(f"{what} is not the expected package: its SHA-512 differs; nothing was written")
    return content


def extract_files(tarball: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the named files of a verified tarball.

    Raises:
        ViewerError: a file is missing.
    """
    with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as archive:
        read = {one.name: archive.extractfile(one) for one in archive if one.name in names and one.isfile()}
        found = {name: stream.read() for name, stream in read.items() if stream is not None}
    if missing := sorted(set(names) - found.keys()):
        raise ViewerError(f"the package has no {', '.join(missing)}; nothing was written")
    return found


def registry_url() -> str:
    """Return the npm registry's URL from npm's settings, else from `npm config get`.

    Raises:
        ViewerError: no registry is configured.
    """
    if configured := npm_setting("registry"):
        return configured.rstrip("/")
    if npm := shutil.which("npm"):
        output = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False).stdout
        if output.startswith("http"):
            return output.strip().rstrip("/")
    raise ViewerError("no npm registry is configured; set NPM_CONFIG_REGISTRY to its address, and repeat the command")


def npm_setting(name: str) -> str | None:
    """Return a setting of npm from the environment, ~/.npmrc or the system's npmrc; None if it is not set."""
    for variable in (f"NPM_CONFIG_{name.upper()}", f"npm_config_{name}"):
        if os.environ.get(variable):
            return os.environ[variable]
    for file in (Path.home() / ".npmrc", Path("/usr/etc/npmrc"), Path("/etc/npmrc")):
        if file.is_file() and (found := re.search(rf"^{name}\s*=\s*(\S+)", file.read_text(), re.MULTILINE)):
            return found[1]
    return None


def _download(address: str, label: str) -> bytes:
    context = ssl.create_default_context()  # uses SSL_CERT_FILE
    for certificates in (os.environ.get("NODE_EXTRA_CA_CERTS"), npm_setting("cafile")):
        if certificates and Path(certificates).is_file():
            context.load_verify_locations(certificates)
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS, context=context) as answer:
            content = answer.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ViewerError(f"{label} cannot be downloaded ({error}); set NPM_CONFIG_REGISTRY") from None
    if len(content) > _MAX_BYTES:
        raise ViewerError(f"{label} is larger than {_MAX_BYTES >> 20} MiB; nothing was written")
    return content


def _rewrite_imports(name: str, data: bytes) -> bytes:
    if "/jsm/" not in name:
        return data
    text = data.decode()
    for there, here in REPLACEMENTS.items():
        text = text.replace(there, here)
    return text.encode()


def main() -> int:
    """Download the library; return the exit code, 1 if that failed."""
    try:
        fetch()
    except ViewerError as error:
        sys.stderr.write(f"the page will have no 3D view: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
