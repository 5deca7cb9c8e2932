"""Starts an endpoint from its settings, on the cluster that RAY_ADDRESS names or on a local one."""

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

    from focus_ray.data.detectors.by_name import DetectorSpec

Echo = Callable[[str], object]

_KEEP_ALIVE = 30  # s that an idle connection is kept
_MARGIN = 30.0  # s between the longest request and Ray Serve's own time limit
_POLL_SECONDS = 0.5  # s


@dataclass(frozen=True)
class EndpointRecord:
    """Record of a running endpoint, for other processes of this user."""

    address: str  # of the Ray cluster
    pid: int  # of `focus-ray serve`
    settings: ServingSettings

    @staticmethod
    def file(port: int) -> Path:
        """Return the path of the record for a port of this machine."""
        return platformdirs.user_state_path("focus-ray") / "endpoints" / f"{port}.json"


@dataclass(frozen=True)
class EndpointSources:
    """What an endpoint is made of, resolved: model, misfit prior, detector, and the model's version."""

    model: ModelSource
    prior: PriorSource
    detector: "DetectorSpec"
    version: str


def run(
    settings: ServingSettings,
    *,
    without_keys: bool = False,
    echo: Echo = print,
    on_ready: Callable[[str], object] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Serve until `should_stop()` is true.

    Args:
        settings: of the endpoint.
        without_keys: allow an address other than loopback without API keys.
        echo: receives lines for the user.
        on_ready: called with the address when the model is ready.
        should_stop: polled while serving.

    Raises:
        ConfigError: the port is taken, or other machines could reach the endpoint without a key.
        ModelError: the model or prior cannot be used.
        StorageError: the model or prior cannot be fetched.
        TrackingError: the model registry cannot be reached.
        ClusterError: the endpoint did not start.
    """
    check_exposure(settings.http, without_keys)
    _check_port(settings)
    sources = _resolve_sources(settings)
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
            _deploy(settings, sources)
            url = _url(settings)
            with (
                _register_endpoint(settings, ray.get_runtime_context().gcs_address),
                deployment_run(
                    settings, sources.model, echo, version=sources.version, detector=sources.detector.info.label
                ),
            ):
                echo(f"{url}  (page, API; {url}/openapi.json)")
                if on_ready is not None:
                    on_ready(url)
                while not should_stop():
                    time.sleep(_POLL_SECONDS)
            echo("stopping after the requests in progress are answered")
        finally:
            if ray_cluster.cluster_address() is None:
                serve.shutdown()
            else:  # the cluster may have other applications
                serve.delete(NAME)


def application_from_args(arguments: dict[str, Any]) -> "Application":
    """Build the application for `serve run` and `serve deploy`.

    Args:
        arguments: settings, the `args` of the application in the YAML file.

    Raises:
        ConfigError: a setting is not valid.
        ModelError: the model or prior cannot be used.
        StorageError: the model or prior cannot be fetched.
        TrackingError: the model registry cannot be reached.
    """
    try:
        settings = ServingSettings.model_validate(arguments)
    except ValidationError as error:
        raise ConfigError(f"args: {summarize_error(error)}; see focus_ray/serving/settings.py") from None
    from focus_ray.serving.deployments import endpoint

    sources = _resolve_sources(settings)
    return endpoint(settings, sources.model, sources.prior, sources.detector, _cache())


def swap(requested: ServingSettings, echo: Echo = print) -> None:
    """Replace model and prior of the running endpoint at a port of this machine.

    The endpoint stays available. If the replacement fails, the old replicas keep running.

    Args:
        requested: port, model and prior; other settings must be the defaults or those of the endpoint.
        echo: receives lines for the user.

    Raises:
        ConfigError: no endpoint of this user runs at the port, or another setting differs.
        ModelError: the model or prior cannot be used; nothing has changed.
        StorageError: the model or prior cannot be fetched; nothing has changed.
        TrackingError: the model registry cannot be reached; nothing has changed.
        ClusterError: the new replicas did not start.
    """
    port, model = requested.http.port, requested.model
    running = _read_record(port)
    _check_swappable(requested, running.settings)
    # Without LOCAL_RAY_ENVIRONMENT, Ray replaces the loopback address by another one.
    os.environ |= ray_cluster.LOCAL_RAY_ENVIRONMENT | _token_environment(port)
    settings = running.settings.model_copy(update={"model": model, "prior": requested.prior})
    sources = _resolve_sources(settings)
    os.environ["RAY_ADDRESS"] = running.address
    with ray_cluster.connect_ray(ray_cluster.ClusterSettings()):
        _deploy(settings, sources)
    _write_record(EndpointRecord(running.address, running.pid, settings))
    echo(f"{_url(settings)} now serves {model or 'the default model'}")


def _check_swappable(requested: ServingSettings, running: ServingSettings) -> None:
    """Raise ConfigError for settings that `--swap` cannot change."""
    usual = ServingSettings(http=HttpSettings(port=requested.http.port))
    fixed = ServingSettings.model_fields.keys() - {"model", "prior"}
    other = [key for key in fixed if getattr(requested, key) not in (getattr(running, key), getattr(usual, key))]
    if other:
        raise ConfigError(
            f"a swap changes the model and the prior only, not {', '.join(sorted(other))}; restart the endpoint"
        )


def _deploy(settings: ServingSettings, sources: EndpointSources) -> None:
    """Deploy and wait until the new replicas are ready. Raises ClusterError."""
    from ray import serve

    from focus_ray.serving.deployments import NAME, endpoint

    application = endpoint(settings, sources.model, sources.prior, sources.detector, _cache())
    try:
        serve.run(application, name=NAME, route_prefix="/")
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"the endpoint did not start: {reason}; see Ray's logs, or try another model") from None


def _resolve_sources(settings: ServingSettings) -> EndpointSources:
    """Resolve model, prior and detector and load them once, to fail early. Raises ModelError, ConfigError."""
    from focus_ray.serving.model_source import load_reconstructor
    from focus_ray.serving.service import resolve_endpoint_detector

    detector = resolve_endpoint_detector(settings)
    source, prior = resolve(settings.model), resolve_prior(settings.prior)
    version = load_reconstructor(source, prior, _cache()).model.version
    return EndpointSources(source, prior, detector, version)


def _cache() -> Path:
    return platformdirs.user_cache_path("focus-ray") / "models"


def _configure_proxies(settings: ServingSettings) -> None:
    """Set the environment of the proxies; it takes effect if this process starts the cluster."""
    os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = PROXY_CALLBACK
    os.environ[SETTINGS_VARIABLE] = settings.model_dump_json()
    # A dead proxy is detected after three checks; at Ray's default of 10 s its address would fail for half a minute.
    os.environ.setdefault("RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S", "1")


def _cluster_settings(settings: ServingSettings) -> ray_cluster.ClusterSettings:
    """Request logical cores for all replicas twice, for new ones beside old ones."""
    cpus = settings.ingress.cpus * settings.ingress.most + settings.models.cpus * settings.models.most
    return ray_cluster.ClusterSettings(workers=max(1, ceil(2 * cpus)), cpus_per_worker=1, gpu=False)


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
    """Raise ConfigError if the endpoint cannot listen on its address."""
    host, port = settings.http.host, settings.http.port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            return
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port} ({error.strerror or error}); choose another port or host"
        ) from None


def _create_token(port: int) -> None:
    """Create the authentication token of the local cluster, in a file that only this user can read."""
    file = Path(_token_environment(port)["RAY_AUTH_TOKEN_PATH"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_text(secrets.token_hex(32))
    os.environ |= _token_environment(port)


def _token_environment(port: int) -> dict[str, str]:
    """Return Ray's token settings for processes of the endpoint's cluster."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(EndpointRecord.file(port).with_suffix(".token"))}


@contextmanager
def _register_endpoint(settings: ServingSettings, address: str) -> Iterator[None]:
    """Keep the record of the endpoint while the block runs, for other processes of this user."""
    _write_record(EndpointRecord(address, os.getpid(), settings))
    try:
        yield
    finally:
        with suppress(OSError):
            EndpointRecord.file(settings.http.port).unlink()


def _write_record(running: EndpointRecord) -> None:
    file = EndpointRecord.file(running.settings.http.port)
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"address": running.address, "pid": running.pid, "settings": running.settings.model_dump(mode="json")}
    atomic.write_file(file, json.dumps(record))


def _read_record(port: int) -> EndpointRecord:
    """Read the record of a running endpoint; raise ConfigError if this user has none at the port."""
    try:
        record = json.loads(EndpointRecord.file(port).read_bytes())
        running = EndpointRecord(record["address"], record["pid"], ServingSettings.model_validate(record["settings"]))
        os.kill(running.pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"no endpoint that you started runs at port {port} of this machine; give the port of a running one"
        ) from None
    return running
