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
_MAX_HEADER_BYTES = 512  # bytes


def hash_key(key: str | bytes) -> str:
    """SHA-256 (hex): a key has 256 random bits, so nothing slower is needed."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


def add_key(file: Path, name: str) -> str:
    """A new key; its line NAME:SHA256 is added to the file. Raises ConfigError for a name that is taken or no name."""
    key = PREFIX + secrets.token_urlsafe(32)
    entry = f"{name}:{hash_key(key)}"
    if not _ENTRY.fullmatch(entry):
        raise ConfigError(f"{name[:80]!r} cannot be a key's name; use letters, digits, dots, - and _, 64 at most")
    text = _read(file) if file.exists() else ""
    if any(other.partition(":")[0] == name for other in _entries(file, text)):
        raise ConfigError(f"{file} has a key of {name} already; take out its line, or choose another name")
    try:
        with file.open("a") as stream:
            stream.write("\n" * (text[-1:] not in ("", "\n")) + entry + "\n")
    except OSError as error:
        raise StorageError(f"{file} cannot be written ({error.strerror}); check the folder and its rights") from None
    return key


def read_keys(file: Path) -> tuple[str, ...]:
    """The entries NAME:SHA256 of a file; empty lines and those that begin with # are skipped.

    Raises ConfigError for a line that is none (never repeating it: it may be a key) and for a file without any.
    """
    entries = _entries(file, _read(file))
    if not entries:
        raise ConfigError(f"{file} has no keys; make one with `focus-ray key`")
    return entries


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the keys in {file} cannot be read ({error}); check the path and its rights") from None


def _entries(file: Path, text: str) -> tuple[str, ...]:
    entries = []
    for number, line in enumerate((line.strip() for line in text.splitlines()), 1):
        if line and not line.startswith("#"):
            if not _ENTRY.fullmatch(line):
                raise ConfigError(f"{file}, line {number}: no NAME:SHA256; make one with `focus-ray key NAME`")
            entries.append(line)
    return tuple(entries)


class ApiKeys:
    """The accepted API keys."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = [(name, digest) for name, _, digest in (entry.partition(":") for entry in entries)]

    def owner(self, header: bytes | None) -> str | None:
        """Whose key an Authorization header bears; None for nobody's. All keys are looked at, whichever it is."""
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
    """Raises ConfigError for an endpoint that others reach and that asks for no key, unless that is meant."""
    if settings.keys or without_keys or is_loopback(settings.host):
        return
    raise ConfigError(
        f"{settings.host} is reachable from other machines and no API key is required; give a key file "
        "(see `focus-ray key`), listen at 127.0.0.1, or say that no keys are meant"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
