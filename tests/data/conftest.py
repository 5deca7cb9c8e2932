"""A bucket to read pictures from, data sets that are written once, and a copy of one to damage."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.dataset_writers.sets import written
from tests.system.servers import new_bucket, use_s3


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://bucket, new and empty."""
    use_s3(monkeypatch, s3_url)
    return f"s3://{new_bucket(s3_url)}"


@pytest.fixture(scope="session")
def ar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("ar", tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="session")
def celebahq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("celebahq", tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="session")
def now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("now", tmp_path_factory.mktemp("sets"))


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a set that may be damaged."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / folder.name))
