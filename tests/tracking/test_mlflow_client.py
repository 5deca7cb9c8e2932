"""What is asked of a server, against a database of MLflow's own: runs found again, limits, refusals in plain words."""

import warnings

import pytest

from focus_ray.errors import TrackingError
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.tracking import mlflow_client
from focus_ray.tracking.mlflow_client import MetricPoint, MlflowServer

FOCUS = "f" * 32


@pytest.fixture
def server(database, tmp_path):
    return MlflowServer(f"sqlite:///{database.path}", tmp_path / "artifacts")


def test_a_run_is_found_by_its_tag_or_by_its_id(server):
    assert server.find_run("faces", FOCUS) is None
    run = server.create_run("faces", FOCUS, "one", 1000)
    server.create_run("faces", "0" * 32, "other", 1000)
    assert server.find_run("faces", FOCUS).id == run.id
    assert server.find_run("another experiment", FOCUS, run.id).id == run.id
    assert server.find_run("another experiment", FOCUS, "1" * 32) is None
    assert server.find_run("another experiment", "2" * 32, run.id) is None


def test_a_run_that_was_made_twice_is_one_run(server, database):
    runs = [server.create_run("faces", FOCUS, "one", 1000) for _ in range(3)]
    server.log(runs[1].id, [MetricPoint("a", 1.0, 1, 1)])
    assert server.find_run("faces", FOCUS).id == runs[1].id
    assert [row[0] for row in database.runs()] == [runs[1].id]


def test_of_several_runs_in_use_none_is_deleted(server, database):
    runs = [server.create_run("faces", FOCUS, "one", start) for start in (2000, 1000)]
    for run in runs:
        server.set_parameters(run.id, {"a": "1"})
    assert server.find_run("faces", FOCUS).id == runs[1].id
    assert len(database.runs()) == 2


def test_a_deleted_run_is_not_found(server, database):
    run = server.create_run("faces", FOCUS, "one", 1000)
    with server.session() as client:
        client.delete_run(run.id)
    assert server.find_run("faces", FOCUS, run.id) is None


def test_many_figures_and_parameters(server, database):
    run = server.create_run("faces", FOCUS, "one", 1000)
    server.log(run.id, [MetricPoint(f"m{i % 7}", float(i), i, i) for i in range(2500)], {"tag": "t" * 9000})
    server.set_parameters(run.id, {f"p{i}": "v" * 5999 for i in range(230)})
    assert database.rows("select count(*) from metrics") == [(2500,)]
    assert database.rows("select count(*) from params") == [(230,)]
    assert len(database.tags(run.id)["tag"]) == 5000


def test_the_same_figures_again_stand_there_once(server, database):
    run = server.create_run("faces", FOCUS, "one", 1000)
    figures = [MetricPoint("m", float(i), i, i) for i in range(50)]
    server.log(run.id, figures[:30])
    server.log(run.id, figures)
    assert database.rows("select count(*) from metrics") == [(50,)]


def test_an_experiment_that_was_deleted(server):
    server.create_run("faces", FOCUS, "one", 1000)
    with server.session() as client:
        client.delete_experiment(client.get_experiment_by_name("faces").experiment_id)
    with pytest.raises(TrackingError, match="the experiment 'faces' was deleted in MLflow; restore it there"):
        server.create_run("faces", "0" * 32, "two", 1000)


def test_a_refusal_names_the_server_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server = MlflowServer("http://me:secret@127.0.0.1:9/?key=1")
    assert str(server) == "http://127.0.0.1:9/"
    with pytest.raises(TrackingError, match=r"^MLflow at http://127\.0\.0\.1:9/: connection refused$"):
        server.find_run("faces", FOCUS)
    with pytest.raises(TrackingError, match="MLflow at nonsense://x: "):
        MlflowServer("nonsense://x").find_run("faces", FOCUS)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("HTTPConnectionPool: Read timed out. (read timeout=20)", "timed out"),
        (
            "Max retries exceeded (Caused by ResponseError('too many 500 error responses'))",
            "the server returns errors (5xx)",
        ),
        ("('Connection aborted.', RemoteDisconnected())", "the server closed the connection"),
        ("(sqlite3.OperationalError) database is locked", "the database is busy"),
        ("INVALID: a\nb", "INVALID: a b"),
        ("", "ValueError"),
    ],
)
def test_reasons_in_plain_words(said, meant):
    assert mlflow_client._reason(ValueError(said)) == meant


def test_a_model_is_logged_without_a_warning_or_a_pickle(server, database, tmp_path, capfd):
    """Also where a first attempt was cut off: what it left is removed, and the version is one."""
    run = server.create_run("faces", FOCUS, "one", 1000)
    with server.session() as client:
        client.create_logged_model(run.experiment, "focus", run.id, tags={"model_version": "v"})
    code = tmp_path / "mlflow_model.py"
    code.write_bytes((SHIPPED_MODELS["embedded"].parent / "tracking" / "mlflow_model.py").read_bytes())
    requirements = mlflow_client.model_requirements()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numbers = [
            server.register(run, {"model": SHIPPED_MODELS["embedded"]}, "v", code, requirements, "# Card") for _ in "12"
        ]
    assert numbers == ["1", "1"]
    assert database.rows("select description from model_versions") == [("# Card",)]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    folders = list((tmp_path / "artifacts" / "models").glob("*/artifacts"))
    assert len(folders) == 1
    files = [path for path in folders[0].rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {"", ".yaml", ".txt", ".json", ".py", ".safetensors"}
    assert [path.name for path in files if path.suffix == ""] == ["MLmodel"]
    assert [path.name for path in files if is_pickle(path.read_bytes())] == []
    described = (folders[0] / "MLmodel").read_text()
    assert "uri: pretrained\n" in described
    assert "model_code_path: mlflow_model.py\n" in described
    assert (folders[0] / "requirements.txt").read_text().splitlines()[1:] == requirements
    assert all("+" not in line and "==" in line for line in requirements)
    status = database.rows("select status, lifecycle_stage from logged_models order by lifecycle_stage")
    assert [row[1] for row in status] == ["active", "deleted"]


@pytest.fixture
def registered(server, tmp_path):
    """Two versions of a model that is one small file, the first in production."""
    code = tmp_path / "mlflow_model.py"
    code.write_bytes((SHIPPED_MODELS["embedded"].parent / "tracking" / "mlflow_model.py").read_bytes())
    run = server.create_run("faces", FOCUS, "one", 1000)
    for version in ("one", "two"):
        (tmp_path / version / "model").mkdir(parents=True)
        (tmp_path / version / "model" / "model.json").write_text(version)
        server.register(run, {"model": tmp_path / version / "model"}, version, code, ["torch==2.13.0"])
    server.promote("1", "production")
    return server


def test_an_alias_names_a_version_and_a_version_its_files(registered, tmp_path):
    assert registered.version_by_alias("focus", "production") == "1"
    registered.promote("2", "production")
    assert registered.version_by_alias("focus", "production") == "2"
    for number, version in (("1", "one"), ("2", "two")):
        location = registered.location("focus", number)
        assert registered.list_folders(location, "artifacts") == ["artifacts/model"]
        assert registered.list_folders(location, "nothing") == []
        into = tmp_path / f"into-{number}"
        into.mkdir()
        registered.download(location, ["artifacts/model/model.json", "MLmodel"], into)
        assert (into / "model.json").read_text() == version
        assert sorted(path.name for path in into.iterdir()) == ["MLmodel", "model.json"]


def test_what_is_not_in_the_registry(registered, tmp_path):
    with pytest.raises(TrackingError, match=r"alias staging not found"):
        registered.version_by_alias("focus", "staging")
    with pytest.raises(TrackingError, match=r"Model Version \(name=focus, version=3\) not found"):
        registered.location("focus", "3")
    with pytest.raises(TrackingError, match="MLflow at sqlite:"):
        registered.download(registered.location("focus", "1"), ["artifacts/model/nothing"], tmp_path)


def is_pickle(content: bytes) -> bool:
    """Protocol 2 and later begin with PROTO; protocols 0 and 1 cannot be told from text but by loading, and end so."""
    zipped = content[:4] == b"PK\x03\x04"
    return (
        zipped or (content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05") or content.rstrip().endswith(b"\n.")
    )
