"""A bucket to read pictures from."""

import pytest

from tests.system.servers import new_bucket, use_s3


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://bucket, new and empty."""
    use_s3(monkeypatch, s3_url)
    return f"s3://{new_bucket(s3_url)}"
