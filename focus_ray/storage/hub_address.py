"""Address of a model repository on a Hugging Face Hub: hf://owner/name, hf://owner/name@revision."""

import importlib.util
import re
from dataclasses import dataclass

from focus_ray.errors import ConfigError

PREFIX = "hf://"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ADDRESS = re.compile(rf"hf://({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,127}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubAddress:
    """A repository and, if it is fixed, a revision of it.

    Attributes:
        repository: owner/name.
        revision: branch, tag or commit; None: the main branch.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return PREFIX + self.repository + ("" if self.revision is None else f"@{self.revision}")

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a full commit hash, whose files never change."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> "HubAddress":
        """Return the address of another revision of the repository."""
        return HubAddress(self.repository, revision)


def parse_address(uri: str) -> HubAddress:
    """Parse an address.

    Args:
        uri: hf://owner/name or hf://owner/name@revision; a slash at its end is ignored.

    Raises:
        ConfigError: it is neither.
    """
    match = _ADDRESS.fullmatch(uri.rstrip("/"))
    if match is None or ".." in uri or "//" in uri.removeprefix(PREFIX):
        raise ConfigError(f"{uri[:120]!r} is not the address of a repository; give hf://owner/name[@revision]")
    return HubAddress(*match.groups())


def require_client() -> None:
    """Check that the package that speaks to a hub is installed, without importing it.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("hf:// needs the package huggingface_hub; install it: pip install 'focus-ray[hub]'")
