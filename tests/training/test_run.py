"""A run leaves the files of its contract, can be stopped and resumed, and refuses what is not its own."""

import copy
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from focus_ray import model, presets
from focus_ray.errors import CheckpointError, ConfigError, Interrupted, MaskCollapse
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.training import assemble
from focus_ray.training.progress import Silent
from focus_ray.training.run import Run, train
from focus_ray.training.run_folder import RunFolder

SMALL = [
    "model.camera.image_size=32",
    "batch_size=4",
    "warmup.batch_size=4",
    "schedule={warmup_steps: 2, init_steps: 2, pretrain_seg_steps: 2, cycles: 2, seg_steps: 2, face_steps: 2}",
    "heldout={size: 6, batch_size: 6}",
    "refine.steps=2",
    "em.refined_comparison.steps=1",
    "data.size=16",
    "cadence={checkpoint: 1, sheet: 7}",
]
SUBSETS = {"all", "unoccluded", "occluded", "occluded_seen", "occluded_unseen"}
FIGURES = {
    "n", "f1", "accuracy", "precision", "recall", "outlier_precision", "outlier_recall", "outlier_iou",
    "balanced_accuracy", "landmark_px", "vertex_mm", "rmse_255", "mask_coverage",
}  # fmt: skip
VARIANTS = {"mean_face", "all_ones", "pretrained", "focus", "refined", "refined_all_ones", "refined_oracle"}


@pytest.fixture
def config():
    return presets.load("embedded", None, SMALL)


@pytest.fixture
def toy_world(monkeypatch, toy_model):
    """Runs train on the toy face, which is made in milliseconds."""
    monkeypatch.setattr(assemble, "world_face", lambda config: toy_model)
    monkeypatch.setattr("focus_ray.training.run.world_face", lambda config: toy_model)


def weights(run: Path) -> dict[str, torch.Tensor]:
    focus = model.load(run / "model").focus
    return {**focus.encoder.state_dict(prefix="encoder."), **focus.segmenter.state_dict(prefix="segmenter.")}


class StopAfter(Silent):
    """Somebody who presses Ctrl-C after a step."""

    def __init__(self, step: int):
        self.at = step

    def step(self, record) -> None:
        if record.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("toy_world")
def test_a_run_leaves_the_files_and_figures_of_its_contract(config, tmp_path):
    metrics = train(config, tmp_path / "run")
    run = tmp_path / "run"
    names = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.json", "history.jsonl", "report.html", "model", "checkpoints"} <= names
    assert json.loads((run / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert {"schema", "preset", "seed", "steps", "train_seconds", "nonfinite_steps", "guard_events"} <= set(metrics)
    assert set(metrics["heldout"]) == VARIANTS
    for scores in metrics["heldout"].values():
        assert set(scores) == SUBSETS
        assert all(set(figures) == FIGURES for figures in scores.values())
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(14))
    assert metrics["steps"] == 14
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    assert newest.name == "step-00000014"
    assert {"state.json", "manifest.json"} <= {path.name for path in newest.iterdir()}
    loaded = model.load(run / "model")
    assert loaded.version == metrics["model_version"]


@pytest.mark.usefixtures("toy_world")
def test_ctrl_c_writes_a_checkpoint_and_resuming_ends_the_same(config, tmp_path):
    train(config, tmp_path / "straight")
    with pytest.raises(Interrupted, match="--resume"):
        train(config, tmp_path / "cut", progress=StopAfter(7))
    assert (tmp_path / "cut" / "checkpoints" / "step-00000008").is_dir()
    assert not (tmp_path / "cut" / "model").exists()
    train(None, tmp_path / "cut", resume=True)
    straight, cut = weights(tmp_path / "straight"), weights(tmp_path / "cut")
    assert all(torch.equal(straight[name], cut[name]) for name in straight)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "history.jsonl").read_text().splitlines()]
    assert steps == list(range(14))


@pytest.mark.usefixtures("toy_world")
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(config, tmp_path, caplog):
    train(config, tmp_path / "straight")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "cut", progress=StopAfter(9))
    newest = sorted((tmp_path / "cut" / "checkpoints").glob("step-*"))[-1]
    content = bytearray((newest / "encoder.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "encoder.safetensors").write_bytes(bytes(content))
    train(None, tmp_path / "cut", resume=True)
    assert newest.name.removeprefix("step-").lstrip("0") in caplog.text
    straight, cut = weights(tmp_path / "straight"), weights(tmp_path / "cut")
    assert all(torch.equal(straight[name], cut[name]) for name in straight)


@pytest.mark.usefixtures("toy_world")
def test_a_checkpoint_of_another_face_model_is_refused(config, tmp_path, toy_model):
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", progress=StopAfter(3))
    other = copy.deepcopy(toy_model)
    other.mean.add_(1.0)  # the same mesh, another face
    other.save(tmp_path / "run" / "face.safetensors")
    with pytest.raises(CheckpointError, match="another face model"):
        train(None, tmp_path / "run", resume=True)


@pytest.mark.usefixtures("toy_world")
def test_a_checkpoint_of_another_layout_names_the_version_that_wrote_it(config, tmp_path):
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", progress=StopAfter(0))
    store = Checkpoints(tmp_path / "run" / "checkpoints")
    stored = store.latest()
    assert stored is not None
    tree = {**stored.state, "lineage": {**stored.state["lineage"], "version": "0.0.7"}}
    odd = [{key: value for key, value in tree.items() if key != name} for name in ("guard", "tally", "step")]
    odd += [
        {**tree, "step": 99},
        {**tree, "step": "1"},
        {**tree, "optimizers": {"dreaming": {}}},
        {**tree, "tally": {"x": 1}},
    ]
    for state in odd:
        store.save(stored.step, state)
        with pytest.raises(CheckpointError, match=r"with the version that wrote it, 0\.0\.7, or start a new run"):
            train(None, tmp_path / "run", resume=True)
    store.save(stored.step, {key: value for key, value in tree.items() if key != "lineage"})
    with pytest.raises(CheckpointError, match="wrote it, of unknown number"):
        train(None, tmp_path / "run", resume=True)


@pytest.mark.usefixtures("toy_world")
def test_an_interrupt_in_the_final_scoring_says_how_to_go_on(config, tmp_path, monkeypatch):
    def interrupted(run, variants):
        if variants != ("focus",):
            raise KeyboardInterrupt
        return scored(run, variants)

    scored = Run._score_heldout
    monkeypatch.setattr(Run, "_score_heldout", interrupted)
    with pytest.raises(Interrupted, match=r"go on with --resume .*run"):
        train(config, tmp_path / "run")


@pytest.mark.usefixtures("toy_world")
def test_a_folder_with_something_in_it_is_left_alone(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="not empty"):
        train(config, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.usefixtures("toy_world")
def test_a_run_that_a_guard_ends_says_so_in_its_folder(config, tmp_path):
    strict = config.guard.model_copy(update={"low": 0.0, "high": 0.001, "window": 1, "action": "stop"})
    with pytest.raises(MaskCollapse):
        train(config.model_copy(update={"guard": strict}), tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["guard_events"][0]["kind"] == "all_face"
    assert (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.usefixtures("toy_world")
def test_a_run_that_another_process_trains_is_not_resumed(config, tmp_path):
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", progress=StopAfter(1))
    history = (tmp_path / "run" / "history.jsonl").read_text()
    other = RunFolder(tmp_path / "run")
    other.lock()
    with pytest.raises(ConfigError, match="another process"):
        train(None, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "history.jsonl").read_text() == history
    with pytest.raises(ConfigError, match="another process"):  # being refused does not open the door
        train(None, tmp_path / "run", resume=True)
    other.close()
    with pytest.raises(Interrupted):
        train(None, tmp_path / "run", resume=True, progress=StopAfter(2))


def test_resuming_nothing_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        train(None, tmp_path, resume=True)


@pytest.mark.usefixtures("toy_world")
def test_a_finished_run_that_is_resumed_keeps_its_parameters(config, tmp_path):
    train(config, tmp_path / "run")
    before = weights(tmp_path / "run")
    train(None, tmp_path / "run", resume=True)
    after = weights(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) for name in before)


def killed_and_resumed(folder: Path, python: str, environment: dict[str, str], step: int) -> None:
    """Train in a process of its own, kill -9 it once `step` is in the history, and resume until it ends."""
    options = [part for assignment in SMALL for part in ("--set", assignment)]
    command = [python, "-m", "focus_ray", "train", *options, "--out", str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    history = folder / "history.jsonl"
    deadline = time.monotonic() + 240
    while not (history.exists() and history.read_text().count("\n") > step) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed = [python, "-m", "focus_ray", "train", "--resume", str(folder)]
    subprocess.run(resumed, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The same run in this process, never killed, on the real parametric face."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(presets.load("embedded", None, SMALL), folder)
    return weights(folder)


def test_kill_minus_nine_in_em_changes_nothing(straight, tmp_path, python, python_environment):
    killed_and_resumed(tmp_path / "run", python, python_environment, step=9)
    after = weights(tmp_path / "run")
    assert all(torch.equal(straight[name], after[name]) for name in straight)


@pytest.mark.drill
@pytest.mark.parametrize("step", [1, 3, 5, 6, 8, 11, 13])
def test_kill_minus_nine_in_every_phase_changes_nothing(straight, tmp_path, python, python_environment, step):
    killed_and_resumed(tmp_path / "run", python, python_environment, step)
    after = weights(tmp_path / "run")
    assert all(torch.equal(straight[name], after[name]) for name in straight)
