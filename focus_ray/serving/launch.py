"""Starts an endpoint from its settings, on the named cluster or on one of this machine."""

import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from pydantic import ValidationError

from focus_ray.errors import ClusterError, ConfigError
from focus_ray.model import summarize_error
from focus_ray.runtime import ray_cluster
from focus_ray.serving.admission import PROXY_CALLBACK, SETTINGS_VARIABLE
from focus_ray.serving.keys import check_exposure
from focus_ray.serving.mlflow_run import deployment_run
from focus_ray.serving.model_source import ModelSource, PriorSource, resolve, resolve_prior
from focus_ray.serving.settings import HttpSettings, ServingSettings
from focus_ray.storage import atomic

if TYPE_CHECKING:
    from ray.serve import Application

Echo = Callable[[str], object]

_KEEP_ALIVE = 30  # s that an idle connection is kept
_MARGIN = 30.0  # s beside what a request may take, before Serve itself gives up on it
_POLL_SECONDS = 0.5  # s


@dataclass(frozen=True)
class EndpointRecord:
    """Record of a running endpoint, for other processes of this user."""

    address: str  # of the cluster
    pid: int
    settings: ServingSettings

    @staticmethod
    def file(port: int) -> Path:
        """Where the endpoint of a port on this machine is noted."""
        return platformdirs.user_state_path("focus-ray") / "endpoints" / f"{port}.json"


def run(
    settings: ServingSettings,
    *,
    without_keys: bool = False,
    echo: Echo = print,
    on_ready: Callable[[str], object] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Serve until `should_stop()` is true. `on_ready` is called with the address once the model answers.

    Raises ConfigError for a port that is taken and for an endpoint that anybody could reach without a key, ModelError
    for a model that cannot be used, ClusterError where the cluster gives up.
    """
    check_exposure(settings.http, without_keys)
    _check_port(settings)
    source, prior, version = _resolve_sources(settings)
    _configure_proxies(settings)
    if ray_cluster.cluster_address() is None:
        _create_token(settings.http.port)
    with ray_cluster.connect_ray(_cluster_settings(settings)):
        import ray
        from ray import serve

        from focus_ray.serving.deployments import NAME

        logging.getLogger("ray.serve").setLevel(logging.WARNING)

        serve.start(proxy_location="EveryNode", http_options=_http_options(settings))
        try:
            _deploy(settings, source, prior)
            url = _url(settings)
            with (
                _register_endpoint(settings, ray.get_runtime_context().gcs_address),
                deployment_run(settings, source, echo, version=version),
            ):
                echo(f"{url}  (page, API; {url}/openapi.json)")
                if on_ready is not None:
                    on_ready(url)
                while not should_stop():
                    time.sleep(_POLL_SECONDS)
            echo("ending: requests that have begun are answered first")
        finally:
            if ray_cluster.cluster_address() is None:
                serve.shutdown()
            else:  # others may serve there too
                serve.delete(NAME)


def application_from_args(arguments: dict[str, Any]) -> "Application":
    """What `serve run` and `serve deploy` take, from the settings under `args`. Raises ConfigError, ModelError."""
    try:
        settings = ServingSettings.model_validate(arguments)
    except ValidationError as error:
        raise ConfigError(f"args: {summarize_error(error)}; see focus_ray/serving/settings.py") from None
    from focus_ray.serving.deployments import endpoint

    source, prior, _ = _resolve_sources(settings)
    return endpoint(settings, source, prior, _cache())


def swap(requested: ServingSettings, echo: Echo = print) -> None:
    """Give the endpoint of a port on this machine another model and prior. It goes on answering; if this fails, as
    before.

    Raises ConfigError where no endpoint of this user listens there and where anything else is asked for than it has,
    ModelError for a model that cannot be used (nothing is touched then), ClusterError where its replicas do not start.
    """
    port, model = requested.http.port, requested.model
    running = _read_record(port)
    _check_swappable(requested, running.settings)
    os.environ |= ray_cluster.LOCAL_RAY_ENVIRONMENT | _token_environment(
        port
    )  # without LOCAL, Ray takes loopback for another address
    settings = running.settings.model_copy(update={"model": model, "prior": requested.prior})
    source, correcting, _ = _resolve_sources(settings)
    os.environ["RAY_ADDRESS"] = running.address
    with ray_cluster.connect_ray(ray_cluster.ClusterSettings()):
        _deploy(settings, source, correcting)
    _write_record(EndpointRecord(running.address, running.pid, settings))
    echo(f"{_url(settings)} answers with {model or 'the shipped model'}")


def _check_swappable(requested: ServingSettings, running: ServingSettings) -> None:
    """Raises ConfigError for settings that `--swap` cannot change."""
    usual = ServingSettings(http=HttpSettings(port=requested.http.port))
    fixed = ServingSettings.model_fields.keys() - {"model", "prior"}
    other = [key for key in fixed if getattr(requested, key) not in (getattr(running, key), getattr(usual, key))]
    if other:
        raise ConfigError(
            f"a swap exchanges the model and the prior, not {', '.join(sorted(other))}; end the endpoint and start anew"
        )


def _deploy(settings: ServingSettings, source: ModelSource, prior: PriorSource) -> None:
    """Returns when the new replicas answer. Raises ClusterError."""
    from ray import serve

    from focus_ray.serving.deployments import NAME, endpoint

    try:
        serve.run(endpoint(settings, source, prior, _cache()), name=NAME, route_prefix="/")
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"the endpoint did not start: {reason}; see Ray's logs, or try another model") from None


def _resolve_sources(settings: ServingSettings) -> tuple[ModelSource, PriorSource, str]:
    """Resolve model and prior to fixed versions, and read them once: a bad one fails here. Raises ModelError."""
    from focus_ray.serving.model_source import load_reconstructor

    source, prior = resolve(settings.model), resolve_prior(settings.prior)
    return source, prior, load_reconstructor(source, prior, _cache()).model.version


def _cache() -> Path:
    return platformdirs.user_cache_path("focus-ray") / "models"


def _configure_proxies(settings: ServingSettings) -> None:
    """The cluster's proxies are started with this environment, where the cluster is ours."""
    os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = PROXY_CALLBACK
    os.environ[SETTINGS_VARIABLE] = settings.model_dump_json()
    # One that died is missed after three checks; 10 s between two of them leave its address dead for half a minute.
    os.environ.setdefault("RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S", "1")


def _cluster_settings(settings: ServingSettings) -> ray_cluster.ClusterSettings:
    """Logical cores for all replicas, and for new ones beside old ones."""
    asked = settings.ingress.cpus * settings.ingress.most + settings.models.cpus * settings.models.most
    return ray_cluster.ClusterSettings(workers=max(1, ceil(2 * asked)), cpus_per_worker=1, gpu=False)


def _http_options(settings: ServingSettings) -> dict[str, object]:
    longest = settings.batching.seconds + settings.admission.decode_seconds + settings.admission.max_body_seconds
    return {
        "host": settings.http.host,
        "port": settings.http.port,
        "request_timeout_s": longest + _MARGIN,
        "keep_alive_timeout_s": _KEEP_ALIVE,
    }


def _url(settings: ServingSettings) -> str:
    host = settings.http.host
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{settings.http.port}"


def _check_port(settings: ServingSettings) -> None:
    """Raises ConfigError for an address that cannot be listened at."""
    host, port = settings.http.host, settings.http.port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            return
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {host} port {port} ({error.strerror or error}); choose another port or host"
        ) from None


def _create_token(port: int) -> None:
    """The cluster of this machine asks for a token, which only this user can read."""
    file = Path(_token_environment(port)["RAY_AUTH_TOKEN_PATH"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_text(secrets.token_hex(32))
    os.environ |= _token_environment(port)


def _token_environment(port: int) -> dict[str, str]:
    """What Ray is told in a process that takes part in the endpoint's cluster."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(EndpointRecord.file(port).with_suffix(".token"))}


@contextmanager
def _register_endpoint(settings: ServingSettings, address: str) -> Iterator[None]:
    """Other processes of this user find the endpoint while it runs."""
    _write_record(EndpointRecord(address, os.getpid(), settings))
    try:
        yield
    finally:
        with suppress(OSError):
            EndpointRecord.file(settings.http.port).unlink()


def _write_record(running: EndpointRecord) -> None:
    file = EndpointRecord.file(running.settings.http.port)
    file.parent.mkdir(parents=True, exist_ok=True)
    note = {"address": running.address, "pid": running.pid, "settings": running.settings.model_dump(mode="json")}
    atomic.write_file(file, json.dumps(note))


def _read_record(port: int) -> EndpointRecord:
    """Raises ConfigError where no endpoint of this user runs at that port."""
    try:
        note = json.loads(EndpointRecord.file(port).read_bytes())
        running = EndpointRecord(note["address"], note["pid"], ServingSettings.model_validate(note["settings"]))
        os.kill(running.pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"no endpoint that you started listens at port {port} of this machine; give its port"
        ) from None
    return running
