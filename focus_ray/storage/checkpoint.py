"""Checkpoints and model folders: safetensors and JSON under a verified manifest. Nothing is ever unpickled.

checkpoints/step-00001234/   state.json, one *.safetensors for each top-level key with tensors, manifest.json
model/                       model.json, one *.safetensors for each network, manifest.json
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from focus_ray.errors import CheckpointError, ModelError, NoSuchObject
from focus_ray.storage import artifact_store, tensor_artifact
from focus_ray.storage.object_store import ObjectStore
from focus_ray.storage.open_store import open_store
from focus_ray.storage.tree import State, detach_to_cpu, from_skeleton, to_skeleton

CHECKPOINT, MODEL = "checkpoint", "model"
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
STEP = re.compile(r"step-(\d{8,})")
BEST = "best.json"

logger = logging.getLogger(__name__)


def save(folder: Path, state: Mapping[str, State]) -> None:
    """Write a nested state to `folder`, atomically.

    `state` maps names to dicts, lists, tuples, numbers, text, None and tensors, nested as deep as needed. An existing
    folder is replaced, and stays valid until the new one is complete.

    Raises StorageError if the disk refuses, CheckpointError if the state holds something else.
    """
    skeleton, tensors = {}, {}
    for key, value in state.items():
        if not KEY.fullmatch(key):
            raise CheckpointError(f"{key!r} cannot name a file; use letters, digits, '_' and '-'")
        skeleton[key], tensors[key] = to_skeleton(value)
    tensor_artifact.write(folder, CHECKPOINT, "state.json", skeleton, tensors)


def load(folder: Path) -> dict[str, State]:
    """The state that `save` wrote, tensors on the CPU, after every file was verified.

    Raises CheckpointError with the file's name if anything is missing, altered or malformed.
    """
    skeleton, tensors = tensor_artifact.read(folder, CHECKPOINT, "state.json")
    if strangers := set(tensors) - set(skeleton):
        stranger = f"{folder}/{min(strangers)}{tensor_artifact.SUFFIX}"
        raise CheckpointError(f"{stranger} belongs to nothing; use an earlier checkpoint")
    return {key: from_skeleton(value, tensors.get(key, {})) for key, value in skeleton.items()}


class StoredModel(NamedTuple):
    """A model folder in memory: the tensors of each network, and what model.json says about them."""

    networks: dict[str, dict[str, Tensor]]
    info: dict[str, Any]


def save_model(folder: Path, networks: Mapping[str, Mapping[str, Tensor]], info: Mapping[str, Any]) -> None:
    """Write the networks (name to state dict) and their description to a model folder, atomically.

    `info` is plain JSON. Raises StorageError if the disk refuses.
    """
    storages: set[int] = set()
    tensors = {
        name: {key: detach_to_cpu(value, storages) for key, value in parameters.items()}
        for name, parameters in networks.items()
    }
    tensor_artifact.write(folder, MODEL, "model.json", dict(info), tensors)


def as_half(name: str, value: Tensor) -> Tensor:
    """A floating tensor as float16, another as it is. Raises ModelError where a value lies beyond float16's range."""
    if not value.is_floating_point():
        return value
    half = value.to(torch.float16)
    if bool((torch.isfinite(value) & ~torch.isfinite(half)).any()):
        raise ModelError(f"{name} has values beyond the range of float16; save the model without half precision")
    return half


def load_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> StoredModel:
    """A model folder, verified; floating tensors as `dtype` on the CPU. Raises CheckpointError."""
    info, networks = tensor_artifact.read(folder, MODEL, "model.json")
    for parameters in networks.values():
        for key, value in parameters.items():
            if value.is_floating_point():
                parameters[key] = value.to(dtype)
    return StoredModel(networks, info)


class StoredCheckpoint(NamedTuple):
    """A checkpoint of a run: its step, where it lies, and its state."""

    step: int
    folder: str
    state: dict[str, State]
    # What was said about newer checkpoints that are damaged, a line each.
    skipped: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of one run, in a folder or an object store. One process writes to them at a time."""

    def __init__(self, location: Path | str | ObjectStore, *, keep: int = 3) -> None:
        """Keep the newest `keep` checkpoints and the one that was saved as the best."""
        self.store = open_store(location) if isinstance(location, Path | str) else location
        self.keep = max(keep, 1)

    def save(self, step: int, state: Mapping[str, State], *, best: bool = False) -> None:
        """Write the state of a step, then delete old checkpoints; a `best` one stays until there is a better.

        Raises StorageError if the disk or the store refuses; the earlier checkpoints are then as they were.
        """
        artifact_store.write(self.store, folder_name(step), lambda folder: save(folder, state))
        self._prune(step, best)

    def add(self, step: int, folder: Path, *, best: bool = False) -> None:
        """Like `save`, for a state that the function `save` wrote to a folder of this machine, which stays there."""
        artifact_store.upload(self.store, folder, folder_name(step))
        self._prune(step, best)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, damaged ones included, in order."""
        return sorted(_steps(artifact_store.list_artifacts(self.store)))

    def load(self, step: int) -> StoredCheckpoint:
        """The checkpoint of one step. Raises CheckpointError if it is damaged, StorageError if it cannot be had."""
        with artifact_store.open_folder(self.store, folder_name(step), CHECKPOINT) as folder:
            return StoredCheckpoint(step, f"{self.store}/{folder_name(step)}", load(folder))

    def latest(self) -> StoredCheckpoint | None:
        """The newest valid checkpoint, or None if the run has none at all; damaged ones are named in it and in the log.

        Raises CheckpointError if there are checkpoints and none is valid: never a silent start from nothing.
        """
        skipped: list[str] = []
        for step in reversed(self.steps()):
            try:
                return self.load(step)._replace(skipped=tuple(skipped))
            except CheckpointError as error:
                skipped.append(f"checkpoint of step {step} is passed over: {error}")
                logger.warning(skipped[-1])
        if skipped:
            raise CheckpointError(f"no checkpoint in {self.store} is valid; start a new run in another folder")
        return None

    def best(self) -> StoredCheckpoint | None:
        """The checkpoint that was saved as the best, or None. Raises CheckpointError if it is damaged."""
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
        """Note the step if it is the best, and delete old checkpoints and of uploads that did not end."""
        if best:
            self.store.write(BEST, json.dumps({"step": step}).encode())
        steps = self.steps()
        kept = {step, *steps[-self.keep :], self._best_step()}
        gone = [folder_name(each) for each in steps if each not in kept]
        litter = [name for name in artifact_store.list_incomplete(self.store) if STEP.fullmatch(name)]
        for name in (*gone, *litter):
            artifact_store.delete(self.store, name)


def folder_name(step: int) -> str:
    """Name of the folder of a step's checkpoint."""
    return f"step-{step:08d}"


def _steps(names: Iterable[str]) -> list[int]:
    return [int(match[1]) for name in names if (match := STEP.fullmatch(name))]
