"""The command line: quick, one line for each error, the right exit code, JSON where it is asked for."""

import gc
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

import focus_ray
from focus_ray import cli, errors
from focus_ray.cli.collection import CollectionPause
from focus_ray.runtime.ray_cluster import ClusterSettings


def all_errors(kind=errors.FocusRayError):
    return [kind, *(error for child in kind.__subclasses__() for error in all_errors(child))]


# The shortest way to the training function: a resumed run needs no configuration.
RESUME = ("train", "--resume", "runs/x")
ZERO_STEPS = "{warmup_steps: 0, init_steps: 0, pretrain_seg_steps: 0, cycles: 0}"
SHIPPED = Path(focus_ray.__file__).parent / "pretrained"
UNUSED_BY_RECONSTRUCT = {
    *("ray", "mlflow", "boto3", "botocore", "fastapi", "starlette", "uvicorn", "requests", "pyarrow", "pandas"),
    *(
        "optuna",
        "sklearn",
        "matplotlib",
        "jinja2",
        "trimesh",
        "sympy",
        "scipy.stats",
        "huggingface_hub",
    ),
    *("torch._dynamo", "torch._inductor", "torch.onnx"),
}
HEAVY = {"torch", "numpy", "numba", "cv2", "ray", "mlflow", "matplotlib", "pydantic", "rich"}


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def training(monkeypatch):
    """Stands in for training, on a cluster and in this process: records each call, then does what the test asks."""
    training = types.SimpleNamespace(calls=[], local_calls=[], outcome=lambda: {"steps": 7})

    def train_on_a_cluster(config, out, cluster, **options):
        training.calls.append((config, out, cluster, options))
        return training.outcome()

    def train_here(config, out, **options):
        training.local_calls.append((config, out, options))
        return training.outcome()

    stand_in(monkeypatch, "focus_ray.training.driver", train=train_on_a_cluster)
    stand_in(monkeypatch, "focus_ray.training.in_process", train=train_here)
    return training


def stand_in(monkeypatch, name: str, **content) -> None:
    """Another module under this name, whether the real one was imported before or not."""
    module = types.ModuleType(name)
    vars(module).update(content)
    package, _, own = name.rpartition(".")
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(importlib.import_module(package), own, module, raising=False)


def raising(error: BaseException):
    def outcome():
        raise error

    return outcome


# --- speed


def test_help_loads_nothing_heavy(python, python_environment):
    code = (
        "import sys\n"
        "from focus_ray.cli import main; code = main(['--help'])\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)"
    )
    result = subprocess.run([python, "-c", code], env=python_environment, capture_output=True, text=True, timeout=240)
    assert result.stderr.strip() == "0 []"
    assert "reconstruct" in result.stdout


def test_reconstruct_loads_nothing_that_it_does_not_use(python, python_environment, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    arguments = ["reconstruct", "face.png", "--box", "16,16,64,64", "--refine", "1", "--out", "results"]
    code = (
        "import sys\n"
        f"from focus_ray.cli import main; code = main({arguments})\n"
        f"print([code, *({UNUSED_BY_RECONSTRUCT} & set(sys.modules))])"
    )
    result = subprocess.run(
        [python, "-c", code], env=python_environment, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert result.stdout.splitlines() == ["1 face in 1 picture (1 ok): results/results.json", "[0]"], result.stderr


def test_waiting_threads_sleep_unless_the_environment_says_otherwise(capsys, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "")
    del os.environ["OPENBLAS_THREAD_TIMEOUT"]
    assert run(capsys, "--help")[0] == 0
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OPENBLAS_THREAD_TIMEOUT"]) == ("ACTIVE", "4")


def test_the_collection_at_the_end_of_python_leaves_out_what_there_is(python, python_environment):
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"  # handlers run in reverse order
        "from focus_ray.cli import main; main(['--help']); main(['--help'])"
    )
    out = subprocess.check_output([python, "-c", code], env=python_environment, text=True, timeout=240)
    assert out.splitlines()[-1] == "True"


def test_garbage_is_collected_from_the_second_unit_of_work_on():
    assert gc.isenabled()
    try:
        with CollectionPause() as pause:
            assert not gc.isenabled()
            pause.on_progress(0)
            assert (gc.isenabled(), gc.get_freeze_count() > 0) == (False, True)
            pause.on_progress(1)
            assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_garbage_is_collected_after_an_error_unless_it_was_not_before():
    with pytest.raises(ValueError, match="no model"), CollectionPause():
        raise ValueError("no model")
    assert gc.isenabled()
    gc.disable()
    try:
        with CollectionPause() as pause:
            pause.on_progress(0)
            pause.on_progress(1)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate", "folder"], ["reconstruct"], ["data", "synthesize"]])
def test_each_command_has_help(capsys, command):
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert out.startswith("Usage: focus-ray")


def options_of(*path: str) -> set[str]:
    import typer

    command = typer.main.get_command(cli.app)
    for name in path:
        command = command.commands[name]
    names = (name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts))
    return {name for name in names if name.startswith("--")}


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (("train",), "--preset --config --set --data --landmarks --steps --seed --out --resume --json"),
        (("train",), "--workers --gpu --cpus-per-worker --data-workers --max-failures --storage --experiment"),
        (("train",), "--promote --local"),
        (("track",), "--promote --json"),
        (("evaluate", "folder"), "--model --out --refine"),
        (("evaluate", "landmarks"), "--landmarks --detector --detector-weights --model --refine --no-fit --normalise"),
        (("evaluate", "landmarks"), "--least-overlap --out --tasks --local --json"),
        (("reconstruct",), "--model --out --landmarks --box --refine --format --texture --json"),
        (("data", "synthesize"), "--n --seed --size --out --layout --face"),
        (("data", "detect"), "--out --detector --detector-weights --least-face --recursive --tasks --local --json"),
        (("data", "prepare", "portraits"), "--out --json"),
        (("data", "prepare", "celebahq"), "--out --size --format --quality --detector --tasks --local --json"),
        (("model", "calibrate"), "--report --model --out --store --refine --detector --detector-weights --json"),
    ],
)
def test_the_options_of_the_contract_are_there(path, options):
    assert set(options.split()) <= options_of(*path)


# --- errors


@pytest.mark.parametrize("kind", all_errors())
def test_each_error_is_one_line_with_its_code(capsys, training, kind):
    training.outcome = raising(kind("the disk\nis full; free space"))
    code, out, err = run(capsys, *RESUME)
    assert code == kind.exit_code
    assert out == ""
    assert err == f"error[{cli.error_code(kind)}]: the disk is full; free space\n"


def test_the_codes_are_stable():
    assert {cli.error_code(kind) for kind in all_errors()} == {
        *("focus-ray", "config", "data", "image", "image-too-large", "landmark", "model", "checkpoint", "face-model"),
        *("storage", "no-such-object", "tracking", "service", "cluster", "search"),
        *("guard-stop", "mask-collapse", "non-finite-loss", "interrupted"),
    }
    assert {kind.exit_code for kind in all_errors()} == {1, 2, 3, 4, 5, 6, 130}


def test_an_unexpected_error_is_one_line_and_debug_shows_where(capsys, training):
    training.outcome = raising(KeyError("x"))
    code, _, err = run(capsys, *RESUME)
    assert code == 1
    assert err == (
        "error[internal]: KeyError: 'x'; this is a bug: run focus-ray --debug COMMAND and report what it shows\n"
    )
    code, _, err = run(capsys, "--debug", *RESUME)
    assert code == 1
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("error[internal]: KeyError")


def test_a_disk_that_refuses_anywhere_is_a_storage_error(capsys, training):
    training.outcome = raising(OSError(28, "No space left on device", "/run/history.jsonl"))
    code, _, err = run(capsys, *RESUME)
    assert code == 5
    assert err.startswith("error[storage]: [Errno 28] No space left on device: '/run/history.jsonl'; ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--foo"],
        ["train", "--steps", "0"],
        ["train", "--steps", "many"],
        ["train", "--workers", "0"],
        ["train", "--max-failures", "-2"],
        ["track"],
        ["nonsense"],
        ["reconstruct"],
        ["reconstruct", "a.png", "--refine", "-1"],
        ["reconstruct", "a.png", "--texture", "shiny"],
        ["data", "synthesize", "--n", "0", "--out", "x"],
        ["data", "synthesize", "--size", "4097", "--out", "x"],
        ["data", "synthesize", "--layout", "lfw", "--out", "x"],
        ["data", "synthesize", "--seed", str(2**63), "--out", "x"],
        ["evaluate", "folder"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error[usage]: ")
    assert err.count("\n") == 1
    assert err.endswith(" --help\n")


@pytest.mark.parametrize("arguments", [[], ["data"], ["evaluate"], ["model"]])
def test_a_group_without_a_command_answers_with_its_help(capsys, arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("Usage: focus-ray")


def test_an_error_is_not_help_for_its_first_word(capsys, monkeypatch):
    def fail(*_, **__):
        raise typer.TyperException("Usage: is what the argument says")

    monkeypatch.setattr(importlib.import_module("focus_ray.cli.main"), "app", fail)
    code, _, err = run(capsys, "version")
    assert code == 2
    assert err.startswith("error[usage]: Usage: is what")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "there is no preset 'huge'"),
        (["--set", "batch_size"], "does not have the form a.b=value"),
        (["--set", "em.colour=red"], "there is no key 'em.colour'"),
        (["--set", "batch_size=0"], "batch_size: Input should be greater than 0"),
        (["--config", "absent.yaml"], "cannot read the configuration absent.yaml"),
        (["--seed", str(2**63)], "seed: Input should be less than or equal to 9223372036854775807"),
        (["--set", "preset=paper"], "the preset is 'embedded', not 'paper'; leave the key out"),
        (["--set", "model.camera.image_size=1000000"], "image_size 1000000 is outside 16 to 1024 px"),
        (["--set", f"schedule={ZERO_STEPS}", "--steps", "5"], "a schedule without steps cannot be scaled to 5"),
        (["--landmarks", "a.csv"], "give their folder with --data"),
        (["--resume", "runs/x", "--seed", "3"], "--seed cannot be changed in a resumed run"),
        (["--resume", "runs/x", "--data", "photos"], "--data cannot be changed in a resumed run"),
        (["--resume", "runs/x", "--experiment", "faces"], "--experiment cannot be changed in a resumed run"),
        (["--resume", "runs/x", "--out", "runs/y"], "is not the folder of --resume"),
        (["--local", "--workers", "2"], "--workers cannot be combined with --local"),
        (["--local", "--storage", "s3://bucket/runs"], "--storage cannot be combined with --local"),
        (["--local", "--experiment", "faces"], "--experiment cannot be combined with --local"),
        (["--local", "--data-workers", "1"], "--data-workers cannot be combined with --local"),
        (["--local", "--promote"], "--promote cannot be combined with --local"),
        (["--resume", "ftp://host/run"], "is not a store"),
    ],
)
def test_a_wrong_configuration_is_refused_before_anything_runs(capsys, training, arguments, message):
    code, _, err = run(capsys, "train", *arguments)
    assert code == 2
    assert err.startswith("error[config]: ")
    assert message in err
    assert err.count("\n") == 1
    assert training.calls == training.local_calls == []


@pytest.mark.parametrize("layout", ["folder", "now", "ar", "celebahq"])
def test_synthetic_faces_have_the_layout_that_is_asked_for(capsys, monkeypatch, layout):
    calls = []
    stand_in(
        monkeypatch, "focus_ray.data.synthetic_folder", write_folder=lambda *a, **k: calls.append(("folder", a, k))
    )
    stand_in(
        monkeypatch, "focus_ray.data.dataset_writers", write_dataset=lambda kind, *a, **k: calls.append((kind, a, k))
    )
    asked = [] if layout == "folder" else ["--layout", layout]
    code, out, err = run(capsys, "data", "synthesize", "--out", "x", "--n", "4", "--size", "32", *asked, "--json")
    assert (code, err) == (0, "")
    ((kind, places, options),) = calls
    assert (kind, places) == (layout, (Path("x"),))
    assert {key: options[key] for key in ("n", "seed", "size")} == {"n": 4, "seed": 0, "size": 32}
    said = json.loads(out.splitlines()[-1])
    assert said == {"out": "x", "n": 4, "seed": 0, "size": 32, "layout": layout, "face": None}
    assert options["world"] is None
    assert run(capsys, "data", "synthesize", "--out", "x", *asked, "--face", "ict")[0] == 0
    assert calls[-1][2]["world"].name == "ict"


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3,x", "1,2,0,5", "1,2,3,-4", "nan,1,2,nan", "nan,1,2,3", "1,2,inf,3"])
def test_a_wrong_box_is_refused(box):
    with pytest.raises(errors.ConfigError, match=r"--box .*; "):
        cli.reconstruct._parse_box(box)


def test_another_preset_in_the_file_is_refused_and_the_same_is_not(capsys, training, tmp_path):
    (tmp_path / "c.yaml").write_text("preset: paper\n")
    code, _, err = run(capsys, "train", "--preset", "embedded", "--config", str(tmp_path / "c.yaml"))
    assert code == 2
    assert "the preset is 'embedded', not 'paper'; leave the key out" in err
    assert run(capsys, "train", "--preset", "paper", "--config", str(tmp_path / "c.yaml"))[0] == 0
    assert run(capsys, "train", "--config", str(tmp_path / "c.yaml"))[0] == 0  # it chooses the preset itself
    assert [config.preset for config, *_ in (call for call in training.calls)] == ["paper", "paper"]


def test_json_gives_errors_as_json_too(capsys, training):
    training.outcome = raising(errors.MaskCollapse("all outlier; raise the area weight"))
    code, out, _ = run(capsys, *RESUME, "--json")
    assert code == 6
    assert json.loads(out.splitlines()[-1]) == {
        "error": {"code": "mask-collapse", "message": "all outlier; raise the area weight"},
        "exit_code": 6,
    }


# --- what train passes on


def test_train_resolves_preset_file_assignments_seed_and_steps(capsys, training, tmp_path):
    (tmp_path / "c.yaml").write_text("batch_size: 5\nseed: 1\nheldout: {size: 9}\n")
    code, out, _ = run(
        capsys,
        *("train", "--config", str(tmp_path / "c.yaml"), "--set", "heldout.size=3", "--set", "cadence.log=2"),
        *("--seed", "4", "--steps", "64", "--out", str(tmp_path / "run"), "--json"),
    )
    assert code == 0
    (config, folder, cluster, options) = training.calls[0]
    assert folder == tmp_path / "run"
    assert (config.preset, config.batch_size, config.seed, config.heldout.size) == ("embedded", 5, 4, 3)
    assert (config.cadence.log, config.schedule.total_steps) == (2, 64)
    assert cluster == ClusterSettings()
    assert options.pop("callback")
    assert options == {"storage": None, "experiment": "focus", "promote": False}
    assert json.loads(out.splitlines()[-1]) == {"run": str(tmp_path / "run"), "steps": 7}
    assert training.local_calls == []


def test_train_asks_for_the_cluster_that_is_wanted(capsys, training, tmp_path):
    code, _, _ = run(
        capsys,
        *("train", "--workers", "8", "--gpu", "--cpus-per-worker", "6", "--data-workers", "4", "--max-failures", "-1"),
        *("--storage", "s3://bucket/runs", "--experiment", "faces", "--promote", "--out", str(tmp_path / "run")),
    )
    assert code == 0
    _, _, cluster, options = training.calls[0]
    asked = {"workers": 8, "gpu": True, "cpus_per_worker": 6, "data_workers": 4, "max_failures": -1}
    assert cluster == ClusterSettings(**asked)
    assert options.pop("callback")
    assert options == {"storage": "s3://bucket/runs", "experiment": "faces", "promote": True}


def test_photographs_select_adaptation_and_resume_takes_the_run_as_it_is(capsys, training, tmp_path):
    assert run(capsys, "train", "--data", str(tmp_path), "--landmarks", "l.csv")[0] == 0
    assert run(capsys, "train", "--resume", str(tmp_path), "--workers", "2")[0] == 0
    (config, folder, _, _), (resumed, resumed_folder, cluster, _) = training.calls
    assert (config.preset, folder) == ("adapt", Path("runs/adapt"))
    assert (config.photos, config.landmarks) == (str(tmp_path), str(Path("l.csv").absolute()))
    assert (resumed, resumed_folder, cluster.workers) == (None, tmp_path, 2)


def test_photographs_may_lie_in_a_store(capsys, training):
    assert run(capsys, "train", "--data", "s3://bucket/faces")[0] == 0
    config = training.calls[0][0]
    assert (config.preset, config.photos, config.landmarks) == ("adapt", "s3://bucket/faces", None)


@pytest.mark.parametrize(("option", "device"), [([], "cpu"), (["--gpu"], "cuda")])
def test_local_trains_in_this_process(capsys, training, tmp_path, option, device):
    code, out, _ = run(capsys, "train", "--local", *option, "--seed", "3", "--out", str(tmp_path / "run"), "--json")
    assert code == 0
    assert training.calls == []
    ((config, folder, options),) = training.local_calls
    assert (config.seed, folder, options["device"]) == (3, tmp_path / "run", device)
    assert json.loads(out.splitlines()[-1]) == {"run": str(tmp_path / "run"), "steps": 7}


@pytest.mark.parametrize("out", [None, "elsewhere"])
def test_a_run_in_a_store_is_brought_here_before_it_goes_on(capsys, training, monkeypatch, out):
    asked = []

    def restore_run_dir(uri, folder):
        asked.append((uri, folder))
        return folder or Path("runs/one")

    stand_in(monkeypatch, "focus_ray.training.run_folder_sync", restore_run_dir=restore_run_dir)
    given = [] if out is None else ["--out", out]
    assert run(capsys, "train", "--resume", "s3://bucket/runs/one", *given)[0] == 0
    assert asked == [("s3://bucket/runs/one", None if out is None else Path(out))]
    assert training.calls[0][:2] == (None, Path(out or "runs/one"))


def test_track_sends_a_run_and_says_what_was_sent(capsys, monkeypatch, tmp_path):
    @dataclass
    class Sent:
        mlflow_run: str = "0123"
        complete: bool = True

    asked = []

    def track(folder, tracking, *, promote, note):
        asked.append((folder, tracking, promote))
        note("3 steps are sent")
        return Sent()

    stand_in(
        monkeypatch,
        "focus_ray.tracking.mlflow_tracker",
        track=track,
        TrackingSettings=lambda: "as the environment says",
    )
    code, out, err = run(capsys, "track", str(tmp_path), "--promote", "--json")
    assert code == 0
    assert asked == [(tmp_path, "as the environment says", True)]
    assert err == "3 steps are sent\n"
    assert json.loads(out.splitlines()[-1]) == {"mlflow_run": "0123", "complete": True}


@dataclass
class Picture:
    status: str
    message: str = ""
    faces: list[int] = field(default_factory=list)
    image: str = "photos/a.jpg"


@pytest.fixture
def reconstruction(monkeypatch):
    """Stands in for the reconstruction: records its call and gives the results that the test asks for."""
    module = types.ModuleType("focus_ray.inference")
    module.calls = []
    module.results = [Picture("ok", faces=[1, 2]), Picture("no_face"), Picture("error", "truncated")]

    def reconstruct_paths(paths, out, **options):
        module.calls.append((paths, out, options))
        return module.results

    module.reconstruct_paths = reconstruct_paths
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_reconstruct_passes_everything_on_and_counts(capsys, reconstruction, tmp_path):
    code, out, _ = run(
        capsys,
        *("reconstruct", "a.jpg", "b", "--model", "m", "--out", str(tmp_path), "--landmarks", "l.csv"),
        *("--box", "1,2,30,40.5", "--refine", "0", "--format", "obj, glb", "--prior", "p", "--json"),
        *("--detector", "haar", "--texture", "albedo"),
    )
    assert code == 0
    paths, folder, options = reconstruction.calls[0]
    assert (paths, folder) == ([Path("a.jpg"), Path("b")], tmp_path)
    assert options.pop("progress")
    assert options.pop("detector").info.name == "haar"
    assert options == {
        "model": Path("m"),
        "landmarks": Path("l.csv"),
        "box": (1.0, 2.0, 30.0, 40.5),
        "refine": 0,
        "formats": ("obj", "glb"),
        "texture": "albedo",
        "prior": "p",
        "recursive": False,
        "settings": None,
    }
    summary, last = out.splitlines()
    assert summary == f"2 faces in 3 pictures (1 ok, 1 no face, 1 error): {tmp_path / 'results.json'}"
    counts = {"images": 3, "faces": 2, "ok": 1, "no_face": 1, "error": 1, "left_out": {}}
    assert json.loads(last) == {"results": str(tmp_path / "results.json"), **counts}


def test_settings_of_a_reconstruction():
    assert cli.reconstruct._parse_settings(["rasterizer=torch"]).rasterizer == "torch"
    with pytest.raises(errors.ConfigError, match="rasterizer"):
        cli.reconstruct._parse_settings(["rasterizer=opengl"])


def test_reconstruct_counts_what_is_left_out(capsys, reconstruction, tmp_path):
    reconstruction.results = [Picture("ok", faces=[1])]
    reconstruction.results += [Picture("left_out", reason) for reason in ("TIFF", "subfolder", "TIFF")]
    code, out, _ = run(capsys, "reconstruct", "a", "--out", str(tmp_path), "--json")
    assert code == 0
    summary, left_out, last = out.splitlines()
    assert summary.startswith("1 face in 1 picture (1 ok)")
    assert left_out == "left out: 2 TIFF, 1 subfolder; --recursive includes subfolders"
    assert json.loads(last)["left_out"] == {"TIFF": 2, "subfolder": 1}


def test_reconstruct_fails_only_where_every_picture_does(capsys, reconstruction, tmp_path):
    reconstruction.results = [Picture("no_face", "no face"), Picture("error", "photos/a.jpg: truncated")]
    code, _, err = run(capsys, "reconstruct", "a", "--out", str(tmp_path))
    assert code == 0
    assert err.splitlines()[-2:] == ["photos/a.jpg: no face", "photos/a.jpg: truncated"]
    reconstruction.results = [Picture("error", "a.jpg is truncated"), Picture("error", "b.jpg is empty")]
    code, _, err = run(capsys, "reconstruct", "a", "--out", str(tmp_path))
    assert code == 3
    assert err.splitlines()[-1].startswith("error[data]: no picture could be read; see ")
    reconstruction.results = [Picture("error", "the box lies outside the picture")]
    code, _, err = run(capsys, "reconstruct", "a", "--out", str(tmp_path))
    assert (code, err.splitlines()[-1]) == (3, "error[data]: the box lies outside the picture")


def test_reconstruct_names_the_first_pictures_without_a_face(capsys, reconstruction, tmp_path):
    reconstruction.results = [Picture("no_face", "no face", image=f"{number}.jpg") for number in range(7)]
    code, _, err = run(capsys, "reconstruct", "a", "--out", str(tmp_path))
    assert code == 0
    assert err.splitlines()[-6:] == [
        *(f"{number}.jpg: no face" for number in range(5)),
        f"and 2 more, see {tmp_path / 'results.json'}",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_outside_a_run_is_130(python, python_environment, number):
    code = (
        "import signal, sys, time, types\n"
        "from focus_ray import cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background begins with it ignored
        "module = types.ModuleType('focus_ray.doctor')\n"
        "def examine(storage): print('ready', flush=True); time.sleep(60)\n"
        "module.examine = examine\n"
        "sys.modules['focus_ray.doctor'] = module\n"
        "sys.exit(cli.main(['doctor']))\n"
    )
    process = subprocess.Popen(
        [python, "-c", code], env=python_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "error[interrupted]: interrupted; no file is left partially written\n"


def test_sigterm_is_answered_as_before_when_a_command_has_ended(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert run(capsys, "--version")[0] == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_runs_in_another_thread_too(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]


# --- small commands


def test_doctor_says_what_is_there(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 0
    findings = json.loads(out)
    assert findings["packages"]["torch"].startswith("2.")
    assert findings["rasterizers"]["torch"] is True
    assert findings["cpu"]["count"] >= 1
    assert findings["model"]["verified"] is True


def test_model_info_reads_and_verifies(capsys, tmp_path):
    import torch

    from focus_ray.storage.checkpoint import save_model

    save_model(tmp_path / "model", {"encoder": {"w": torch.ones(3, 2)}}, {"version": "v1"})
    code, out, _ = run(capsys, "model", "info", str(tmp_path / "model"), "--json")
    assert code == 0
    assert json.loads(out)["parameters"] == {"encoder": 6}
    (tmp_path / "model" / "model.json").write_text("{}")
    code, _, err = run(capsys, "model", "info", str(tmp_path / "model"))
    assert code == 4
    assert err.startswith("error[checkpoint]: ")


def test_model_info_prints_the_licences_and_the_card(capsys):
    _, out, _ = run(capsys, "model", "info", "--json")
    licences = json.loads(out)["licences"]
    assert licences["verdict"].startswith("May be sold")
    assert {"code", "face model", "training data", "server"} <= {part["part"] for part in licences["parts"]}
    _, out, _ = run(capsys, "model", "info")
    assert licences["verdict"] in out.splitlines()[-1]
    code, out, _ = run(capsys, "model", "info", "--card")
    assert (code, out.splitlines()[0]) == (0, "# 3D face reconstruction (focus-ray)")


def test_model_info_names_the_face_that_is_loaded(capsys, tmp_path):
    """Half precision rounds the bases: the digest is that of the rounded ones, which a prior must name."""
    from focus_ray import model, prior

    loaded = model.load(SHIPPED).focus.face_model.digest
    assert prior.load(prior.SHIPPED_PRIOR).info.face_model_digest == loaded
    assert run(capsys, "model", "export", str(SHIPPED), "--out", str(tmp_path / "model"), "--half")[0] == 0
    assert json.loads((tmp_path / "model" / "model.json").read_text())["face"]["digest"] == loaded
    for folder in (SHIPPED, tmp_path / "model"):
        _, out, _ = run(capsys, "model", "info", str(folder), "--json")
        assert json.loads(out)["info"]["face"]["digest"] == loaded


def test_model_info_of_a_face_that_is_not_described(capsys, tmp_path):
    from focus_ray.storage.checkpoint import load_model, save_model

    stored = load_model(SHIPPED)
    save_model(tmp_path / "model", stored.networks, {**stored.info, "face": {}})
    code, _, err = run(capsys, "model", "info", str(tmp_path / "model"))
    assert code == 4
    assert "name, n_identity or expressions are missing or malformed" in err


def test_model_export_keeps_what_it_did_not_write(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, err = run(capsys, "model", "export", str(SHIPPED), "--out", str(tmp_path))
    assert code == 2
    assert "holds other things than a model; choose another folder" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    for _ in range(2):  # a model may take the place of a model
        assert run(capsys, "model", "export", str(SHIPPED), "--out", str(tmp_path / "model"))[0] == 0


def test_model_export_shifts_the_logits_of_the_masks(capsys, tmp_path):
    import torch

    from focus_ray import model

    out = tmp_path / "model"
    assert run(capsys, "model", "export", str(SHIPPED), "--out", str(out), "--mask-bias", "1.5")[0] == 0
    before, after = model.load(SHIPPED), model.load(out)
    images = torch.rand(2, 3, before.image_size, before.image_size, generator=torch.Generator().manual_seed(1))
    first, second = (one.focus.segmenter(images.flip(3), images) for one in (before, after))
    torch.testing.assert_close(second, first + 1.5, rtol=0, atol=1e-4)
    assert after.version.partition("-")[0] == before.version.partition("-")[0]
    assert after.version != before.version
    assert after.appearance is None
    assert after.lineage.appearance is None


def test_the_version(capsys):
    code, out, _ = run(capsys, "--version")
    assert (code, out) == (0, f"{focus_ray.__version__}\n")


# --- the misfit prior


@pytest.fixture
def building(monkeypatch):
    """Stands in for the building of priors: records each call."""
    from tests.test_prior import REDUCTION

    figures = types.SimpleNamespace(**REDUCTION.model_dump())
    info = types.SimpleNamespace(
        applied="posed",
        figures={"posed": figures},
        shards_computed=3,
        shards_kept=1,
        faces_per_s=None,
        by_default=False,
        model_dump=lambda mode: {"n": 1000},
    )
    building = types.SimpleNamespace(calls=[], tracked=[])

    def build(config, out, pool, **options):
        building.calls.append((config, out, pool, options))
        return info

    stand_in(monkeypatch, "focus_ray.priors.build", compute_prior=build)
    from focus_ray.tracking import mlflow_tracker

    monkeypatch.setattr(mlflow_tracker, "track_quietly", lambda out, note: building.tracked.append(out))
    return building


def test_a_prior_is_built_as_it_is_asked_for(capsys, building, tmp_path):
    code, out, _ = run(
        capsys,
        *("prior", "build", "--model", "s3://bucket/runs/syn/model", "--for", "r", "--out", str(tmp_path / "prior")),
        *("--n", "1000", "--shard-size", "100", "--seed", "3", "--refine", "2", "--aligned", "--target", "0.01"),
        *("--tasks", "4", "--gpu-share", "0.25", "--storage", "s3://bucket/priors", "--set", "gate.faces=50", "--json"),
    )
    assert code == 0
    config, folder, pool, options = building.calls[0]
    assert config.model == "s3://bucket/runs/syn/model"
    assert config.applied_to == str(Path("r").absolute())
    assert (config.n, config.shard_size, config.seed, config.refine_steps) == (1000, 100, 3, 2)
    assert (config.aligned, config.target_mm, config.gate.faces) == (True, 0.01, 50)
    assert (pool.tasks, pool.gpu_share) == (4, 0.25)
    assert options["storage"] == "s3://bucket/priors"
    assert folder == tmp_path / "prior"
    assert building.tracked == [folder]
    *told, last = out.splitlines()
    assert "shards: 3 computed, 1 reused" in told
    assert json.loads(last) == {"prior": str(folder / "prior"), "n": 1000, "by_default": False}


def test_a_prior_can_be_built_in_this_process(capsys, building, tmp_path):
    assert run(capsys, "prior", "build", "--model", "m", "--out", str(tmp_path), "--local")[0] == 0
    assert building.calls[0][2] is None
    assert building.tracked == []


def test_r_syn_is_trained_by_the_command_that_trains_r(capsys, training, tmp_path):
    assert run(capsys, "prior", "train", "--steps", "50", "--out", str(tmp_path))[0] == 0
    config = training.calls[0][0]
    assert config.preset == "misfit"
    assert config.schedule.total_steps == 50
    assert run(capsys, "prior", "train", "--resume", str(tmp_path))[0] == 0
    assert training.calls[1][0] is None


def test_a_prior_is_shown_and_a_damaged_one_is_not(capsys, small_face, tmp_path):
    from focus_ray import prior
    from tests.priors.conftest import stand_in as model_of
    from tests.test_prior import prior_of

    prior.save(tmp_path / "prior", prior_of(model_of(small_face)))
    code, out, _ = run(capsys, "prior", "show", str(tmp_path / "prior"), "--json")
    assert code == 0
    assert json.loads(out)["n"] == 1000
    assert json.loads(out)["default_for"] is None
    (tmp_path / "prior" / "prior.json").write_text("{}")
    assert run(capsys, "prior", "show", str(tmp_path / "prior"))[0] == 4


# --- tune


def test_a_sweep_needs_a_file_or_a_folder(capsys, tmp_path):
    code, _, err = run(capsys, "tune")
    assert code == 2
    assert "no search file is given" in err
    code, _, err = run(capsys, "tune", "a.yaml", "--resume", str(tmp_path))
    assert code == 2
    assert "give no search file" in err
    for option in ("--experiment", "--data", "--judge-data"):
        code, _, err = run(capsys, "tune", "--resume", str(tmp_path), option, "other")
        assert code == 2
        assert option in err
    code, _, err = run(capsys, "tune", "--resume", str(tmp_path))
    assert code == 2
    assert "is not the folder of a sweep" in err
    (tmp_path / "config.json").write_text('{"preset": "embedded", "batch_size": 4}')
    code, _, err = run(capsys, "tune", "--resume", str(tmp_path))
    assert code == 2
    assert "is not the configuration of a sweep" in err
    code, _, err = run(capsys, "tune", str(tmp_path / "nothing.yaml"))
    assert code == 2
    assert "cannot read" in err


def test_a_sweep_without_a_best_names_none_and_is_no_success(capsys, tmp_path, monkeypatch):
    from focus_ray.tuning import search, sweep
    from focus_ray.tuning.results import SweepResults, TrialResult

    failed = TrialResult(id="t0", status="failed", cause="no pictures", config={})
    nothing = SweepResults(
        objective="planted", mode="max", trials=(failed,), best=None, default={}, rank_correlation={}, importance={}
    )
    monkeypatch.setattr(search, "read_search", lambda *_: None)
    monkeypatch.setattr(sweep, "run_sweep", lambda *_, **__: nothing)
    code, out, err = run(capsys, "tune", "search.yaml", "--out", str(tmp_path))
    assert code == 1
    assert "1 failed" in out
    assert "best.yaml" not in out
    assert "no trial finished" in err


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("space={initialise.ix: {values: [1]}}", "initialise.ix"),
        ("scheduler.kind=hyperband", "scheduler.kind"),
        ("space={initialise.xi: {low: -1, high: 1}}", "initialise.xi"),
    ],
)
def test_a_sweep_that_cannot_run_leaves_nothing_behind(assignment, said, tmp_path, project_root, capsys):
    folder = tmp_path / "sweep"
    search = str(project_root / "tune_configs/smoke.yaml")
    code, _, err = run(capsys, "tune", search, "--out", str(folder), "--set", assignment, "--set", "searcher=random")
    assert code == 2
    assert said in err
    assert not folder.exists()


def test_a_sweep_on_photographs_needs_both_folders(tmp_path, project_root, capsys):
    search = str(project_root / "tune_configs/portrait.yaml")
    folder = tmp_path / "sweep"
    for options, said in (
        ((), "preset portrait_em is trained on photographs"),
        (("--data", str(tmp_path)), "photographs.judge"),
        (("--judge-data", str(tmp_path)), "photographs.train"),
    ):
        code, _, err = run(capsys, "tune", search, "--out", str(folder), *options)
        assert code == 2
        assert said in err
    empty = ("--data", str(tmp_path), "--judge-data", str(tmp_path))
    code, _, err = run(capsys, "tune", search, "--out", str(folder), *empty)
    assert code == 3
    assert "no landmarks.csv" in err
    assert not folder.exists()


# --- portraits


def test_prepared_portraits_are_counted_and_the_next_command_is_named(capsys, tmp_path, monkeypatch):
    from focus_ray.data import portraits

    (tmp_path / "images").mkdir()
    (tmp_path / "images/A1.jpg").write_bytes(b"one")
    listed = [portraits.Portrait("A1.jpg", hashlib.sha256(b"one").hexdigest(), "train")]
    monkeypatch.setattr(portraits, "read_portrait_list", lambda: listed)
    out = tmp_path / "out"
    code, text, _ = run(capsys, "data", "prepare", "portraits", str(tmp_path), "--out", str(out), "--json")
    assert code == 0
    assert (out / "train/A1.jpg").read_bytes() == b"one"
    assert f"landmarks to train on: focus-ray data detect {out / 'train'}" in text
    assert json.loads(text.splitlines()[-1]) == {"out": str(out), "report": 0, "choose": 0, "train": 1}
    (tmp_path / "images/A1.jpg").write_bytes(b"two")
    code, _, err = run(capsys, "data", "prepare", "portraits", str(tmp_path), "--out", str(out))
    assert code == 3
    assert "1 are other files (A1.jpg)" in err


def test_a_set_is_prepared_and_its_counts_and_terms_are_said(capsys, tmp_path):
    from tests.data.dataset_writers.sets import written

    place = written("celebahq", tmp_path)
    out = str(tmp_path / "store")
    code, text, _ = run(
        capsys, "data", "prepare", "celebahq", str(place), "--out", out, "--size", "32", "--local", "--json"
    )
    assert code == 0
    assert text.startswith(f"12 of 12 pictures (2 test, 8 train, 2 val): {out}\nterms of CelebAMask-HQ: non-commercial")
    assert json.loads(text.splitlines()[-1])["splits"] == {"test": 2, "train": 8, "val": 2}
    code, _, err = run(capsys, "data", "prepare", "300w", str(place), "--out", out)
    assert code == 3
    assert ".pts file beside it" in err
