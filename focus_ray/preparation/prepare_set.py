"""Preparation of a data set: plan the shards, make those that are missing, write the index and the description."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from focus_ray import __version__
from focus_ray.config import absolute_location
from focus_ray.data.detect_landmarks import DetectSettings, resolve_landmark_detector
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.portraits import are_portraits
from focus_ray.data.prepared.shard_file import PictureFormat
from focus_ray.data.prepared.store_files import (
    DESCRIPTION,
    DROPPED,
    INDEX,
    PLAN,
    SHARDS,
    STATE,
    PreparedDescription,
    encode_index,
    shard_key,
)
from focus_ray.data.trainable import KINDS, SetKind, open_trainable
from focus_ray.data.trainable.trainable_set import TrainableFace, TrainableSet
from focus_ray.errors import ConfigError, NoSuchObject
from focus_ray.licences.terms import DATA
from focus_ray.preparation.prepare_shard import Dropped, PrepareJob, ShardState, state_key
from focus_ray.runtime.signals import graceful_shutdown
from focus_ray.runtime.task_pool import run_tasks
from focus_ray.runtime.tasks import PoolSettings, task_cluster
from focus_ray.settings import Settings
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store

PICTURES_PER_SHARD = 128
"""Pictures of a shard: 15 to 100 MB at 224 px, which one task holds in memory."""

_FORMAT = 1

PictureProgress = Callable[[str, int, int], object]  # "pictures", done, total


class PrepareSettings(Settings):
    """What determines the content of the shards, besides the pictures."""

    size: int = 224  # px, side of the aligned crops
    picture: PictureFormat = PictureFormat()
    per_shard: int = PICTURES_PER_SHARD


def prepare_set(
    kind: SetKind,
    location: str,
    out: str,
    settings: PrepareSettings | None = None,
    *,
    detector: str = "auto",
    detector_weights: str | None = None,
    pool: PoolSettings | None = None,
    progress: PictureProgress = lambda *_: None,
    note: Callable[[str], object] = lambda _: None,
) -> PreparedDescription:
    """Prepare a data set for training.

    The same call resumes an interrupted preparation: finished shards are kept, and the files are those of a preparation
    without interruption. They do not depend on the number of tasks.

    Args:
        kind: layout of the set.
        location: folder, or s3://bucket/prefix for some layouts.
        out: folder or URI of the store.
        settings: size and format; None: the defaults.
        detector: detector for pictures without landmarks, see `resolve_landmark_detector`.
        detector_weights: its weights.
        pool: number of Ray tasks; None: this process alone. With tasks, local folders must be on every node.
        progress: called with "pictures", the number done and the number of all.
        note: receives messages for the user.

    Returns:
        The content of prepared.json.

    Raises:
        DataError: the set has another layout.
        ConfigError: `out` holds other files, or the detector's weights are missing.
        StorageError: a store or disk cannot be used.
        ClusterError: the Ray cluster cannot be used, or its tasks failed too often.
        Interrupted: the user stopped the preparation.
    """
    settings = settings or PrepareSettings()
    data = open_trainable(kind, absolute_location(location))
    store = open_store(absolute_location(out))
    _check_free(store, _plan_content(kind, data))
    spec = None if data.annotated else resolve_landmark_detector(detector, detector_weights)
    plan = PreparationPlan(kind, data, store, settings, spec)
    plan.reuse_finished(note)
    plan.make_missing(pool, progress)
    return plan.write_index()


@dataclass(eq=False)
class PreparationPlan:
    """The shards of a set in a store."""

    kind: SetKind
    data: TrainableSet
    store: ObjectStore
    settings: PrepareSettings
    spec: DetectorSpec | None

    def __post_init__(self) -> None:
        faces = sorted(self.data.faces, key=lambda face: (face.split, face.name))  # few shards have two splits
        size = self.settings.per_shard
        self.shards = [faces[first : first + size] for first in range(0, len(faces), size)]
        self.digests = [self._digest(shard) for shard in self.shards]
        self.states: dict[int, ShardState] = {}

    def reuse_finished(self, note: Callable[[str], object]) -> None:
        """Find finished shards; what belongs to other settings is made again.

        Raises:
            StorageError: the store cannot be used.
        """
        for number in range(len(self.shards)):
            state = self._read_state(number)
            if state is not None and state.digest == self.digests[number]:
                self.states[number] = state
        kept = {key for number in self.states for key in (state_key(number), shard_key(number))}
        old = [entry.key for folder in (SHARDS, STATE) for entry in self.store.list(folder)]
        stale = [key for key in old if key not in kept and key != PLAN]
        if len(self.states) < len(self.shards) or stale:
            self.store.delete([DESCRIPTION])  # the store is unfinished from here on
        if stale and not self.states:
            note("the shards in the store belong to other pictures or settings: all are made again")
        self.store.write(PLAN, _plan_content(self.kind, self.data))
        self.store.delete(stale)

    def make_missing(self, pool: PoolSettings | None, progress: PictureProgress) -> None:
        """Make the shards that are missing."""
        total = sum(map(len, self.shards))
        done = sum(len(self.shards[number]) for number in self.states)
        progress("pictures", done, total)
        missing = [number for number in range(len(self.shards)) if number not in self.states]
        if not missing:
            return
        job = PrepareJob(
            self.data, self.store, self.shards, self.digests, self.settings.size, self.settings.picture, self.spec
        )
        with graceful_shutdown() as should_stop, task_cluster(pool):
            for number, state in run_tasks(job, missing, pool, should_stop):
                self.states[number] = state
                done += len(self.shards[number])
                progress("pictures", done, total)

    def write_index(self) -> PreparedDescription:
        """Write index, list of left out pictures and, last, the description."""
        states = [self.states[number] for number in range(len(self.shards))]
        rows = [row for state in states for row in state.rows]
        index = encode_index(rows)
        dropped = [one for state in states for one in state.dropped]
        dropped += [Dropped(name=name, reason=reason) for name, reason in sorted(self.data.left_out.items())]
        layout = KINDS[self.kind]
        portraits = are_portraits(digest for state in states for digest in state.pictures)
        described = PreparedDescription(
            kind=self.kind,
            source=layout.source,
            terms=DATA["portraits"] if portraits else layout.terms,
            portraits=portraits,
            size=self.settings.size,
            picture_format=self.settings.picture,
            pictures=len(self.data.faces) + len(self.data.left_out),
            records=len(rows),
            splits=_count(row.split for row in rows),
            dropped=_count(one.reason for one in dropped),
            landmarks=dict(sum((Counter(state.landmarks) for state in states), Counter())),
            detector=None if self.spec is None else self.spec.info.label,
            index_sha256=hashlib.sha256(index).hexdigest(),
            shards=tuple(state.shard for state in states),
        )
        self.store.write(INDEX, index)
        self.store.write(DROPPED, _format_dropped(dropped))
        self.store.write(DESCRIPTION, described.model_dump_json(indent=1).encode() + b"\n")
        return described

    def _digest(self, faces: Sequence[TrainableFace]) -> str:
        detector = None if self.spec is None else self.spec.info.model_dump(mode="json")
        fixed = [_FORMAT, __version__, self.kind, str(self.data.source), detector]
        fixed += [DetectSettings().model_dump(mode="json"), self.settings.model_dump(mode="json")]
        content = [*fixed, [vars(face) for face in faces]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _read_state(self, number: int) -> ShardState | None:
        """State of a finished shard; None if there is none, or the shard is not complete."""
        try:
            state = ShardState.model_validate(json.loads(self.store.read(state_key(number))))
            return state if self.store.size(shard_key(number)) == state.shard.bytes else None
        except (NoSuchObject, ValueError):
            return None


def _plan_content(kind: SetKind, data: TrainableSet) -> bytes:
    return json.dumps({"format": _FORMAT, "kind": kind, "location": str(data.source)}).encode()


def _check_free(store: ObjectStore, plan: bytes) -> None:
    """Check that a store is empty or was begun by a preparation of the same set. Raises ConfigError."""
    try:
        if store.size(PLAN) != len(plan) or store.read(PLAN) != plan:
            raise ConfigError(f"{store} holds another prepared set; choose an empty place, or delete that set first")
    except NoSuchObject:
        if store.list(limit=1):
            raise ConfigError(f"{store} holds other files; choose an empty place for the prepared set") from None


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _format_dropped(dropped: Sequence[Dropped]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "reason", "message"))
    writer.writerows((one.name, one.reason, one.message) for one in dropped)
    return text.getvalue().encode(errors="backslashreplace")
