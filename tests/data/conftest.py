"""A bucket to read pictures from."""

from collections.abc import Iterator

import pytest

from tests.system.servers import new_bucket, s3_server, use_s3


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """An S3 service on this machine."""
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://bucket, new and empty."""
    use_s3(monkeypatch, s3_url)
    return f"s3://{new_bucket(s3_url)}"
