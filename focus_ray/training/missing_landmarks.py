"""Landmarks of photographs that have none: a detector finds them before the run folder is made."""

from collections.abc import Iterator
from contextlib import contextmanager

from focus_ray.config import RunConfig
from focus_ray.data.detect_landmarks import resolve_landmark_detector
from focus_ray.data.photos import LANDMARK_FILE
from focus_ray.data.picture_source import open_picture_source
from focus_ray.data.prepared.store_files import is_prepared
from focus_ray.detection.detect_folder import detect_folder
from focus_ray.runtime.callbacks import Callback
from focus_ray.runtime.ray_cluster import ClusterSettings, connect_ray
from focus_ray.runtime.tasks import PoolSettings
from focus_ray.training.assemble import build_focus, check_photo_config
from focus_ray.training.prepare import PreparedRun


def lacks_landmarks(config: RunConfig) -> bool:
    """Return whether a run's photographs have no landmarks, neither in their folder nor elsewhere.

    Raises:
        DataError: there are no photographs, or a store whose preparation is not finished.
        StorageError: the store does not answer.
    """
    if config.photos is None or config.landmarks is not None:
        return False
    source = open_picture_source(config.photos)
    return not source.holds(LANDMARK_FILE) and not is_prepared(config.photos)


def detect_missing(prepared: PreparedRun, pool: PoolSettings | None, callback: Callback) -> None:
    """Write landmarks.csv of the run's photographs, which lack it, into their folder.

    What else the run needs is checked first.

    Args:
        prepared: the run, whose folder is not acquired.
        pool: number of actors of Ray Data; None: this process alone.
        callback: receives messages and progress.

    Raises:
        ConfigError: the run cannot be made, the detector's weights are missing, or the photographs' folder has output
            of another program.
        DataError: no photograph has a face.
        CheckpointError: a file of weights does not fit.
        StorageError: the photographs' folder cannot be written.
        Interrupted: the user stopped the detection; the same command resumes it.
    """
    config = prepared.config
    assert config.photos is not None
    if not prepared.request.resumes:
        prepared.folder.check_free()
    check_photo_config(config)
    build_focus(config, prepared.face, prepared.folder.path)
    spec = resolve_landmark_detector()
    callback.on_message(
        f"{config.photos} has no {LANDMARK_FILE}: the detector {spec.info.name} ({spec.info.version}) finds the "
        "faces first"
    )
    summary = detect_folder(config.photos, spec, pool=pool, progress=callback.on_progress, note=callback.on_message)
    callback.on_message(f"{summary.landmarks} of {summary.pictures} photographs have landmarks, see detect.json there")


@contextmanager
def detected_landmarks(prepared: PreparedRun, cluster: ClusterSettings, callback: Callback) -> Iterator[None]:
    """Detect missing landmarks with the CPUs of the run's workers.

    Ray stays connected for the block: Ray Data does not work in a second session of a process.

    Args:
        prepared: the run, whose folder is not acquired.
        cluster: workers and their resources.
        callback: receives messages and progress.
    """
    if not lacks_landmarks(prepared.config):
        yield
        return
    with connect_ray(cluster) as resolved:
        tasks = resolved.workers * (resolved.cpus_per_worker or 1)
        detect_missing(prepared, PoolSettings(tasks=tasks), callback)
        yield
