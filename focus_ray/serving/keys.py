"""API keys: random, shown once, stored as hashes, compared in constant time; required on public interfaces."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from focus_ray.errors import ConfigError, StorageError
from focus_ray.serving.settings import HttpSettings

PREFIX = "fr_"
_ENTRY = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")
_MAX_HEADER_BYTES = 512


def hash_key(key: str | bytes) -> str:
    """Return the SHA-256 of a key (hex). Keys have 256 random bits, so a slow hash is not needed."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


def add_key(file: Path, name: str) -> str:
    """Create a key and append its line NAME:SHA256 to a file.

    Args:
        file: key file; created if missing.
        name: owner of the key.

    Returns:
        The key.

    Raises:
        ConfigError: the name is taken or not valid, or the file cannot be read.
        StorageError: the file cannot be written.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    entry = f"{name}:{hash_key(key)}"
    if not _ENTRY.fullmatch(entry):
        raise ConfigError(f"{name[:80]!r} is not a valid key name; use letters, digits, dots, - and _, 64 at most")
    text = _read(file) if file.exists() else ""
    if any(other.partition(":")[0] == name for other in _entries(file, text)):
        raise ConfigError(f"{file} already has a key named {name}; remove its line, or choose another name")
    try:
        with file.open("a") as stream:
            stream.write("\n" * (text[-1:] not in ("", "\n")) + entry + "\n")
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written ({error.strerror}); check the folder and its permissions"
        ) from None
    return key


def read_keys(file: Path) -> tuple[str, ...]:
    """Read the entries NAME:SHA256 of a key file, without empty lines and lines that start with #.

    Raises:
        ConfigError: the file cannot be read, has an invalid line (not quoted, it may be a key), or has no entries.
    """
    entries = _entries(file, _read(file))
    if not entries:
        raise ConfigError(f"{file} has no keys; create one with `focus-ray key NAME`")
    return entries


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the keys in {file} cannot be read ({error}); check the path and its permissions") from None


def _entries(file: Path, text: str) -> tuple[str, ...]:
    entries = []
    for number, line in enumerate((line.strip() for line in text.splitlines()), 1):
        if line and not line.startswith("#"):
            if not _ENTRY.fullmatch(line):
                raise ConfigError(
                    f"{file}, line {number}: not of the form NAME:SHA256; create one with `focus-ray key NAME`"
                )
            entries.append(line)
    return tuple(entries)


class ApiKeys:
    """The accepted API keys."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = [(name, digest) for name, _, digest in (entry.partition(":") for entry in entries)]

    def owner(self, header: bytes | None) -> str | None:
        """Return the name of the key in an Authorization header; None if it is not accepted.

        Always compares all keys, for constant time.
        """
        if header is None or len(header) > _MAX_HEADER_BYTES:
            return None
        scheme, _, key = header.strip().partition(b" ")
        found = None
        digest = hash_key(key.strip())
        for name, known in self._entries:
            if hmac.compare_digest(digest, known):
                found = name
        return found if scheme.lower() == b"bearer" else None


def check_exposure(settings: HttpSettings, without_keys: bool) -> None:
    """Check that an endpoint that other machines can reach requires keys.

    Args:
        settings: address and keys.
        without_keys: the endpoint is meant to have no keys; never raise.

    Raises:
        ConfigError: the address is not a loopback address and there are no keys.
    """
    if settings.keys or without_keys or is_loopback(settings.host):
        return
    raise ConfigError(
        f"{settings.host} is reachable from other machines and no API key is required; give a key file "
        "(see `focus-ray key`), listen on 127.0.0.1, or explicitly allow access without keys"
    )


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address, which only this machine can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
