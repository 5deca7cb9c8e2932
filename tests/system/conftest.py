"""Servers that the tests of whole processes share."""

from collections.abc import Iterator

import pytest

from tests.system.faulty_proxy import FaultyProxy
from tests.system.servers import new_bucket, s3_server, use_s3


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 service for the whole session."""
    with s3_server() as url:
        yield url


@pytest.fixture
def proxy(s3_url: str) -> Iterator[FaultyProxy]:
    """A proxy in front of the S3 service, without faults so far."""
    with FaultyProxy(s3_url) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3_url: str, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://bucket, new and empty; this process, and those that it starts, reach it through the proxy."""
    use_s3(monkeypatch, proxy.url)
    return f"s3://{new_bucket(s3_url)}"
