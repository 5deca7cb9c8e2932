"""API keys: made, kept as hashes, found by whoever bears them; and who may listen without."""

from pathlib import Path

import pytest

from focus_ray.errors import ConfigError, StorageError
from focus_ray.serving.keys import ApiKeys, add_key, check_exposure, hash_key, read_keys
from focus_ray.serving.settings import HttpSettings


def bearer(key: str) -> bytes:
    return f"Bearer {key}".encode()


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path):
    file = tmp_path / "keys.txt"
    keys = {name: add_key(file, name) for name in ("alice", "bob.2")}
    assert keys["alice"].startswith("fr_")
    assert len(keys["alice"]) > 40
    assert not any(key in file.read_text() for key in keys.values())
    known = ApiKeys(read_keys(file))
    assert [known.owner(bearer(keys[name])) for name in keys] == ["alice", "bob.2"]
    assert known.owner(keys["alice"].join(["bearer ", ""]).encode()) == "alice"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic fr_right",
        b"fr_right",
        b"Bearer fr_wrong",
        b"Bearer fr_right x",
        b"Bearer " + b"x" * 10_000,
        b"Bearer \xff\x00",
        b"Bearer " + hash_key("fr_right").encode(),
    ],
)
def test_everybody_else_is_nobody(header: bytes | None):
    known = ApiKeys([f"alice:{hash_key('fr_right')}"])
    assert known.owner(header) is None
    assert known.owner(b"Bearer fr_right") == "alice"


def test_a_name_is_taken_or_none(tmp_path: Path):
    file = tmp_path / "keys.txt"
    add_key(file, "alice")
    with pytest.raises(ConfigError, match="already has a key named alice"):
        add_key(file, "alice")
    for name in ("", "a b", "a:b", "ä" * 3, "x" * 65, "a\nb"):
        with pytest.raises(ConfigError, match="is not a valid key name"):
            add_key(file, name)
    with pytest.raises(StorageError):
        add_key(tmp_path / "no" / "folder.txt", "alice")


@pytest.mark.parametrize("text", ["fr_a-plain-key", "alice:short", "alice", "alice:" + "G" * 64, ":" + "0" * 64])
def test_a_malformed_line_is_named_and_never_repeated(text: str, tmp_path: Path):
    (tmp_path / "keys.txt").write_text(f"# keys\n\nok:{'0' * 64}\n{text}\n")
    with pytest.raises(ConfigError, match="line 4") as error:
        read_keys(tmp_path / "keys.txt")
    assert text not in str(error.value)


def test_a_file_without_keys_and_none_at_all(tmp_path: Path):
    (tmp_path / "keys.txt").write_text("# nothing yet\n")
    with pytest.raises(ConfigError, match="has no keys"):
        read_keys(tmp_path / "keys.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "gone.txt")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host: str):
    check_exposure(HttpSettings(host=host), without_keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "localhost.example.org", ""])
def test_other_addresses_do(host: str):
    with pytest.raises(ConfigError, match="give a key file"):
        check_exposure(HttpSettings(host=host), without_keys=False)
    check_exposure(HttpSettings(host=host), without_keys=True)
    check_exposure(HttpSettings(host=host, keys=(f"a:{'0' * 64}",)), without_keys=False)


def test_a_file_that_lost_its_keys_or_its_last_line_end_takes_another(tmp_path: Path):
    file = tmp_path / "keys.txt"
    file.write_text("# nobody is left\n")
    add_key(file, "alice")
    file.write_text(file.read_text().rstrip("\n"))
    add_key(file, "bob")
    assert [entry.partition(":")[0] for entry in read_keys(file)] == ["alice", "bob"]
