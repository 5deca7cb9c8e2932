"""A database that appears whole, once, whoever asks for it and whoever dies while it is made."""

import os
import threading
import time
from pathlib import Path

import pytest

from focus_ray.errors import StorageError
from focus_ray.tracking.database_file import create_once, sqlite_path, sqlite_uri


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////runs/mlflow.db", Path("/runs/mlflow.db")),
        ("sqlite:////runs/mlflow.db?timeout=60", Path("/runs/mlflow.db")),
        ("sqlite:///mlflow.db", Path.cwd() / "mlflow.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://host/db", None),
        ("http://host:5000", None),
    ],
)
def test_the_file_of_an_address(uri, path):
    assert sqlite_path(uri) == path


@pytest.mark.parametrize("name", ["runs", "a%20b c", "a?b", "100%", "é#+&;"])
def test_the_address_of_a_file_and_back(name):
    path = Path("/jobs") / name / "mlflow.db"
    assert sqlite_path(sqlite_uri(path)) == path
    assert sqlite_path(sqlite_uri(path) + "?timeout=60") == path


def test_many_ask_and_one_makes_it(tmp_path):
    path = tmp_path / "runs" / "mlflow.db"
    made = []

    def fill(uri):
        made.append(uri)
        time.sleep(0.1)
        Path(uri.removeprefix("sqlite:///")).write_text("tables")

    threads = [threading.Thread(target=create_once, args=(path, fill)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1
    assert path.read_text() == "tables"
    assert sorted(os.listdir(path.parent)) == [".mlflow.db.lock", "mlflow.db"]


def test_one_that_is_there_stays(tmp_path):
    (tmp_path / "mlflow.db").write_text("old")
    create_once(tmp_path / "mlflow.db", lambda uri: pytest.fail("made again"))
    assert (tmp_path / "mlflow.db").read_text() == "old"


def test_what_was_cut_off_leaves_nothing_behind(tmp_path):
    def fill(uri):
        Path(uri.removeprefix("sqlite:///")).write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_once(tmp_path / "mlflow.db", fill)
    assert os.listdir(tmp_path) == [".mlflow.db.lock"]
    (tmp_path / ".mlflow.db.partial-999999999").mkdir()  # of a process that was killed
    create_once(tmp_path / "mlflow.db", lambda uri: Path(uri.removeprefix("sqlite:///")).write_text("whole"))
    assert sorted(os.listdir(tmp_path)) == [".mlflow.db.lock", "mlflow.db"]


def test_a_disk_that_refuses(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        create_once(tmp_path / "file" / "mlflow.db", lambda uri: None)
