"""Addresses of repositories on a Hugging Face Hub."""

import sys

import pytest

from focus_ray.errors import ConfigError
from focus_ray.storage.hub_address import HubAddress, parse_address, require_client

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("hf://owner/name", HubAddress("owner/name")),
        ("hf://owner/name/", HubAddress("owner/name")),
        ("hf://an-owner/a.name_2@v1.0", HubAddress("an-owner/a.name_2", "v1.0")),
        ("hf://owner/name@refs/pr/3", HubAddress("owner/name", "refs/pr/3")),
    ],
)
def test_an_address_is_read_and_written(uri: str, address: HubAddress):
    assert parse_address(uri) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "uri",
    [
        *("hf://", "hf://name", "hf://owner/name/model.json", "hf://datasets/owner/name", "https://host/owner/name"),
        *("hf://owner/name@", "hf://owner/../name", "hf://owner//name", "hf://token@owner/name", "hf://o/n@a/../b"),
        "hf://owner/na me",
    ],
)
def test_anything_else_is_refused(uri: str):
    with pytest.raises(ConfigError, match=r"is not the address of a repository; give hf://owner/name\[@revision\]"):
        parse_address(uri)


def test_only_a_full_hash_is_a_commit():
    assert HubAddress("owner/name").at(COMMIT).is_commit
    assert not HubAddress("owner/name", COMMIT[:7]).is_commit
    assert not HubAddress("owner/name").is_commit


def test_a_missing_client_is_said_without_importing_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pip install 'focus-ray\[hub\]'"):
        require_client()
