"""Stores to test: a folder, and a bucket of an S3 service on this machine."""

from pathlib import Path

import pytest

from focus_ray.storage.object_store import LocalStore, ObjectStore
from focus_ray.storage.s3 import S3Store
from tests.system.servers import new_bucket, use_s3


@pytest.fixture
def s3_store(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """An empty place in a bucket."""
    use_s3(monkeypatch, s3_url)
    return S3Store(new_bucket(s3_url), "runs/one")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    return LocalStore(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("s3_store")
