"""Client of an MLflow server or database; the only module of tracking that imports mlflow."""

import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from focus_ray import __version__
from focus_ray.errors import StorageError, TrackingError
from focus_ray.tracking import database_file
from focus_ray.tracking.mlflow_keys import MAX_TAG, truncate
from focus_ray.tracking.redaction import redact_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import Model
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
else:  # mlflow takes seconds to import: annotations must not need it
    MlflowClient = LoggedModel = Run = Model = ArtifactRepository = Any

RUN_TAG = "focus.run_id"
MODEL_NAME = "focus"  # in the registry
VERSION_TAG = "model_version"

# Limits of one log_batch: 1000 entities, 100 of them parameters, 1 MB.
_METRICS_PER_CALL = 900
_PARAMETERS_PER_CALL = 100
_CHARACTERS_PER_CALL = 100_000

# What this process asks of mlflow unless the user did: short waits (the caller tries again by itself), no bars and no
# messages about its own working, no messages to its makers, no files of the working directory inside a model.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# What mlflow's own modules warn of while they are imported: nothing that concerns the user of a run.
_WARNINGS = ("The ``noload`` loader strategy", r".*Any type hint is inferred as AnyType")
_SQLITE_TIMEOUT = 60  # s, while another process writes to the same database

# What libraries say of a server that is not there, and what it means. It words a message and decides nothing: MLflow
# has one type for all of it, with the text of what it caught.
_ERROR_MEANINGS = {
    "Connection refused": "nothing answers there",
    "Name or service not known": "its name is not known here",
    "Failed to resolve": "its name is not known here",
    "timed out": "no answer in time",
    "Connection aborted": "it closed the connection",
    "Connection reset": "it closed the connection",
    "database is locked": "the database is busy",
}

_import_lock = threading.Lock()


class MetricPoint(NamedTuple):
    """One figure at one step."""

    key: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True)
class RemoteRun:
    """A run on the server."""

    id: str
    experiment: str  # its number
    status: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]  # latest values


class MlflowServer:
    """A tracking server with its model registry. Every refusal is a TrackingError of one line without secrets."""

    def __init__(self, uri: str, artifacts: Path | None = None) -> None:
        """`artifacts`: where experiments that are created here keep their files; the server decides by default.

        Nothing is asked yet.
        """
        self._uri = uri
        self._artifacts = artifacts
        self._client: MlflowClient | None = None

    def __str__(self) -> str:
        return redact_secrets(self._uri.partition("?")[0])

    @contextmanager
    def session(self) -> Iterator[MlflowClient]:
        """The client, connected on first use (seconds). MLflow's errors inside the block become TrackingError."""
        try:
            if self._client is None:
                self._client = self._connect()
            yield self._client
        except (TrackingError, StorageError):
            raise
        except Exception as error:
            raise TrackingError(f"MLflow at {self}: {_reason(error)}") from None

    def _connect(self) -> MlflowClient:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        with _import_lock:
            for message in _WARNINGS:
                warnings.filterwarnings("ignore", message)
            import mlflow.pyfunc  # all of it now, where these warnings are expected
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
            from mlflow import MlflowClient
        retries = logging.getLogger("urllib3.connectionpool")
        if retries.level == logging.NOTSET:  # it would warn at every retry of an outage
            retries.setLevel(logging.ERROR)
        uri = self._uri
        if (database := database_file.sqlite_path(uri)) is not None:
            place = self._artifacts or database.with_name("mlartifacts")
            database_file.create_once(database, lambda new: _create_tables(new, place))
            uri += "" if "?" in uri else f"?timeout={_SQLITE_TIMEOUT}"
        return MlflowClient(tracking_uri=uri)

    def find_run(self, experiment: str, focus_run_id: str, known_run_id: str | None = None) -> RemoteRun | None:
        """The run of an experiment that has this tag, or else the run `known_run_id`, wherever it is now.

        A request to create that ran into its time limit may have succeeded later, beside its repetition: of several
        runs the first that holds something is the run, and empty ones beside it are deleted.
        """
        with self.session() as client:
            found = client.get_experiment_by_name(experiment)
            tagged = f"tags.`{RUN_TAG}` = '{focus_run_id}'"
            runs = [] if found is None else client.search_runs([found.experiment_id], tagged)
            runs = sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))
            used = [run for run in runs if run.data.metrics or run.data.params]
            chosen = next(iter(used or runs), None)
            for run in runs:
                if run is not chosen and run not in used:
                    client.delete_run(run.info.run_id)
            if chosen is not None:
                return _to_remote_run(chosen)
            return None if known_run_id is None else self._known_run(client, known_run_id, focus_run_id)

    def _known_run(self, client: MlflowClient, known_run_id: str, focus_run_id: str) -> RemoteRun | None:
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(known_run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        alive = run.info.lifecycle_stage == "active"
        return _to_remote_run(run) if alive and run.data.tags.get(RUN_TAG) == focus_run_id else None

    def create_run(self, experiment: str, focus_run_id: str, name: str, started_ms: int) -> RemoteRun:
        """A new run with the tag that finds it again; its experiment is created where there is none."""
        with self.session() as client:
            number = self._ensure_experiment(client, experiment)
            run = client.create_run(number, start_time=started_ms, tags={RUN_TAG: focus_run_id}, run_name=name)
            return _to_remote_run(run)

    def _ensure_experiment(self, client: MlflowClient, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(name)
        if found is None:
            place = None if self._artifacts is None else self._artifacts.absolute().as_uri()
            try:
                return client.create_experiment(name, artifact_location=place)
            except MlflowException as error:  # another process was first
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise TrackingError(f"the experiment {name!r} was deleted in MLflow; restore it there, or name another one")
        return found.experiment_id

    def log(self, run_id: str, metrics: Sequence[MetricPoint], tags: Mapping[str, str] | None = None) -> None:
        """Figures, and with the last of them the tags: whoever sees these tags sees the figures too."""
        from mlflow import entities

        with self.session() as client:
            entries = [entities.Metric(metric.key, metric.value, metric.time_ms, metric.step) for metric in metrics]
            marks = [entities.RunTag(key, truncate(value, MAX_TAG)) for key, value in (tags or {}).items()]
            for begin in range(0, max(len(entries), 1), _METRICS_PER_CALL):
                last = begin + _METRICS_PER_CALL >= len(entries)
                part = entries[begin : begin + _METRICS_PER_CALL]
                client.log_batch(run_id, metrics=part, tags=marks if last else ())

    def set_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Parameters that the run does not have yet."""
        from mlflow import entities

        with self.session() as client:
            batch: list[entities.Param] = []
            characters = 0
            for key, value in parameters.items():
                if batch and (len(batch) == _PARAMETERS_PER_CALL or characters + len(value) > _CHARACTERS_PER_CALL):
                    client.log_batch(run_id, params=batch)
                    batch, characters = [], 0
                batch.append(entities.Param(key, value))
                characters += len(value)
            if batch:
                client.log_batch(run_id, params=batch)

    def upload(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """A file into a folder of the run's artifacts."""
        with self.session() as client:
            client.log_artifact(run_id, str(path), folder)

    def set_running(self, run_id: str) -> None:
        """Set the status of an ended run to RUNNING."""
        with self.session() as client:
            client.update_run(run_id, status="RUNNING")

    def end_run(self, run_id: str, status: str) -> None:
        """End a run with the status FINISHED, FAILED or KILLED."""
        with self.session() as client:
            client.set_terminated(run_id, status)

    def register(self, run_id: RemoteRun, folder: Path, version: str, code: Path, requirements: Sequence[str]) -> str:
        """Log a model folder as a pyfunc model and register it once; returns the number of its version.

        `version`: what the model calls itself, the tag that finds it again. `code`: the file that MLflow runs to load
        it. `requirements`: what pip has to install for it.
        """
        with self.session() as client:
            number = self._find_version(client, run_id.id, version)
            if number is not None:
                return number
            logged = self._find_logged_model(client, run_id, version)
            if logged is None:
                logged = _log_model(client, run_id, folder, version, code, requirements)
            _ensure_registered_model(client)
            tags = {VERSION_TAG: version, RUN_TAG: run_id.tags.get(RUN_TAG, "")}
            source = logged.artifact_location
            return str(
                client.create_model_version(MODEL_NAME, source, run_id.id, tags, model_id=logged.model_id).version
            )

    def _find_version(self, client: MlflowClient, run_id: str, version: str) -> str | None:
        found = client.search_model_versions(f"name = '{MODEL_NAME}' and run_id = '{run_id}'")
        numbers = [int(entry.version) for entry in found if entry.tags.get(VERSION_TAG) == version]
        return str(min(numbers)) if numbers else None

    def _find_logged_model(self, client: MlflowClient, run_id: RemoteRun, version: str) -> LoggedModel | None:
        """A model that was logged whole, but not registered before something went wrong. Half-logged ones go."""
        found = client.search_logged_models([run_id.experiment], f"source_run_id = '{run_id.id}'")
        ours = [model for model in found if model.tags.get(VERSION_TAG) == version]
        for model in ours:
            if model.status != "READY":
                client.delete_logged_model(model.model_id)
        return next((model for model in ours if model.status == "READY"), None)

    def promote(self, number: str, alias: str) -> None:
        """Let an alias of the registered model name this version."""
        with self.session() as client:
            client.set_registered_model_alias(MODEL_NAME, alias, number)

    def version_by_alias(self, name: str, alias: str) -> str:
        """The number of the version that an alias of a registered model names now."""
        with self.session() as client:
            return str(client.get_model_version_by_alias(name, alias).version)

    def location(self, name: str, number: str) -> str:
        """The address of the files of a registered version, for `list_folders` and `download`."""
        with self.session() as client:
            version = client.get_model_version(name, number)
            if version.status != "READY":
                raise TrackingError(f"version {number} of {name!r} is not ready in MLflow; register the model again")
            return str(client.get_model_version_download_uri(name, number))

    def list_folders(self, location: str, key: str) -> list[str]:
        """The keys of the folders directly below a key of such an address."""
        with self.session():
            return [entry.path for entry in self._files(location).list_artifacts(key) if entry.is_dir]

    def download(self, location: str, keys: Sequence[str], folder: Path) -> None:
        """Copy files of such an address into a folder of this machine, by the last part of their keys."""
        with self.session(), tempfile.TemporaryDirectory(dir=folder) as scratch:
            files = self._files(location)
            for key in keys:
                os.replace(files.download_artifacts(key, scratch), folder / key.rpartition("/")[2])

    def _files(self, location: str) -> ArtifactRepository:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(location, tracking_uri=self._uri)


def _create_tables(uri: str, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts.absolute().as_uri()).engine.dispose()


def _log_model(
    client: MlflowClient, run_id: RemoteRun, folder: Path, version: str, code: Path, requirements: Sequence[str]
) -> LoggedModel:
    """Log the model folder. Ready is said last: what was cut off before is never registered."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    logged = client.create_logged_model(
        run_id.experiment, MODEL_NAME, run_id.id, tags={VERSION_TAG: version}, model_type="face-reconstruction"
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "model"
        model = Model(logged.artifact_location, run_id.id, model_uuid=logged.model_id, model_id=logged.model_id)
        _save_model(place, model, folder, code, requirements)
        client.log_model_artifacts(logged.model_id, str(place))
    client.log_outputs(run_id.id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, "READY")


def _save_model(target: Path, model: Model, folder: Path, code: Path, requirements: Sequence[str]) -> None:
    """Write the files of an MLflow model: code, the model folder, MLmodel and requirements. Nothing is pickled."""
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it says that it looks at the example
    # MLflow has no schema under which an array, a list of pictures and a table pass: the model itself refuses.
    signature = ModelSignature(outputs=Schema([ColSpec(AnyType())]))
    pyfunc.save_model(
        target,
        mlflow_model=model,
        python_model=str(code),
        artifacts={"model": folder.absolute().as_uri()},
        signature=signature,
        input_example=np.zeros((1, 8, 8, 3), np.uint8),
        pip_requirements=list(requirements),
    )
    # It notes where things lay on this machine, which concerns nobody.
    flavor = model.flavors[pyfunc.FLAVOR_NAME]
    flavor[pyfunc.MODEL_CODE_PATH] = code.name
    flavor["artifacts"]["model"]["uri"] = folder.name
    model.save(str(target / "MLmodel"))


def _ensure_registered_model(client: MlflowClient) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(MODEL_NAME, description="Occlusion-robust 3D face reconstruction (focus-ray)")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def model_requirements() -> list[str]:
    """What pip has to install so that a model loads: this package and torch, exactly, without a build's local mark."""
    versions = {"focus-ray": __version__, "torch": metadata.version("torch")}  # a job's copy of the package is bare
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]


def _to_remote_run(run_id: Run) -> RemoteRun:
    info, data = run_id.info, run_id.data
    return RemoteRun(info.run_id, info.experiment_id, info.status, data.params, data.tags, data.metrics)


def _reason(error: BaseException) -> str:
    """One line: what is wrong, as plainly as what the libraries say allows."""
    text = redact_secrets(" ".join(str(error).split()))
    for sign, meaning in _ERROR_MEANINGS.items():
        if sign in text:
            return meaning
    if "too many 5" in text or "error code 5" in text:
        return "it answers with errors (5xx)"
    return truncate(text, 200) or type(error).__name__
