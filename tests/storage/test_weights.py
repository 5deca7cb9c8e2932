"""Reading weight files: what is accepted, and a clear refusal of everything else without running or unpacking it."""

import pickle  # noqa: TID251  (to write the files that must be refused)
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch

from focus_ray.errors import CheckpointError
from focus_ray.storage.weights import read_weights

STATE = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "bn.num_batches_tracked": torch.tensor(5)}


def same(read: dict[str, torch.Tensor]) -> bool:
    return read.keys() == STATE.keys() and all(torch.equal(read[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("name", ["net.safetensors", "misnamed.pth"])
def test_safetensors_are_read_whatever_their_name(tmp_path, name):
    safetensors.torch.save_file(STATE, tmp_path / name)
    assert same(read_weights(tmp_path / name))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("wrap", [dict, OrderedDict, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_torch_files_old_and_new_wrapped_or_not(tmp_path, wrap, options):
    torch.save(wrap(STATE), tmp_path / "net.safetensors", **options)
    assert same(read_weights(str(tmp_path / "net.safetensors")))


def test_parameters_come_back_as_plain_tensors(tmp_path):
    torch.save(torch.nn.Linear(2, 3).state_dict(keep_vars=True), tmp_path / "net.pth")
    assert not any(value.requires_grad for value in read_weights(tmp_path / "net.pth").values())


class Attack:
    """Runs code when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_code_in_a_file_is_never_run(tmp_path, form):
    path, evidence = tmp_path / "net.pth", tmp_path / "ran"
    content = STATE | {"attack": Attack(evidence)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match=r"net\.pth"):
        read_weights(path)
    assert not evidence.exists()


@pytest.mark.parametrize("cut", [0, 1, 9, 100, -10])
@pytest.mark.parametrize("form", ["safetensors", "zip", "old"])
def test_a_truncated_file_is_refused(tmp_path, form, cut):
    path = tmp_path / "net.bin"
    if form == "safetensors":
        safetensors.torch.save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=form == "zip")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"net\.bin"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [b"a text file, not weights", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\xff" * 8 + b"{" * 9]
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        read_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("path", ["absent.pth", "."])
def test_a_missing_file_or_a_folder_is_refused(tmp_path, path):
    with pytest.raises(CheckpointError, match="give a"):
        read_weights(tmp_path / path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "does not hold a state dict"),
        ([torch.ones(1)], "does not hold a state dict"),
        (torch.ones(1), "does not hold a state dict"),
        ({"lr": 0.1}, "'lr', which is not a dense tensor"),
        ({3: torch.ones(1)}, "'3', which is not a dense tensor"),
        ({"sparse": torch.eye(2).to_sparse()}, "'sparse', which is not a dense tensor"),
        ({"nowhere": torch.ones(1, device="meta")}, "'nowhere', which is not a dense tensor"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, reason):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=reason):
        read_weights(tmp_path / "x.pth")


def test_the_size_cap_holds_for_the_file_for_what_it_unpacks_to_and_for_what_it_describes(tmp_path):
    plain, packed, view = tmp_path / "plain.pth", tmp_path / "packed.pth", tmp_path / "view.pth"
    torch.save({"w": torch.zeros(100_000)}, plain)
    with pytest.raises(CheckpointError, match="more than 100000"):
        read_weights(plain, max_bytes=100_000)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as goal:
        for entry in source.infolist():
            goal.writestr(entry.filename, source.read(entry))
    assert packed.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="unpacks to more than 100000"):
        read_weights(packed, max_bytes=100_000)
    torch.save({"w": torch.zeros(1).expand(10**9)}, view)
    with pytest.raises(CheckpointError, match="describes more than"):
        read_weights(view)
