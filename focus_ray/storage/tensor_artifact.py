"""Artifact of JSON documents and tensors as safetensors, the format of checkpoints, models and priors."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from focus_ray.errors import CheckpointError
from focus_ray.storage.manifest import read_artifact, write_artifact

SUFFIX = ".safetensors"
# A tensor's entry in a header takes about 100 bytes. A header beyond this is an attack or a mistake.
MAX_HEADER_BYTES = 8 << 20
# Optimiser and random states are tensors: what remains as JSON is small.
MAX_DOCUMENT_BYTES = 64 << 20

Tensors = Mapping[str, dict[str, Tensor]]


def write(
    folder: Path,
    kind: str,
    document: str,
    content: Mapping[str, Any],
    tensors: Tensors,
    others: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a JSON document and files of tensors, atomically.

    Args:
        folder: folder to write.
        kind: kind of the artifact, written to the manifest.
        document: file name of the document.
        content: the document, plain JSON.
        tensors: file name without suffix to tensors by name, which share no memory (see storage.tree); no file is
            written for an empty dict.
        others: further documents by file name.

    Raises:
        StorageError: the disk cannot be written to.
    """
    write_artifact(folder, kind, _files({document: content, **(others or {})}, tensors))


def read(folder: Path, kind: str, document: str) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Read the document and the tensors, after every file was verified.

    Args:
        folder: folder of the artifact.
        kind: kind that the manifest must have.
        document: file name of the document.

    Returns:
        (document, file name without suffix to tensors by name, on the CPU).

    Raises:
        CheckpointError: a file is missing, altered, malformed or unexpected.
        StorageError: the disk cannot be read.
    """
    documents, tensors = read_documents(folder, kind, document)
    return documents[document], tensors


def read_documents(
    folder: Path, kind: str, document: str, others: Sequence[str] = ()
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Tensor]]]:
    """Read all documents and the tensors, after every file was verified.

    Args:
        folder: folder of the artifact.
        kind: kind that the manifest must have.
        document: file name of the document that each artifact has.
        others: file names of further documents, which it may lack.

    Returns:
        (documents by file name, file name without suffix to tensors by name, on the CPU).

    Raises:
        CheckpointError: a file is missing, altered, malformed or unexpected.
        StorageError: the disk cannot be read.
    """
    folder = Path(folder)
    content = read_artifact(folder, kind)
    if document not in content:
        raise CheckpointError(f"{folder} has no {document}; use another copy")
    named = (document, *others)
    documents = {name: _parse(folder / name, content.pop(name)) for name in named if name in content}
    tensors = {}
    for name, data in content.items():
        if not name.endswith(SUFFIX):
            raise CheckpointError(f"{folder / name} is not a file of a {kind}; use another copy")
        tensors[name.removesuffix(SUFFIX)] = parse_tensors(data, str(folder / name))
    return documents, tensors


def parse_tensors(data: bytes, name: str) -> dict[str, Tensor]:
    """Parse the content of a safetensors file.

    Args:
        data: content of the file.
        name: path of the file, for the error message.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        CheckpointError: the content is not a valid safetensors file, or its header is too large.
    """
    if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise CheckpointError(f"{name} has a header of more than {MAX_HEADER_BYTES} bytes; use another copy")
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{name} is not a valid safetensors file ({error}); use another copy") from None


def _files(documents: Mapping[str, Mapping[str, Any]], tensors: Tensors) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files, one at a time in memory."""
    for key, named in tensors.items():
        if named:
            yield key + SUFFIX, safetensors.torch.save(named)
    for name, content in documents.items():
        yield name, json.dumps(content, allow_nan=False).encode()


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_DOCUMENT_BYTES} bytes; use another copy")
    try:
        skeleton = json.loads(data)
    except (ValueError, RecursionError):
        skeleton = None
    if not isinstance(skeleton, dict):
        raise CheckpointError(f"{path} is not a JSON object; use another copy")
    return skeleton
