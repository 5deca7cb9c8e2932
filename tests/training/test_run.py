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
from focus_ray.config import Cadence
from focus_ray.errors import CheckpointError, ConfigError, FocusRayError, Interrupted, MaskCollapse, StorageError
from focus_ray.focus.schedule import Schedule
from focus_ray.runtime.callbacks import Callback
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.storage.checkpoint import Checkpoints
from focus_ray.storage.json_lines import read_json_lines
from focus_ray.training import run as run_module
from focus_ray.training.batch_source import PrefetchSource
from focus_ray.training.in_process import train
from focus_ray.training.prepare import RunRequest, prepare
from focus_ray.training.run import Trainer

SUBSETS = {"all", "unoccluded", "occluded", "occluded_seen", "occluded_unseen"}
FIGURES = {
    "n", "f1", "accuracy", "precision", "recall", "outlier_precision", "outlier_recall", "outlier_iou",
    "balanced_accuracy", "landmark_px", "vertex_mm", "rmse_255", "mask_coverage",
}  # fmt: skip
VARIANTS = {"mean_face", "all_ones", "pretrained", "focus", "refined", "refined_all_ones", "refined_oracle"}


class StopAfter(Callback):
    """Somebody who presses Ctrl-C after a step."""

    def __init__(self, step: int):
        self.at = step

    def on_step_end(self, record) -> None:
        if record.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_run_leaves_the_files_and_figures_of_its_contract(config, tmp_path):
    metrics = train(config, tmp_path / "run")
    run = tmp_path / "run"
    names = {path.name for path in run.iterdir()}
    assert {"config.json", "run.json", "metrics.json", "history.jsonl", "evaluations.jsonl", "log.jsonl"} <= names
    assert {"report.html", "sheets", "model", "checkpoints"} <= names
    assert json.loads((run / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert {"schema", "preset", "seed", "steps", "train_seconds", "nonfinite_steps", "guard_events"} <= set(metrics)
    assert set(metrics["heldout"]) == VARIANTS
    for scores in metrics["heldout"].values():
        assert set(scores) == SUBSETS
        assert all(set(figures) == FIGURES for figures in scores.values())
    assert [line["step"] for line in read_json_lines(run / "history.jsonl")] == list(range(14))
    assert metrics["steps"] == 14
    evaluations = read_json_lines(run / "evaluations.jsonl")
    assert evaluations == json.loads(json.dumps(metrics["evaluations"]))
    assert [line["step"] for line in evaluations] == [2, 4, 6, 10, 14]
    sheets = sorted(path.name for path in (run / "sheets").iterdir())
    assert sheets == [f"step-{step:08d}.png" for step in (2, 4, 6, 7, 10, 14)]
    log = read_json_lines(run / "log.jsonl")
    assert [line["step"] for line in log if "phase em_seg begins" in line["message"]] == [7, 11]
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    assert newest.name == "step-00000014"
    assert {"state.json", "manifest.json"} <= {path.name for path in newest.iterdir()}
    loaded = model.load(run / "model")
    assert loaded.version == metrics["model_version"]


@pytest.mark.usefixtures("ellipsoid_world")
def test_ctrl_c_writes_a_checkpoint_and_resuming_ends_the_same(config, tmp_path, weights, straight_run):
    with pytest.raises(Interrupted, match="to continue"):
        train(config, tmp_path / "cut", callback=StopAfter(7))
    assert (tmp_path / "cut" / "checkpoints" / "step-00000008").is_dir()
    assert not (tmp_path / "cut" / "model").exists()
    train(None, tmp_path / "cut")
    straight, cut = weights(straight_run), weights(tmp_path / "cut")
    assert all(torch.equal(straight[name], cut[name]) for name in straight)
    assert told(tmp_path / "cut") == told(straight_run)
    assert [line["step"] for line in read_json_lines(tmp_path / "cut" / "history.jsonl")] == list(range(14))


def told(run: Path) -> tuple[list, list]:
    """What a run says of its steps and of its scores, without the time that it took."""
    steps = [(line["step"], line["loss"], line["mask_mean"]) for line in read_json_lines(run / "history.jsonl")]
    return steps, read_json_lines(run / "evaluations.jsonl")


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(config, tmp_path, caplog, weights, straight_run):
    with pytest.raises(Interrupted):
        train(config, tmp_path / "cut", callback=StopAfter(9))
    newest = sorted((tmp_path / "cut" / "checkpoints").glob("step-*"))[-1]
    content = bytearray((newest / "encoder.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "encoder.safetensors").write_bytes(bytes(content))
    train(None, tmp_path / "cut")
    assert newest.name.removeprefix("step-").lstrip("0") in caplog.text
    straight, cut = weights(straight_run), weights(tmp_path / "cut")
    assert all(torch.equal(straight[name], cut[name]) for name in straight)


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_checkpoint_of_another_face_model_is_refused(config, tmp_path, ellipsoid_face):
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", callback=StopAfter(3))
    other = copy.deepcopy(ellipsoid_face)
    other.mean.add_(1.0)  # the same mesh, another face
    other.save(tmp_path / "run" / "face.safetensors")
    with pytest.raises(CheckpointError, match="another face model"):
        train(None, tmp_path / "run")


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_checkpoint_of_another_layout_names_the_version_that_wrote_it(config, tmp_path):
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", callback=StopAfter(0))
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
        with pytest.raises(CheckpointError, match=r"with the version that wrote it \(0\.0\.7\), or start a new run"):
            train(None, tmp_path / "run")
    store.save(stored.step, {key: value for key, value in tree.items() if key != "lineage"})
    with pytest.raises(CheckpointError, match=r"wrote it \(unknown\)"):
        train(None, tmp_path / "run")


@pytest.mark.usefixtures("ellipsoid_world")
def test_an_interrupt_in_the_final_scoring_says_how_to_go_on(config, tmp_path, monkeypatch):
    def interrupted(run, variants):
        if variants != ("focus",):
            raise KeyboardInterrupt
        return scored(run, variants)

    scored = Trainer._score_heldout
    monkeypatch.setattr(Trainer, "_score_heldout", interrupted)
    with pytest.raises(Interrupted, match=r"resume .*run to continue"):
        train(config, tmp_path / "run")


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_folder_with_something_in_it_is_left_alone(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="not empty"):
        train(config, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_run_that_a_guard_ends_says_so_in_its_folder(config, tmp_path):
    strict = config.guard.model_copy(update={"low": 0.0, "high": 0.001, "window": 1, "action": "stop"})
    with pytest.raises(MaskCollapse):
        train(config.model_copy(update={"guard": strict}), tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["guard_events"][0]["kind"] == "all_face"
    assert (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_run_that_another_process_trains_is_not_resumed(config, tmp_path):
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", callback=StopAfter(1))
    history = (tmp_path / "run" / "history.jsonl").read_text()
    other = RunFolder(tmp_path / "run")
    other.lock()
    with pytest.raises(ConfigError, match="another process"):
        train(None, tmp_path / "run")
    assert (tmp_path / "run" / "history.jsonl").read_text() == history
    with pytest.raises(ConfigError, match="another process"):  # being refused does not open admission
        train(None, tmp_path / "run")
    other.close()
    with pytest.raises(Interrupted):
        train(None, tmp_path / "run", callback=StopAfter(2))


def test_resuming_nothing_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        train(None, tmp_path)


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_finished_run_that_is_resumed_keeps_its_parameters(config, tmp_path, weights):
    train(config, tmp_path / "run")
    before = weights(tmp_path / "run")
    train(None, tmp_path / "run")
    after = weights(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_run_whose_checkpoints_are_in_a_store_is_not_begun_anew_here(config, tmp_path):
    prepared = prepare(RunRequest(config, tmp_path / "run", storage="s3://bucket/runs"))
    prepared.acquire()
    prepared.folder.close()
    with pytest.raises(ConfigError, match=r"keeps its checkpoints at s3://bucket/runs/run; train it with Ray"):
        train(None, tmp_path / "run")


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_gpu_that_is_not_there_is_refused_before_the_folder_is_made(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU"):
        train(config, tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


# --- the best checkpoint


class Kept:
    """A sink that only remembers what it was asked to keep; what it cannot keep is `lost`."""

    def __init__(self, lost: frozenset[int] = frozenset()) -> None:
        self.saved: list[tuple[int, bool, bool]] = []
        self.recent: dict[int, list[int]] = {}  # by step of the checkpoint: the steps whose history is in it
        self.last_saved_step = 0
        self._lost = lost

    def save(self, step: int, tree, *, best: bool, last: bool) -> None:
        self.saved.append((step, best, last))
        self.recent[step] = [line["step"] for line in tree["tally"]["recent"]]
        if step not in self._lost:
            self.last_saved_step = step

    def latest(self):
        return None

    def save_model(self, bundle) -> None: ...


def choosing(config, ellipsoid_face, **cadence) -> Trainer:
    """A run that stands behind the beginning of EM."""
    run = Trainer(config.model_copy(update={"cadence": Cadence(**cadence)}), ellipsoid_face, Kept(), Callback())
    run.state.step = config.schedule.em_start + 1
    return run


def bests(run: Trainer, figures: list) -> list[bool]:
    return [run._is_best({"step": run.state.step, "photos": {"rmse_255": figure}}) for figure in figures]


@pytest.mark.usefixtures("ellipsoid_world")
def test_history_travels_with_the_next_checkpoint_that_is_whole(config, ellipsoid_face, record_of, monkeypatch):
    """Whoever goes on from a checkpoint, wherever, knows all steps since the one before: also past one that is lost.

    And some before that: a driver that dies misses what workers do until they notice.
    """
    monkeypatch.setattr(run_module, "HISTORY_OVERLAP_STEPS", 1)
    sink = Kept(lost=frozenset({2, 3}))
    run = Trainer(config.model_copy(update={"cadence": Cadence(checkpoint=1)}), ellipsoid_face, sink, Callback())
    for step in range(4):
        run.state.step = step + 1
        run.totals.recent.append(record_of(step).line())
        run.checkpoint()
    assert sink.recent == {1: [0], 2: [0, 1], 3: [0, 1, 2], 4: [0, 1, 2, 3]}
    run.state.step = 5
    run.totals.recent.append(record_of(4).line())
    run.checkpoint()
    assert sink.recent[5] == [3, 4]


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_run_that_is_stopped_says_whether_its_checkpoint_is_kept(config, ellipsoid_face):
    def stopped(sink: Kept, saved: tuple[int, ...]) -> FocusRayError:
        run = Trainer(config, ellipsoid_face, sink, Callback())
        for run.state.step in saved:
            run.checkpoint(last=True)
        return run.stop_error()

    kept = stopped(Kept(), (5,))
    assert isinstance(kept, Interrupted)
    assert "stopped after step 4, a checkpoint is written" in str(kept)
    lost = stopped(Kept(lost=frozenset({5})), (3, 5))
    assert isinstance(lost, StorageError)
    assert "could not be stored, the newest is that of step 3; fix the store" in str(lost)
    assert "there is no other" in str(stopped(Kept(lost=frozenset({5})), (5,)))


@pytest.mark.usefixtures("ellipsoid_world")
def test_without_faces_nothing_is_scored_without_labels(config, ellipsoid_face):
    heldout = config.heldout.model_copy(update={"size": 0, "unlabelled": True})
    run = Trainer(config.model_copy(update={"heldout": heldout}), ellipsoid_face, Kept(), Callback())
    run.score("init")
    assert run.totals.evaluations == [{"step": 0, "after": "init"}]


@pytest.mark.usefixtures("ellipsoid_world")
def test_an_evaluation_is_the_best_where_it_beats_all_before_it(config, ellipsoid_face):
    figures = [3.0, 2.0, 3.0, None, 4.0, 1.0, 1.0]
    run = choosing(config, ellipsoid_face, best="photos.rmse_255")
    assert bests(run, figures) == [True, False, False, False, True, False, False]
    assert run.totals.best == 4.0
    run = choosing(config, ellipsoid_face, best="photos.rmse_255", best_is="lowest")
    assert bests(run, figures) == [True, True, False, False, False, True, False]
    assert run.totals.best == 1.0


@pytest.mark.usefixtures("ellipsoid_world")
def test_no_model_of_the_initialisation_is_the_best(config, ellipsoid_face):
    run = choosing(config, ellipsoid_face, best="photos.rmse_255")
    run.state.step = config.schedule.em_start  # as the segmenter's first training leaves it
    assert bests(run, [9.0]) == [False]
    run.state.step += 1
    assert bests(run, [1.0]) == [True]


@pytest.mark.usefixtures("ellipsoid_world")
@pytest.mark.parametrize("kind", ["highest", "lowest"])
def test_best_json_points_at_the_checkpoint_of_the_best_evaluation(config, tmp_path, kind):
    cadence = config.cadence.model_copy(
        update={"evaluate": 1, "checkpoint": 100, "keep": 1, "best": "heldout.all.rmse_255", "best_is": kind}
    )
    heldout = config.heldout.model_copy(update={"refine": False})
    metrics = train(config.model_copy(update={"cadence": cadence, "heldout": heldout}), tmp_path / "run")
    scored = {entry["step"]: entry["heldout"]["all"]["rmse_255"] for entry in metrics["evaluations"]}
    in_em = {step: figure for step, figure in scored.items() if step > config.schedule.em_start}
    assert len(in_em) == 8
    chosen = (max if kind == "highest" else min)(in_em, key=in_em.__getitem__)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    best = checkpoints.best()
    assert best is not None
    assert best.step == chosen
    assert best.state["step"] == chosen
    assert best.state["tally"]["best"] == in_em[chosen]
    assert checkpoints.steps() == sorted({chosen, 14})  # all others are gone


@pytest.mark.usefixtures("ellipsoid_world")
def test_what_was_best_is_known_after_a_cut(config, tmp_path):
    cadence = config.cadence.model_copy(
        update={"evaluate": 1, "best": "heldout.all.rmse_255", "best_is": "highest", "keep": 99}
    )
    heldout = config.heldout.model_copy(update={"refine": False})
    config = config.model_copy(update={"cadence": cadence, "heldout": heldout})
    train(config, tmp_path / "straight")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "cut", callback=StopAfter(10))
    train(None, tmp_path / "cut")
    straight, cut = (Checkpoints(tmp_path / name / "checkpoints").best() for name in ("straight", "cut"))
    assert straight is not None
    assert cut is not None
    assert cut.step == straight.step
    assert cut.state["tally"]["best"] == straight.state["tally"]["best"]


# --- batches in parts


@pytest.mark.usefixtures("ellipsoid_world")
def test_a_batch_in_parts_trains_to_the_end(config, tmp_path, weights):
    once = Schedule(warmup_steps=1, init_steps=1, pretrain_seg_steps=1, cycles=1, seg_steps=1, face_steps=1)
    config = config.model_copy(update={"schedule": once, "heldout": config.heldout.model_copy(update={"size": 0})})

    def trained(accumulate: int) -> tuple[list, dict[str, torch.Tensor]]:
        compute = config.compute.model_copy(update={"accumulate": accumulate})
        run = tmp_path / str(accumulate)
        train(config.model_copy(update={"compute": compute}), run)
        return read_json_lines(run / "history.jsonl"), weights(run)

    (whole, at_once), (halves, in_two), (singles, in_four), (_, in_nine) = map(trained, (1, 2, 4, 9))
    for lines in (halves, singles):
        assert all(value is not None for line in lines for value in line["loss"].values())
        # An untrained head says the same of every face: the mean of the parts is then that of the whole batch.
        assert lines[0]["loss"]["total"] == pytest.approx(whole[0]["loss"]["total"], rel=1e-5)
    assert not torch.equal(at_once["encoder.stem.0.weight"], in_two["encoder.stem.0.weight"])  # batch norm of each part
    assert all(torch.equal(in_four[name], in_nine[name]) for name in in_four)  # no part without a face


@pytest.mark.usefixtures("ellipsoid_world")
def test_steps_without_a_finite_loss_are_written_down(config, tmp_path, monkeypatch):
    """Masks of such a batch are no numbers either; JSON has no word for them."""
    made = PrefetchSource.targets

    def poisoned(source: PrefetchSource, step: int):
        targets = made(source, step)
        return targets._replace(images=targets.images * float("nan")) if step in (7, 8) else targets

    monkeypatch.setattr(PrefetchSource, "targets", poisoned)
    metrics = train(config, tmp_path / "run")
    lines = read_json_lines(tmp_path / "run" / "history.jsonl")
    assert [line["step"] for line in lines if line["skipped"]] == [7, 8]
    assert [lines[step]["mask_mean"] for step in (7, 8)] == [None, None]
    assert metrics["nonfinite_steps"] == 2


# --- kill -9


@pytest.fixture
def command(python, small) -> list[str]:
    """The small run as a command of its own."""
    return [python, "-m", "focus_ray", "train", "--local", *(part for each in small for part in ("--set", each))]


def killed_and_resumed(folder: Path, command: list[str], environment: dict[str, str], step: int) -> None:
    """Train in a process of its own, kill -9 it once `step` is in the history, and resume until it ends."""
    command = [*command, "--out", str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    history = folder / "history.jsonl"
    deadline = time.monotonic() + 240
    while not (history.exists() and history.read_text().count("\n") > step) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed = [*command[: command.index("--local") + 1], "--resume", str(folder)]
    subprocess.run(resumed, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, small, weights) -> dict[str, torch.Tensor]:
    """The same run in this process, never killed, on the real parametric face."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(presets.load("embedded", None, small), folder)
    return weights(folder)


@pytest.mark.drill
@pytest.mark.parametrize("step", [1, 3, 5, 6, 8, 9, 11, 13])
def test_kill_minus_nine_in_every_phase_changes_nothing(straight, tmp_path, command, python_environment, step, weights):
    killed_and_resumed(tmp_path / "run", command, python_environment, step)
    after = weights(tmp_path / "run")
    assert all(torch.equal(straight[name], after[name]) for name in straight)
