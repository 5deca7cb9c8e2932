"""Checkpoints and model folders: safetensors and JSON under a verified manifest. Nothing is ever unpickled.

checkpoints/step-00001234/   state.json, one *.safetensors for each top-level key with tensors, manifest.json
model/                       model.json, one *.safetensors for each network, manifest.json; quality.json if calibrated
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from focus_ray.errors import CheckpointError, ModelError, NoSuchObject
from focus_ray.storage import artifact_store, tensor_artifact
from focus_ray.storage.manifest import read_artifact, write_artifact
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store
from focus_ray.storage.tree import State, detach_to_cpu, from_skeleton, to_skeleton

CHECKPOINT, MODEL = "checkpoint", "model"
MODEL_DOCUMENT, QUALITY_DOCUMENT = "model.json", "quality.json"
APPEARANCE = "appearance"
_TENSOR_FILES = ("face", "encoder", "segmenter", "perceptual", APPEARANCE)
MODEL_FILES = (MODEL_DOCUMENT, QUALITY_DOCUMENT, *(name + tensor_artifact.SUFFIX for name in _TENSOR_FILES))
"""Names that files of a model folder have, beside the manifest; no others are downloaded or uploaded."""
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
STEP = re.compile(r"step-(\d{8,})")
BEST = "best.json"

logger = logging.getLogger(__name__)


def save(folder: Path, state: Mapping[str, State]) -> None:
    """Write a nested state to `folder`, atomically.

    Args:
        folder: folder to write; an existing one is replaced, and stays valid until the new one is complete.
        state: name to dict, list, tuple, number, text, None or tensor, nested to any depth.

    Raises:
        StorageError: the disk cannot be written to.
        CheckpointError: the state holds another type, or a name that cannot name a file.
    """
    skeleton, tensors = {}, {}
    for key, value in state.items():
        if not KEY.fullmatch(key):
            raise CheckpointError(f"{key!r} cannot name a file; use letters, digits, '_' and '-'")
        skeleton[key], tensors[key] = to_skeleton(value)
    tensor_artifact.write(folder, CHECKPOINT, "state.json", skeleton, tensors)


def load(folder: Path) -> dict[str, State]:
    """Read the state that `save` wrote, tensors on the CPU, after every file was verified.

    Raises:
        CheckpointError: a file is missing, altered or malformed; the message names it.
        StorageError: the disk cannot be read.
    """
    skeleton, tensors = tensor_artifact.read(folder, CHECKPOINT, "state.json")
    if unknown := set(tensors) - set(skeleton):
        path = f"{folder}/{min(unknown)}{tensor_artifact.SUFFIX}"
        raise CheckpointError(f"{path} has no entry in state.json; use an earlier checkpoint")
    return {key: from_skeleton(value, tensors.get(key, {})) for key, value in skeleton.items()}


class StoredModel(NamedTuple):
    """A model folder in memory: the tensors of each network, and the contents of model.json and quality.json.

    Attributes:
        networks: name to tensors by name.
        info: content of model.json.
        quality: content of quality.json; None if the folder has none.
    """

    networks: dict[str, dict[str, Tensor]]
    info: dict[str, Any]
    quality: dict[str, Any] | None = None


def save_model(
    folder: Path,
    networks: Mapping[str, Mapping[str, Tensor]],
    info: Mapping[str, Any],
    quality: Mapping[str, Any] | None = None,
) -> None:
    """Write networks and their description to a model folder, atomically.

    Args:
        folder: folder to write.
        networks: name to state dict.
        info: content of model.json, plain JSON.
        quality: content of quality.json, plain JSON; None: no such file.

    Raises:
        StorageError: the disk cannot be written to.
    """
    storages: set[int] = set()
    tensors = {
        name: {key: detach_to_cpu(value, storages) for key, value in parameters.items()}
        for name, parameters in networks.items()
    }
    others = {} if quality is None else {QUALITY_DOCUMENT: quality}
    tensor_artifact.write(folder, MODEL, MODEL_DOCUMENT, dict(info), tensors, others)


def save_quality(folder: Path, quality: Mapping[str, Any]) -> None:
    """Write quality.json into a model folder, in place of an earlier one; the other files are kept byte for byte.

    Args:
        folder: folder of a model.
        quality: content of quality.json, plain JSON.

    Raises:
        CheckpointError: the folder is not a complete model.
        StorageError: the disk cannot be read or written to.
    """
    files = read_artifact(folder, MODEL)
    content = (json.dumps(quality, indent=1, allow_nan=False) + "\n").encode()
    write_artifact(folder, MODEL, (files | {QUALITY_DOCUMENT: content}).items())


def save_appearance(
    folder: Path, tensors: Mapping[str, Tensor], photo: Mapping[str, Any], lineage: Mapping[str, Any] | None = None
) -> None:
    """Write an appearance prior into a model folder, in place of an earlier one; the networks are kept byte for byte.

    Args:
        folder: folder of a model.
        tensors: content of appearance.safetensors.
        photo: entry `photo` of model.json, plain JSON: settings of the refinement of photographs.
        lineage: entry `lineage` of model.json, plain JSON, with the photographs of the prior; None: the entry is kept.

    Raises:
        CheckpointError: the folder is not a complete model.
        StorageError: the disk cannot be read or written to.
    """
    files = read_artifact(folder, MODEL)
    info = json.loads(files[MODEL_DOCUMENT]) | {"photo": photo} | ({} if lineage is None else {"lineage": lineage})
    changed = {
        MODEL_DOCUMENT: json.dumps(info).encode(),
        APPEARANCE + tensor_artifact.SUFFIX: safetensors.torch.save(dict(tensors)),
    }
    write_artifact(folder, MODEL, (files | changed).items())


def as_half(name: str, value: Tensor) -> Tensor:
    """Convert a floating tensor to float16.

    Args:
        name: name of the tensor, for the error message.
        value: tensor of any shape and type.

    Returns:
        The float16 tensor; `value` itself if it is not floating.

    Raises:
        ModelError: a finite value lies beyond the range of float16.
    """
    if not value.is_floating_point():
        return value
    half = value.to(torch.float16)
    if bool((torch.isfinite(value) & ~torch.isfinite(half)).any()):
        raise ModelError(f"{name} has values beyond the range of float16; save the model without half precision")
    return half


def load_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> StoredModel:
    """Read a model folder after verifying it; tensors on the CPU.

    Args:
        folder: folder of the model.
        dtype: type that floating tensors are converted to.

    Raises:
        CheckpointError: a file is missing, altered or malformed.
        StorageError: the disk cannot be read.
    """
    documents, networks = tensor_artifact.read_documents(folder, MODEL, MODEL_DOCUMENT, (QUALITY_DOCUMENT,))
    for parameters in networks.values():
        for key, value in parameters.items():
            if value.is_floating_point():
                parameters[key] = value.to(dtype)
    return StoredModel(networks, documents[MODEL_DOCUMENT], documents.get(QUALITY_DOCUMENT))


class StoredCheckpoint(NamedTuple):
    """A checkpoint of a run: its step, its location and its state."""

    step: int
    folder: str
    state: dict[str, State]
    # Messages about newer checkpoints that are damaged, one line each.
    skipped: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of one run, in a folder or an object store. One process writes to them at a time."""

    def __init__(self, location: Path | str | ObjectStore, *, keep: int = 3) -> None:
        """Use the checkpoints at a location.

        Args:
            location: folder, URI (see `open_store`) or object store.
            keep: number of newest checkpoints to keep beside the best one, at least 1.
        """
        self.store = open_store(location) if isinstance(location, Path | str) else location
        self.keep = max(keep, 1)

    def save(self, step: int, state: Mapping[str, State], *, best: bool = False) -> None:
        """Write the state of a step, then delete old checkpoints.

        Args:
            step: number of steps taken.
            state: nested state, see the function `save`.
            best: keep this checkpoint until a later one is saved as the best.

        Raises:
            StorageError: the disk or the store fails; the earlier checkpoints are unchanged.
            CheckpointError: the state cannot be stored.
        """
        artifact_store.write(self.store, folder_name(step), lambda folder: save(folder, state))
        self._prune(step, best)

    def add(self, step: int, folder: Path, *, best: bool = False) -> None:
        """Store a checkpoint that the function `save` wrote to a local folder, then delete old checkpoints.

        Args:
            step: number of steps taken.
            folder: local folder, which is kept.
            best: keep this checkpoint until a later one is saved as the best.

        Raises:
            StorageError: the disk or the store fails.
        """
        artifact_store.upload(self.store, folder, folder_name(step))
        self._prune(step, best)

    def steps(self) -> list[int]:
        """List the steps that have a checkpoint, damaged ones included, in ascending order."""
        return sorted(_steps(artifact_store.list_artifacts(self.store)))

    def load(self, step: int) -> StoredCheckpoint:
        """Read the checkpoint of one step.

        Raises:
            CheckpointError: the checkpoint is missing or damaged.
            StorageError: the disk or the store fails.
        """
        with artifact_store.open_folder(self.store, folder_name(step), CHECKPOINT) as folder:
            return StoredCheckpoint(step, f"{self.store}/{folder_name(step)}", load(folder))

    def latest(self) -> StoredCheckpoint | None:
        """Read the newest valid checkpoint; newer damaged ones are reported in `skipped` and in the log.

        Returns:
            The checkpoint; None if the run has none at all.

        Raises:
            CheckpointError: there are checkpoints, but none is valid; a run must not restart silently.
            StorageError: the disk or the store fails.
        """
        skipped: list[str] = []
        for step in reversed(self.steps()):
            try:
                return self.load(step)._replace(skipped=tuple(skipped))
            except CheckpointError as error:
                skipped.append(f"checkpoint of step {step} is skipped: {error}")
                logger.warning(skipped[-1])
        if skipped:
            raise CheckpointError(f"no checkpoint in {self.store} is valid; start a new run in another folder")
        return None

    def best(self) -> StoredCheckpoint | None:
        """Read the checkpoint that was saved as the best.

        Returns:
            The checkpoint; None if none was saved as the best.

        Raises:
            CheckpointError: the checkpoint or best.json is damaged.
            StorageError: the disk or the store fails.
        """
        step = self._best_step()
        return None if step is None else self.load(step)

    def _best_step(self) -> int | None:
        try:
            step = json.loads(self.store.read(BEST))["step"]
        except NoSuchObject:
            return None
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(f"{self.store}/{BEST} is damaged; remove it") from None
        return step

    def _prune(self, step: int, best: bool) -> None:
        """Record the step if it is the best, then delete old checkpoints and incomplete uploads."""
        if best:
            self.store.write(BEST, json.dumps({"step": step}).encode())
        steps = self.steps()
        kept = {step, *steps[-self.keep :], self._best_step()}
        old = [folder_name(each) for each in steps if each not in kept]
        incomplete = [name for name in artifact_store.list_incomplete(self.store) if STEP.fullmatch(name)]
        for name in (*old, *incomplete):
            artifact_store.delete(self.store, name)


def folder_name(step: int) -> str:
    """Return the folder name of a step's checkpoint."""
    return f"step-{step:08d}"


def _steps(names: Iterable[str]) -> list[int]:
    return [int(match[1]) for name in names if (match := STEP.fullmatch(name))]
