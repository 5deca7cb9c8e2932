"""Checkpoints: exact round trips, every kind of damage named, and no writer that can harm what is already there."""

import hashlib
import json
import logging
import math
import random
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.errors import CheckpointError, ModelError, StorageError
from focus_ray.storage import atomic, tensor_artifact
from focus_ray.storage.checkpoint import Checkpoints, as_half, load, load_model, save, save_model, save_quality


def same(a, b) -> bool:
    """Equal in type and bit for bit, through every level."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.isnan(), b.isnan()) and equal_bits(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(k, m) and same(a[k], b[m]) for k, m in zip(a, b, strict=True))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return a == b


def equal_bits(a, b) -> bool:
    return torch.equal(a, b) if not a.is_floating_point() else torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def run_state(seed: int = 0) -> dict:
    """A state as training has it: networks, an optimiser that has stepped, schedule, phase, random states."""
    torch.manual_seed(seed)
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.1)
    encoder(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    return {
        "encoder": encoder.state_dict(),
        "optimizer": {"encoder": optimizer.state_dict(), "segmenter": {}},
        "random": {"torch": torch.get_rng_state(), "python": random.Random(seed).getstate()},
        "step": 1234,
        "phase": ("em_face", 3),
        "losses": [0.1, 1 / 3, 1e-310, -0.0, math.inf, math.nan],
        "config": {"train": {"preset": "embedded", "lr": 1e-4, "resume": None, "half": False}},
    }


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_training_state_comes_back_exactly(tmp_path):
    state = run_state()
    save(tmp_path / "c", state)
    # OrderedDicts come back as dicts; everything else keeps its type.
    assert same(load(tmp_path / "c"), {**state, "encoder": dict(state["encoder"])})


def test_the_files_are_the_ones_of_the_contract(tmp_path):
    save(tmp_path / "c", run_state())
    expected = {"encoder.safetensors", "optimizer.safetensors", "random.safetensors", "state.json", "manifest.json"}
    assert set(files(tmp_path / "c")) == expected
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        content = (tmp_path / "c" / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def test_the_same_state_gives_the_same_bytes(tmp_path):
    save(tmp_path / "a", run_state())
    save(tmp_path / "b", run_state())
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool],
)
def test_every_dtype_and_shape(tmp_path, dtype):
    base = torch.arange(24).reshape(4, 6).to(dtype)
    state = {"t": [base, base.T, base[1:3, ::2], base[0, 0], base[:0], base.expand(2, 4, 6), base]}
    save(tmp_path / "c", state)
    assert same(load(tmp_path / "c"), {"t": [t.contiguous() for t in state["t"]]})


def test_a_parameter_comes_back_as_a_tensor_without_gradient(tmp_path):
    save(tmp_path / "c", {"t": torch.nn.Parameter(torch.ones(2))})
    loaded = load(tmp_path / "c")["t"]
    assert type(loaded) is torch.Tensor
    assert not loaded.requires_grad


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
KEYS = st.text(max_size=5) | st.integers() | st.sampled_from(["$tuple", "$tensor", "a/b", "0"])
TREES = st.recursive(
    LEAVES | st.sampled_from([torch.zeros(2), torch.tensor(1), torch.ones(0, dtype=torch.bool)]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.lists(children, max_size=3).map(tuple)
        | st.dictionaries(KEYS, children, max_size=4)
    ),
    max_leaves=12,
)


@given(state=st.dictionaries(st.sampled_from(["encoder", "a", "b-2"]), TREES))
def test_any_nested_state_comes_back_exactly(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp("any") / "c"
    save(folder, state)
    assert same(load(folder), state)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), 1j, torch.nn.Linear(1, 1), {(1, 2): 3}])
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(tmp_path, value):
    with pytest.raises(CheckpointError, match="cannot be stored"):
        save(tmp_path / "c", {"a": {"b": value}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_key_that_cannot_name_a_file_is_refused(tmp_path, key):
    with pytest.raises(CheckpointError, match="cannot name a file"):
        save(tmp_path / "c", {key: 1})


# --- damage


def truncate(folder):
    path = folder / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def flip(folder):
    path = folder / "encoder.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def edit_manifest(**changes):
    def edit(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def link_out(folder):
    path = folder / "encoder.safetensors"
    shutil.move(path, folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


DAMAGE = {
    "missing file": (lambda folder: (folder / "encoder.safetensors").unlink(), "encoder.safetensors is missing"),
    "truncated file": (truncate, r"encoder.safetensors has \d+ bytes, its manifest lists \d+"),
    "tampered file": (flip, "encoder.safetensors was altered"),
    "tampered state": (
        lambda folder: (folder / "state.json").write_bytes((folder / "state.json").read_bytes().replace(b"34", b"35")),
        "state.json was altered",
    ),
    "extra file": (lambda folder: (folder / "extra.bin").write_bytes(b"x"), "extra.bin is not in the manifest"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
    "half a manifest": (lambda folder: (folder / "manifest.json").write_text("{"), "is damaged"),
    "a list as manifest": (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json is damaged"),
    "nested manifest": (lambda folder: (folder / "manifest.json").write_text("[" * 100_000), "is damaged"),
    "huge manifest": (
        lambda folder: (folder / "manifest.json").write_text(" " * 2_000_000),
        "larger than 1048576 bytes",
    ),
    "next schema": (edit_manifest(schema=2), "has schema 2"),
    "another kind": (edit_manifest(kind="model"), "is a 'model', not a checkpoint"),
    "path in manifest": (edit_manifest(files={"../x": {"sha256": "", "size": 1}}), "manifest.json is damaged"),
    "no files": (edit_manifest(files={}), "is not in the manifest"),
    "link": (link_out, "encoder.safetensors is missing"),
    "gone": (shutil.rmtree, "no checkpoint at"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_what_to_do(tmp_path, name):
    damage, message = DAMAGE[name]
    folder = tmp_path / "step-00000001"
    save(folder, run_state())
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(folder)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


def reseal(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and make the manifest agree, as an attacker would."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


HOSTILE = {
    "pickle under another name": b"\x80\x04cposix\nsystem\n(S'touch canary'\ntR.",
    "endless header": (2**63 - 1).to_bytes(8, "little") + b"{}",
    "overlapping tensors": (lambda h: len(h).to_bytes(8, "little") + h + bytes(8))(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    ),
    "empty": b"",
    "unknown type": (lambda h: len(h).to_bytes(8, "little") + h + bytes(4))(
        b'{"a":{"dtype":"X32","shape":[1],"data_offsets":[0,4]}}'
    ),
}


@pytest.mark.timeout(5)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tensor_files_are_refused_even_under_a_matching_manifest(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "c", run_state())
    reseal(tmp_path / "c", "encoder.safetensors", HOSTILE[name])
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors"):
        load(tmp_path / "c")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "skeleton",
    [
        b"[1]",
        b"nope",
        b'{"encoder": {"$tensor": "absent"}}',
        b'{"encoder": {"$call": "x"}}',
        b'{"encoder": {"$dict": [1]}}',
        b'{"encoder": {"$dict": [[[1], 2]]}}',
        b'{"encoder": 1}',
        b"{}",
        b'{"encoder":' + b"[" * 100_000,
    ],
)
def test_a_skeleton_that_does_not_fit_is_refused(tmp_path, skeleton):
    save(tmp_path / "c", {"encoder": {"w": torch.ones(2)}})
    reseal(tmp_path / "c", "state.json", skeleton)
    with pytest.raises(CheckpointError, match="; "):
        load(tmp_path / "c")


# --- writers that fail


def test_a_full_disk_keeps_the_previous_state_and_leaves_no_litter(tmp_path, monkeypatch):
    save(tmp_path / "c", run_state(0))
    before = files(tmp_path)
    written = []

    def full_after_two(path, data):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        with path.open("wb") as file:
            return file.write(data)

    monkeypatch.setattr(Path, "write_bytes", full_after_two)
    with pytest.raises(StorageError, match=r"No space left on device; free space") as caught:
        save(tmp_path / "c", run_state(1))
    assert caught.value.exit_code == 5
    assert len(written) == 2
    assert files(tmp_path) == before


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_keeps_the_previous_state(tmp_path, monkeypatch, failing):
    save(tmp_path / "c", run_state(0))
    before = files(tmp_path)
    rename, calls = atomic.os.rename, []

    def failing_rename(source, target):
        calls.append(source)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(atomic.os, "rename", failing_rename)
    with pytest.raises(StorageError, match="Input/output error"):
        save(tmp_path / "c", run_state(1))
    assert files(tmp_path) == before


def in_subprocess(python, environment, code: str) -> subprocess.CompletedProcess:
    lines = textwrap.dedent(code)
    return subprocess.run([python, "-c", lines], env=environment, capture_output=True, text=True, timeout=240)


def test_a_real_file_size_limit(tmp_path, python, python_environment):
    result = in_subprocess(
        python,
        python_environment,
        f"""
        import resource, torch
        from focus_ray.errors import StorageError
        from focus_ray.storage.checkpoint import Checkpoints
        store = Checkpoints({str(tmp_path / "checkpoints")!r})
        store.save(1, {{"encoder": {{"w": torch.ones(100)}}}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            store.save(2, {{"encoder": {{"w": torch.ones(100_000)}}}})
        except StorageError as error:
            print(error)
        """,
    )
    assert "step-00000002: File too large; free space" in result.stdout, result.stderr
    stored = Checkpoints(tmp_path / "checkpoints").latest()
    assert stored is not None
    assert stored.step == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


STAGES = ("safetensors", "state.json", "manifest.json", "fsync", "rename")


def test_a_killed_writer_harms_nothing_and_its_litter_is_swept(tmp_path, python, python_environment):
    for stage in STAGES:
        Checkpoints(tmp_path / stage).save(1, run_state(0))
    result = in_subprocess(
        python,
        python_environment,
        f"""
        import os, pathlib, signal, torch
        from focus_ray.storage import atomic
        from focus_ray.storage.checkpoint import Checkpoints

        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        def save_and_die(stage):
            def dying(write):
                return lambda path, data: die() if path.name.endswith(stage) else write(path, data)

            pathlib.Path.write_bytes = dying(pathlib.Path.write_bytes)
            pathlib.Path.write_text = dying(pathlib.Path.write_text)
            if stage == "fsync": atomic.fsync = die
            if stage == "rename": atomic.os.rename = die
            Checkpoints(pathlib.Path({str(tmp_path)!r}) / stage).save(2, {{"encoder": {{"w": torch.ones(9)}}}})
            os._exit(0)

        for stage in {STAGES!r}:
            pid = os.fork()
            if not pid:
                save_and_die(stage)
            print(os.waitpid(pid, 0)[1])
        """,
    )
    assert result.stdout.split() == ["9"] * len(STAGES), result.stderr
    for stage in STAGES:
        store = Checkpoints(tmp_path / stage)
        assert store.steps() == [1]
        assert any(".partial-" in path.name for path in (tmp_path / stage).iterdir())
        stored = store.latest()
        assert stored is not None
        assert same(stored.state["losses"], run_state(0)["losses"])
        store.save(2, run_state(1))
        assert sorted(path.name for path in (tmp_path / stage).iterdir()) == ["step-00000001", "step-00000002"]


def test_a_replacement_cut_off_between_its_renames_is_undone(tmp_path):
    save_model(tmp_path / "model", {"encoder": {"w": torch.ones(2)}}, {})
    (tmp_path / "model").rename(tmp_path / ".model.retired")
    assert torch.equal(load_model(tmp_path / "model").networks["encoder"]["w"], torch.ones(2))


def test_a_partial_of_a_running_writer_is_left_alone(tmp_path):
    other = tmp_path / ".step-00000009.partial-1"
    other.mkdir()
    save(tmp_path / "step-00000001", {"a": 1})
    assert other.is_dir()


def test_write_file_is_all_or_nothing(tmp_path, monkeypatch):
    atomic.write_file(tmp_path / "deep" / "metrics.json", "old")
    monkeypatch.setattr(atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="No space left"):
        atomic.write_file(tmp_path / "deep" / "metrics.json", "new")
    assert files(tmp_path) == {"deep/metrics.json": b"old"}


# --- the checkpoints of a run


def test_latest_falls_back_past_damage_and_says_so(tmp_path, caplog):
    store = Checkpoints(tmp_path / "checkpoints")
    for step in (10, 20, 30):
        store.save(step, {"step": step})
    (tmp_path / "checkpoints" / "step-00000030" / "manifest.json").unlink()
    (tmp_path / "checkpoints" / "step-00000020" / "state.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        stored = store.latest()
    assert stored is not None
    assert (stored.step, stored.state) == (10, {"step": 10})
    assert [record.getMessage().split(" is skipped")[0] for record in caplog.records] == [
        "checkpoint of step 30",
        "checkpoint of step 20",
    ]


def test_no_checkpoint_is_none_and_only_damaged_ones_are_an_error(tmp_path):
    store = Checkpoints(tmp_path / "checkpoints")
    assert store.latest() is None
    store.save(1, {"step": 1})
    (tmp_path / "checkpoints" / "step-00000001" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is valid"):
        store.latest()


def test_the_newest_and_the_best_are_kept(tmp_path):
    store = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in range(1, 7):
        store.save(step, {"step": step}, best=step in (1, 3))
    assert store.steps() == [3, 5, 6]
    best = store.best()
    assert best is not None
    assert best.state == {"step": 3}


def test_a_step_written_again_replaces_the_first(tmp_path):
    store = Checkpoints(tmp_path / "checkpoints")
    store.save(5, {"value": 1})
    store.save(5, {"value": 2})
    assert store.load(5).state == {"value": 2}
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


# --- models


def test_a_model_folder_comes_back(tmp_path):
    networks = {name: {"w": torch.randn(3, 2), "count": torch.tensor(7)} for name in ("encoder", "perceptual")}
    save_model(tmp_path / "model", networks, {"preset": "embedded"})
    assert set(files(tmp_path / "model")) == {
        "model.json",
        "encoder.safetensors",
        "perceptual.safetensors",
        "manifest.json",
    }
    model = load_model(tmp_path / "model")
    assert model.info == {"preset": "embedded"}
    assert set(model.networks) == set(networks)
    for name, parameters in networks.items():
        assert set(model.networks[name]) == set(parameters)
        assert all(same(model.networks[name][key], value) for key, value in parameters.items())


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path):
    weights, count = torch.randn(1000), torch.tensor(7)
    save_model(tmp_path / "full", {"encoder": {"w": weights}}, {})
    save_model(tmp_path / "half", {"encoder": {"w": as_half("w", weights), "count": as_half("count", count)}}, {})
    size = {name: (tmp_path / name / "encoder.safetensors").stat().st_size for name in ("full", "half")}
    assert size["half"] < 0.6 * size["full"]
    loaded = load_model(tmp_path / "half").networks["encoder"]
    assert loaded["w"].dtype == torch.float32
    assert torch.equal(loaded["w"], weights.half().float())
    assert same(loaded["count"], count)


def test_half_precision_refuses_what_would_overflow():
    with pytest.raises(ModelError, match="w has values beyond"):
        as_half("w", torch.tensor([1e6]))
    assert as_half("w", torch.tensor([math.inf])).isinf().all()


def test_a_run_folder_given_as_a_model_gets_the_right_hint(tmp_path):
    save_model(tmp_path / "run" / "model", {"encoder": {"w": torch.ones(1)}}, {})
    with pytest.raises(CheckpointError, match=r"did you mean .*run/model\?"):
        load_model(tmp_path / "run")


def test_a_checkpoint_given_as_a_model_is_refused(tmp_path):
    save(tmp_path / "c", {"a": 1})
    with pytest.raises(CheckpointError, match="is a 'checkpoint', not a model"):
        load_model(tmp_path / "c")


def test_a_header_beyond_the_limit_is_refused_unread(tmp_path, monkeypatch):
    save(tmp_path / "c", {"encoder": {"w": torch.ones(2)}})
    monkeypatch.setattr(tensor_artifact, "MAX_HEADER_BYTES", 8)
    with pytest.raises(CheckpointError, match="has a header of more than 8 bytes"):
        load(tmp_path / "c")


def test_limits_are_added_to_a_model_and_its_other_files_are_kept(tmp_path):
    save_model(tmp_path / "model", {"encoder": {"w": torch.ones(2)}}, {"version": "v1"})
    before = files(tmp_path / "model")
    assert load_model(tmp_path / "model").quality is None
    for limit in (1.0, 2.0):
        save_quality(tmp_path / "model", {"limits": {"cut_off": limit}})
        after = files(tmp_path / "model")
        assert {name: after[name] for name in before if name != "manifest.json"} == {
            name: content for name, content in before.items() if name != "manifest.json"
        }
        assert set(after) == {*before, "quality.json"}
        assert load_model(tmp_path / "model").quality == {"limits": {"cut_off": limit}}
    (tmp_path / "model" / "quality.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"quality\.json has 2 bytes, its manifest lists"):
        load_model(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"quality\.json has 2 bytes"):
        save_quality(tmp_path / "model", {"limits": {}})
    with pytest.raises(CheckpointError, match="no model at"):
        save_quality(tmp_path / "nothing", {"limits": {}})
