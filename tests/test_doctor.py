"""What the installation has, and what is said of that which is not well: the model, limits, storage, MLflow, Ray."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from focus_ray import cli, doctor, model
from focus_ray.data.detectors import by_name
from focus_ray.data.detectors.weight_files import MESH_HASHES
from focus_ray.model_location import DEFAULT_MODEL, SHIPPED_MODELS

SETTINGS = (
    "MLFLOW_TRACKING_URI",
    "RAY_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_TMPDIR",
    "http_proxy",
    "HTTP_PROXY",
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    """Nothing is named, nobody's home holds a token, and runs go to an empty folder."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """An HTTP server: `url`, the `status` and `body` that it answers with, and the `asked` paths."""
    told = SimpleNamespace(url="", status=200, body=b"3.17.2", asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            told.asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(told.status)
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, format, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        told.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield told
        http.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def troubles(**arguments) -> dict[str, list[dict]]:
    """What is not well, by what it is about."""
    found: dict[str, list[dict]] = {}
    for entry in doctor.examine(**arguments)["troubles"]:
        found.setdefault(entry["about"], []).append(entry)
    return found


def only(about: str, **arguments) -> dict:
    (entry,) = troubles(**arguments)[about]
    return entry


def test_the_default_model_is_verified():
    assert doctor.examine()["model"] == {"verified": True, "version": model.load().version}


def test_a_damaged_default_model_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(SHIPPED_MODELS, DEFAULT_MODEL, tmp_path)
    assert doctor.examine()["model"]["verified"] is False
    entry = only("model")
    assert (entry["level"], entry["exit_code"]) == ("error", 4)
    assert "has no manifest.json" in entry["message"]


def test_a_package_without_a_model_is_only_warned_of(tmp_path, monkeypatch):
    monkeypatch.setitem(SHIPPED_MODELS, DEFAULT_MODEL, tmp_path / "pretrained")
    entry = only("model")
    assert (entry["level"], entry["exit_code"]) == ("warning", 0)
    assert "set start_from=" in entry["message"]


def test_a_package_without_the_detectors_weights_is_only_warned_of(monkeypatch):
    monkeypatch.setattr(doctor, "has_mesh_files", lambda: False)
    assert doctor.examine()["detector"]["name"] == "haar"
    entry = only("detector")
    assert (entry["level"], entry["exit_code"]) == ("warning", 0)
    assert "infra/fetch_detectors.py" in entry["message"]


def test_weights_of_the_detector_that_were_altered_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(by_name, "MESH_FOLDER", tmp_path)
    monkeypatch.setattr(doctor, "has_mesh_files", lambda: True)
    for name in MESH_HASHES:
        (tmp_path / name).write_bytes(b"altered")
    assert doctor.examine()["detector"]["verified"] is False
    entry = only("detector")
    assert (entry["level"], entry["exit_code"]) == ("error", 2)
    assert "the sha256 of face_detection_short_range.tflite is" in entry["message"]


def test_what_is_there_is_named():
    findings = doctor.examine()
    assert findings["packages"]["ray"].startswith("2.")
    assert findings["cpu"]["usable"] >= 1
    assert isinstance(findings["cpu"]["bfloat16"], bool)
    assert findings["runs"]["writable"] is True
    assert findings["storage"] is None
    assert findings["mlflow"]["server"].endswith("/runs/mlflow.db")
    assert findings["ray"] == {"address": None, "authentication": None, "token": False}
    assert findings["troubles"] == []


def test_a_version_outside_the_range_and_a_missing_package(monkeypatch):
    versions = {**{name: "1" for name in doctor.PACKAGES}, "ray": "2.9.0", "mlflow": None}
    monkeypatch.setattr(doctor, "_version", versions.get)
    monkeypatch.setattr(doctor, "PACKAGES", ("ray", "mlflow"))
    outside, missing = troubles()["packages"]
    assert (outside["level"], missing["level"], missing["exit_code"]) == ("warning", "error", 1)
    assert outside["message"].startswith("ray is 2.9.0, focus-ray requires ")
    assert missing["message"].startswith("mlflow is not installed; ")


def test_limits_that_a_node_of_ray_feels(monkeypatch):
    monkeypatch.setattr(doctor, "_shared_memory_gb", lambda: 0.1)
    monkeypatch.setattr(doctor, "_max_open_files", lambda: 256)
    shared, files = troubles()["limits"]
    assert "--shm-size" in shared["message"]
    assert "ulimit -n" in files["message"]
    assert shared["level"] == files["level"] == "warning"


def test_a_temporary_folder_that_is_too_long_for_sockets(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/" + "t" * 60)
    entry = only("ray")
    assert (entry["level"], entry["exit_code"]) == ("error", 1)
    assert "set RAY_TMPDIR or TMPDIR to a shorter folder" in entry["message"]
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert "ray" not in troubles()


def test_folders_without_room(monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE_GB", 1e9)
    assert {"cache", "temporary"} <= set(troubles())


def test_a_place_for_runs_that_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("")
    entry = only("runs")
    assert (entry["level"], entry["exit_code"]) == ("error", 5)
    assert "another folder for runs" in entry["message"]


def test_storage_is_tried(tmp_path):
    findings = doctor.examine(str(tmp_path / "store"))
    assert findings["storage"] == {"place": str(tmp_path / "store"), "usable": True}
    assert findings["troubles"] == []
    assert list(tmp_path.rglob("probe*")) == []


@pytest.mark.parametrize(
    ("uri", "exit_code", "message"),
    [
        ("gs://bucket", 2, "is not a store"),
        ("s3://someone:hunter2hunter2@bucket/prefix", 2, "credentials do not belong in a URI"),
    ],
)
def test_storage_that_cannot_be_used(uri, exit_code, message):
    entry = only("storage", storage=uri)
    assert (entry["level"], entry["exit_code"]) == ("error", exit_code)
    assert message in entry["message"]
    assert "hunter2" not in json.dumps(doctor.examine(uri))


def test_storage_where_nothing_answers(monkeypatch, closed_port):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    entry = only("storage", storage="s3://bucket/prefix")
    assert entry["exit_code"] == 5
    assert "start the server, or correct AWS_ENDPOINT_URL_S3" in entry["message"]


def test_an_mlflow_server_that_answers(monkeypatch, server):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    assert doctor.examine()["mlflow"] == {"server": server.url, "version": "3.17.2"}
    assert server.asked == [("/version", None)]


def test_a_password_in_an_address_is_neither_shown_nor_sent(monkeypatch, server):
    server.status = 401
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url.replace("//", "//someone:hunter2hunter2@"))
    findings = doctor.examine()
    assert findings["mlflow"] == {"server": server.url, "version": "authentication required"}
    assert findings["troubles"] == []
    assert "hunter2" not in json.dumps(findings)


def test_an_mlflow_server_that_is_not_there(monkeypatch, closed_port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:hunter2hunter2@127.0.0.1:{closed_port}")
    entry = only("mlflow")
    assert (entry["level"], entry["exit_code"]) == ("error", 5)
    assert entry["message"].startswith(f"http://127.0.0.1:{closed_port} does not answer (")
    assert "hunter2" not in entry["message"]


@pytest.mark.parametrize(("status", "body"), [(500, b""), (404, b"no such page")])
def test_a_server_that_is_not_mlflow(monkeypatch, server, status, body):
    server.status, server.body = status, body
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    assert only("mlflow")["exit_code"] == 5


def test_a_cluster_is_reached_and_asked_for_its_version(monkeypatch, server, tmp_path):
    (tmp_path / "token").write_text("hunter2hunter2")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    server.body = b'{"ray_version": "2.60.0"}'
    for address, version in ((server.url, '{"ray_version": "2.60.0"}'), (server.url.removeprefix("http://"), None)):
        monkeypatch.setenv("RAY_ADDRESS", address)
        findings = doctor.examine()
        assert findings["ray"] == {"address": address, "authentication": "token", "token": True, "version": version}
        assert findings["troubles"] == []
    assert server.asked == [("/api/version", None)]


@pytest.mark.parametrize(
    ("mode", "level", "exit_code", "hint"),
    [("disabled", "warning", 0, "RAY_AUTH_MODE=token"), ("token", "error", 1, "RAY_AUTH_TOKEN_PATH")],
    ids=["a cluster that everybody may use is warned of", "a token that is not there"],
)
def test_how_a_cluster_knows_its_users(monkeypatch, server, mode, level, exit_code, hint):
    monkeypatch.setenv("RAY_ADDRESS", server.url)
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    entry = only("ray")
    assert (entry["level"], entry["exit_code"]) == (level, exit_code)
    assert hint in entry["message"]


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "http://127.0.0.1:{port}", "x:y"])
def test_a_cluster_that_is_not_there(monkeypatch, closed_port, address):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("RAY_ADDRESS", address.format(port=closed_port))
    entry = only("ray")
    assert (entry["level"], entry["exit_code"]) == ("error", 1)
    assert entry["message"].endswith("; start the cluster, or correct or unset RAY_ADDRESS")


def test_the_command_ends_with_the_code_of_the_first_error(monkeypatch, capsys, closed_port, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    assert cli.main(["doctor", "--storage", str(tmp_path / "store")]) == 5
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-2].startswith("error: mlflow: ")
    assert out.splitlines()[-1] == "problems found: 1"


def test_the_command_ends_well_with_warnings(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_max_open_files", lambda: 256)
    assert cli.main(["doctor", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["troubles"]
    assert entry["about"] == "limits"
