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
DETECTOR_FOLDER = "weights"  # of a registered model, beside its model folder
VERSION_TAG = "model_version"

# Limits of one log_batch: 1000 entities, 100 of them parameters, 1 MB.
_METRICS_PER_CALL = 900
_PARAMETERS_PER_CALL = 100
_CHARACTERS_PER_CALL = 100_000

# Defaults for mlflow's environment variables: short timeouts (the caller retries), no progress bars, no log messages,
# no telemetry, no files of the working directory inside a model.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# Warnings of mlflow's own modules during import, which do not concern the user of a run.
_WARNINGS = ("The ``noload`` loader strategy", r".*Any type hint is inferred as AnyType")
_SQLITE_TIMEOUT = 60  # s, while another process writes to the same database

# Parts of libraries' error texts and what they mean, for messages only: MLflow raises one type for all connection
# errors, with the text of the error that it caught.
_ERROR_MEANINGS = {
    "Connection refused": "connection refused",
    "Name or service not known": "the host name cannot be resolved",
    "Failed to resolve": "the host name cannot be resolved",
    "timed out": "timed out",
    "Connection aborted": "the server closed the connection",
    "Connection reset": "the server closed the connection",
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
    """A tracking server with its model registry. Every failure is a TrackingError of one line without secrets."""

    def __init__(self, uri: str, artifacts: Path | None = None) -> None:
        """Keep the address; no request is sent yet.

        Args:
            uri: address of a server, or of a database.
            artifacts: folder for the files of experiments that are created here; None: the server decides.
        """
        self._uri = uri
        self._artifacts = artifacts
        self._client: MlflowClient | None = None

    def __str__(self) -> str:
        return redact_secrets(self._uri.partition("?")[0])

    @contextmanager
    def session(self) -> Iterator[MlflowClient]:
        """Provide the client, connected on first use (takes seconds).

        Raises:
            TrackingError: mlflow failed in the block.
            StorageError: the database cannot be created.
        """
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
            import mlflow.pyfunc  # imported now, while these warnings are filtered
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
        """Find the MLflow run of a run in an experiment, or else `known_run_id` in any experiment.

        A create request that timed out may have succeeded later, in addition to its repetition: of several runs the
        first one with data is returned, and empty ones are deleted.

        Args:
            experiment: name of the experiment.
            focus_run_id: id of the run, the value of its tag RUN_TAG.
            known_run_id: MLflow's id of the run from an earlier sync.

        Returns:
            The run; None if there is none, or it was deleted.
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
        """Create a run, and its experiment if there is none.

        Args:
            experiment: name of the experiment.
            focus_run_id: id of the run, written to its tag RUN_TAG.
            name: name to display.
            started_ms: Unix time of the start, ms.

        Raises:
            TrackingError: the experiment was deleted, or MLflow failed.
        """
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
        """Log metrics in batches; the tags are sent with the last batch, so that they never precede the metrics."""
        from mlflow import entities

        with self.session() as client:
            entries = [entities.Metric(metric.key, metric.value, metric.time_ms, metric.step) for metric in metrics]
            marks = [entities.RunTag(key, truncate(value, MAX_TAG)) for key, value in (tags or {}).items()]
            for begin in range(0, max(len(entries), 1), _METRICS_PER_CALL):
                last = begin + _METRICS_PER_CALL >= len(entries)
                part = entries[begin : begin + _METRICS_PER_CALL]
                client.log_batch(run_id, metrics=part, tags=marks if last else ())

    def set_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Log parameters that the run does not have yet, in batches."""
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
        """Upload a file to a folder of the run's artifacts, None for their root."""
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

    def register(
        self,
        run_id: RemoteRun,
        folders: Mapping[str, Path],
        version: str,
        code: Path,
        requirements: Sequence[str],
        card: str | None = None,
    ) -> str:
        """Log a model folder as a pyfunc model and register it, unless this was done before.

        Args:
            run_id: run that trained the model.
            folders: folders that the model consists of, by name; "model" is the model folder.
            version: the model's own version, written to its tag VERSION_TAG.
            code: Python file that MLflow runs to load the model.
            requirements: requirements of the model, as pip reads them.
            card: model card, the description of the version.

        Returns:
            Number of the registered version.
        """
        with self.session() as client:
            number = self._find_version(client, run_id.id, version)
            if number is not None:
                return number
            logged = self._find_logged_model(client, run_id, version)
            if logged is None:
                logged = _log_model(client, run_id, folders, version, code, requirements)
            _ensure_registered_model(client)
            tags = {VERSION_TAG: version, RUN_TAG: run_id.tags.get(RUN_TAG, "")}
            source = logged.artifact_location
            made = client.create_model_version(
                MODEL_NAME, source, run_id.id, tags, description=card, model_id=logged.model_id
            )
            return str(made.version)

    def _find_version(self, client: MlflowClient, run_id: str, version: str) -> str | None:
        found = client.search_model_versions(f"name = '{MODEL_NAME}' and run_id = '{run_id}'")
        numbers = [int(entry.version) for entry in found if entry.tags.get(VERSION_TAG) == version]
        return str(min(numbers)) if numbers else None

    def _find_logged_model(self, client: MlflowClient, run_id: RemoteRun, version: str) -> LoggedModel | None:
        """Return a model that was logged completely but not registered; delete incompletely logged ones."""
        found = client.search_logged_models([run_id.experiment], f"source_run_id = '{run_id.id}'")
        ours = [model for model in found if model.tags.get(VERSION_TAG) == version]
        for model in ours:
            if model.status != "READY":
                client.delete_logged_model(model.model_id)
        return next((model for model in ours if model.status == "READY"), None)

    def promote(self, number: str, alias: str) -> None:
        """Set an alias of the registered model to a version."""
        with self.session() as client:
            client.set_registered_model_alias(MODEL_NAME, alias, number)

    def version_by_alias(self, name: str, alias: str) -> str:
        """Return the number of the version that an alias of a registered model names now."""
        with self.session() as client:
            return str(client.get_model_version_by_alias(name, alias).version)

    def location(self, name: str, number: str) -> str:
        """Return the address of the files of a registered version, for `list_folders` and `download`.

        Args:
            name: name of the registered model.
            number: number of the version.

        Raises:
            TrackingError: the version is not ready, or MLflow failed.
        """
        with self.session() as client:
            version = client.get_model_version(name, number)
            if version.status != "READY":
                raise TrackingError(f"version {number} of {name!r} is not ready in MLflow; register the model again")
            return str(client.get_model_version_download_uri(name, number))

    def list_folders(self, location: str, key: str) -> list[str]:
        """List the keys of the folders directly below a key of an address (see `location`)."""
        with self.session():
            return [entry.path for entry in self._files(location).list_artifacts(key) if entry.is_dir]

    def download(self, location: str, keys: Sequence[str], folder: Path) -> None:
        """Copy files of an address (see `location`) to a local folder, named by the last part of their keys."""
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
    client: MlflowClient,
    run_id: RemoteRun,
    folders: Mapping[str, Path],
    version: str,
    code: Path,
    requirements: Sequence[str],
) -> LoggedModel:
    """Log the model; it becomes READY last, so that an interrupted upload is never registered."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    logged = client.create_logged_model(
        run_id.experiment, MODEL_NAME, run_id.id, tags={VERSION_TAG: version}, model_type="face-reconstruction"
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "model"
        model = Model(logged.artifact_location, run_id.id, model_uuid=logged.model_id, model_id=logged.model_id)
        _save_model(place, model, folders, code, requirements)
        client.log_model_artifacts(logged.model_id, str(place))
    client.log_outputs(run_id.id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, "READY")


def _save_model(
    target: Path, model: Model, folders: Mapping[str, Path], code: Path, requirements: Sequence[str]
) -> None:
    """Write the files of an MLflow model: code, the folders, MLmodel and requirements. Nothing is pickled."""
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # no info message about the input example
    # No MLflow schema accepts an array, a list of pictures and a table alike: the model checks its input itself.
    signature = ModelSignature(outputs=Schema([ColSpec(AnyType())]))
    pyfunc.save_model(
        target,
        mlflow_model=model,
        python_model=str(code),
        artifacts={name: folder.absolute().as_uri() for name, folder in folders.items()},
        signature=signature,
        input_example=np.zeros((1, 8, 8, 3), np.uint8),
        pip_requirements=list(requirements),
    )
    # Replace the paths of this machine that MLflow recorded.
    flavor = model.flavors[pyfunc.FLAVOR_NAME]
    flavor[pyfunc.MODEL_CODE_PATH] = code.name
    for name, folder in folders.items():
        flavor["artifacts"][name]["uri"] = folder.name
    model.save(str(target / "MLmodel"))


def _ensure_registered_model(client: MlflowClient) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(MODEL_NAME, description="Occlusion-robust 3D face reconstruction (focus-ray)")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def model_requirements() -> list[str]:
    """Return the pip requirements of a model: exact versions of this package and torch, without local build labels."""
    # A Ray job's copy of this package has no metadata.
    versions = {"focus-ray": __version__, "torch": metadata.version("torch")}
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]


def _to_remote_run(run_id: Run) -> RemoteRun:
    info, data = run_id.info, run_id.data
    return RemoteRun(info.run_id, info.experiment_id, info.status, data.params, data.tags, data.metrics)


def _reason(error: BaseException) -> str:
    """Return the cause of an error in one line."""
    text = redact_secrets(" ".join(str(error).split()))
    for sign, meaning in _ERROR_MEANINGS.items():
        if sign in text:
            return meaning
    if "too many 5" in text or "error code 5" in text:
        return "the server returns errors (5xx)"
    return truncate(text, 200) or type(error).__name__
