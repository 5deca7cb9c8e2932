"""From settings to an endpoint: what is refused before anything starts, and how an endpoint is found again."""

import os
import socket
import stat
from pathlib import Path

import pytest

from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.serving import launch
from focus_ray.serving.launch import EndpointRecord
from focus_ray.serving.settings import HttpSettings, ScalingSettings, ServingSettings


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def at(port: int, **more) -> ServingSettings:
    return ServingSettings(http=HttpSettings(port=port), **more)


def test_a_port_that_is_taken_is_said_before_anything_starts():
    listening = socket.create_server(("127.0.0.1", 0))
    with listening as taken, pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
        launch.run(at(taken.getsockname()[1]))


def test_an_open_address_without_keys_is_refused():
    with pytest.raises(ConfigError, match="give a key file"):
        launch.run(ServingSettings(http=HttpSettings(host="0.0.0.0")))


def test_a_model_that_is_none_is_refused_before_anything_starts(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(CheckpointError, match="no model"):
        launch.run(at(port, model=str(tmp_path / "none")))


def test_an_endpoint_is_noted_while_it_runs(state: Path):
    settings = at(8123, model="m")
    with launch._register_endpoint(settings, "127.0.0.1:5"):
        found = launch._read_record(8123)
        assert (found.address, found.pid, found.settings) == ("127.0.0.1:5", os.getpid(), settings)
    with pytest.raises(ConfigError, match="no endpoint that you started runs at port 8123"):
        launch._read_record(8123)


@pytest.mark.parametrize("note", ["", "{}", '{"address": "a", "pid": 999999999, "settings": {}}', "[]"])
def test_a_note_of_an_endpoint_that_is_gone(note: str):
    file = EndpointRecord.file(8123)
    file.parent.mkdir(parents=True)
    file.write_text(note)
    with pytest.raises(ConfigError, match="no endpoint"):
        launch.swap(at(8123))


def test_what_a_swap_would_not_change_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "_resolve_sources", lambda settings: pytest.fail("nothing is touched"))
    keys = HttpSettings(port=8123, keys=("bob:" + "0" * 64,), keys_required=True)
    with launch._register_endpoint(at(8123, refine=False), "127.0.0.1:5"):
        for other, named in ((ServingSettings(http=keys), "http"), (at(8123, detector="thorough"), "detector")):
            with pytest.raises(ConfigError, match=f"not {named}; restart the endpoint"):
                launch.swap(other)


def test_a_swap_takes_the_model_and_prior_that_are_configured(monkeypatch: pytest.MonkeyPatch):
    seen: list[ServingSettings] = []

    def sources(settings: ServingSettings) -> None:
        seen.append(settings)
        raise ConfigError("far enough")

    monkeypatch.setattr(launch, "_resolve_sources", sources)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", *launch.ray_cluster.LOCAL_RAY_ENVIRONMENT):
        monkeypatch.setenv(name, "")
    with (
        launch._register_endpoint(at(8123, refine=False), "127.0.0.1:5"),
        pytest.raises(ConfigError, match="far enough"),
    ):
        launch.swap(at(8123, model="m", prior="p"))
    assert seen == [at(8123, refine=False, model="m", prior="p")]


def test_the_clusters_token_is_for_this_user_alone(monkeypatch: pytest.MonkeyPatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
    launch._create_token(8123)
    file = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_text()
    launch._create_token(8123)
    assert len(first) == 64
    assert file.read_text() != first


def test_there_is_room_for_new_replicas_beside_old_ones():
    settings = ServingSettings(models=ScalingSettings(most=3, cpus=1.0), ingress=ScalingSettings(most=2, cpus=0.5))
    assert launch._cluster_settings(settings).workers == 8


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")],
)
def test_the_address_that_is_shown(host: str, url: str):
    assert launch._url(ServingSettings(http=HttpSettings(host=host))) == url


def test_wrong_arguments_of_serve_deploy_are_named():
    with pytest.raises(ConfigError, match=r"args: .*batching"):
        launch.application_from_args({"batching": {"size": 3}})


def test_a_proxy_waits_for_the_longest_body():
    settings = ServingSettings()
    assert launch._http_options(settings)["request_timeout_s"] > settings.admission.max_body_seconds > 300
