"""The command line: each command reads its options, calls one function of the package and says what came out.

Nothing heavy is imported before a command runs, so that `focus-ray --help` answers at once.

Exit codes: 0 ok, 2 usage or configuration, 3 input data, 4 model or checkpoint, 5 storage or tracking, 6 stopped by a
guard, 130 interrupted, 1 anything else. Errors are one line on stderr: error[CODE]: what is wrong; what to do.
"""

import dataclasses
import json
import logging
import math
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from focus_ray import __version__
from focus_ray.errors import ConfigError, DataError, FocusRayError, StorageError

EXIT_UNEXPECTED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
MAX_SEED = 2**63 - 1
MAX_PICTURE_PX = 4096
MOST_PROBLEMS = 20  # lines

plain: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "add_completion": False}
app = typer.Typer(name="focus-ray", help="Occlusion-robust 3D face reconstruction (FOCUS).", **plain)
evaluate_app = typer.Typer(help="Score a model against faces whose truth is known.", **plain)
data_app = typer.Typer(help="Make data sets.", **plain)
prior_app = typer.Typer(help="The misfit prior: what the pipeline gets wrong on average (section 3.4).", **plain)
model_app = typer.Typer(help="Look at, check and copy model folders.", **plain)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(data_app, name="data")
app.add_typer(prior_app, name="prior")
app.add_typer(model_app, name="model")

AsJson = Annotated[bool, typer.Option("--json", help="The last line on stdout is one JSON object.")]
ModelFolder = Annotated[
    Path | None,
    typer.Option("--model", metavar="DIR", help="Model folder, RUN/model for instance; else the shipped one."),
]
PriorFolder = Annotated[
    str | None,
    typer.Option("--prior", metavar="DIR", help="Misfit prior that corrects the meshes, OUT/prior, or none."),
]
Landmarks = Annotated[
    Path | None,
    typer.Option("--landmarks", metavar="CSV", help="68 landmarks: a line holds a file name and 136 numbers."),
]


def show_version(wanted: bool) -> bool:
    """Say the version and leave, if that is wanted."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Occlusion-robust 3D face reconstruction (FOCUS).

    Train without occlusion labels, reconstruct faces in photographs, and see which pixels were not face.
    """
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("focus_ray").setLevel(level)


@app.command()
def train(
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="embedded | paper | release | adapt | misfit, or a baseline (mofa, ...); unless given: embedded, "
            "adapt with --data, misfit for `prior train`.",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="YAML", help="Keys laid over the preset.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of the configuration; repeatable.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Photographs to train on, in place of synthetic faces; s3:// goes too."),
    ] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(metavar="CSV", help="68 landmarks: a line holds a file name and 136 numbers."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all; every phase in proportion.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything that is random.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run; runs/PRESET unless given.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on with the run in this folder, or at s3://bucket/prefix/NAME."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share each batch.")] = 1,
    gpu: Annotated[bool, typer.Option("--gpu", help="A GPU for each worker.")] = False,
    cpus: Annotated[
        int | None, typer.Option("--cpus-per-worker", min=1, help="Cores of a worker; a fair share unless given.")
    ] = None,
    data_workers: Annotated[int, typer.Option(min=0, help="Processes that make batches for each worker.")] = 0,
    max_failures: Annotated[int, typer.Option(min=-1, help="Lost workers before the run gives up; -1: never.")] = 10,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Keep checkpoints in a folder or s3://bucket/prefix, not in the run folder."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="MLflow experiment; focus unless given.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="The finished model becomes `production` in MLflow's registry.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Train in this process, without Ray and MLflow: for debugging.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model: on synthetic faces made on the fly, or on your own photographs."""
    from focus_ray import terminal

    if resume is not None:
        _refuse_with_resume(
            preset=preset,
            config=config,
            set=assignments,
            data=data,
            landmarks=landmarks,
            steps=steps,
            seed=seed,
            experiment=experiment,
        )
        folder, resolved = _folder_to_resume(resume, out), None
    else:
        if landmarks is not None and data is None:
            raise ConfigError("--landmarks belong to photographs; give their folder with --data")
        preset = preset or ("embedded" if data is None else "adapt")
        folder = out or Path("runs") / preset
        resolved = _run_config(preset, config, assignments or [], steps, seed, data, landmarks)
    with terminal.progress() as progress:
        if local:
            _refuse_with_local(
                workers=workers != 1,
                storage=storage,
                experiment=experiment,
                data_workers=data_workers,
                promote=promote,
            )
            from focus_ray.training import plain

            metrics = plain.train(resolved, folder, watcher=progress, device="cuda" if gpu else "cpu")
        else:
            from focus_ray.training import launch
            from focus_ray.training.cluster import ClusterSettings

            cluster = ClusterSettings(
                workers=workers, gpu=gpu, cpus_per_worker=cpus, data_workers=data_workers, max_failures=max_failures
            )
            metrics = launch.train(
                resolved,
                folder,
                cluster,
                storage=storage,
                experiment=experiment or "focus",
                promote=promote,
                watcher=progress,
            )
    typer.echo(f"report: {folder / 'report.html'}\nmodel:  {folder / 'model'}")
    if as_json:
        _echo_json({"run": str(folder), **metrics})


@app.command("track")
def track_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    promote: Annotated[
        bool, typer.Option("--promote", help="Its model becomes `production` in MLflow's registry.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send to MLflow what it does not have of a run yet, for instance after it was out of reach."""
    from focus_ray.tracking.mlflow_tracker import Tracking, track

    sent = track(run, Tracking(), promote=promote, note=lambda message: typer.echo(message, err=True))
    typer.echo(f"MLflow has all of {run}")
    if as_json:
        _echo_json(dataclasses.asdict(sent))


@evaluate_app.command("folder")
def evaluate_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="images/ masks/ landmarks.csv, truth.npz optional.")],
    model: ModelFolder = None,
    out: Annotated[Path | None, typer.Option(metavar="JSON", help="Write the figures to this file too.")] = None,
    refine: Annotated[int, typer.Option(min=0, metavar="STEPS", help="Refinement steps; 0 is one forward pass.")] = 0,
    prior: Annotated[
        Path | None, typer.Option("--prior", metavar="DIR", help="Misfit prior whose effect is scored besides.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on a folder as `data synthesize` writes it."""
    from focus_ray import terminal
    from focus_ray.evaluation.folder import evaluate_folder as evaluate

    with terminal.progress() as progress:
        watch = partial(progress.task, "scoring")
        scores = evaluate(folder, model or _shipped_model(), out, refine, watch, prior)
    _echo_record(scores, as_json)


DataRoot = Annotated[str, typer.Option("--data", metavar="DIR", help="The data set; s3://bucket/prefix goes too.")]
PredictionFolders = Annotated[
    list[str],
    typer.Option("--predictions", metavar="[NAME=]DIR", help="A method's folder of predictions; repeatable."),
]
EvaluationFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder of the evaluation; the same command goes on there.")
]
Tasks = Annotated[int, typer.Option("--tasks", min=1, help="Ray tasks at a time, a core each.")]
InThisProcess = Annotated[bool, typer.Option("--local", help="In this process, without Ray and MLflow.")]
Experiment = Annotated[str | None, typer.Option(metavar="NAME", help="MLflow experiment; focus unless given.")]


@evaluate_app.command("predict")
def predict_data_set(
    data: DataRoot,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where masks, renderings and meshes go.")],
    model: ModelFolder = None,
    name: Annotated[str | None, typer.Option(help="What the method is called; else the model's version.")] = None,
    mask: Annotated[str, typer.Option(metavar="own|all_ones", help="Which pixels count as face.")] = "own",
    prior: PriorFolder = None,
    refine: Annotated[int, typer.Option(min=0, metavar="STEPS", help="Refinement steps; 0 is one forward pass.")] = 0,
    split: Annotated[str, typer.Option(metavar="validation|test", help="Of NoW.")] = "validation",
    tasks: Tasks = 2,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """Let a model answer on a data set: masks, renderings, and for NoW neutral meshes with their landmarks."""
    from focus_ray import terminal
    from focus_ray.evaluation.run import predict_on
    from focus_ray.training.tasks import PoolSettings

    if mask not in ("own", "all_ones"):
        raise ConfigError(f"--mask {mask!r}: choose own or all_ones")
    pool = None if local else PoolSettings(tasks=tasks)
    with terminal.progress() as progress:
        watch = partial(progress.task, "predicting")
        options = {"name": name, "mask": mask, "prior": prior, "refine": refine}
        done, problems = predict_on(data, model, out, pool, split=_split(split), progress=watch, **options)
    _say_problems(problems)
    typer.echo(f"{done} pictures: {out}")
    if as_json:
        _echo_json({"out": str(out), "pictures": done, "problems": len(problems)})


@evaluate_app.command("pairs")
def propose_pairs(
    data: DataRoot,
    predictions: Annotated[Path, typer.Option("--predictions", metavar="DIR", help="What `predict` wrote for it.")],
    out: Annotated[Path, typer.Option("--out", metavar="TXT", help="List to write; DATA/pairs.txt is found by `now`.")],
    split: Annotated[str, typer.Option(metavar="validation|test", help="Which list of pictures.")] = "validation",
    as_json: AsJson = False,
) -> None:
    """Propose pairs of occluded and unoccluded NoW pictures of one person in comparable pose (Table 3)."""
    from focus_ray.evaluation.run import propose

    pairs = propose(data, predictions, out, _split(split))
    typer.echo(f"{len(pairs)} pairs: {out}")
    if as_json:
        _echo_json({"out": str(out), "pairs": len(pairs)})


@evaluate_app.command("now")
def evaluate_now(
    data: DataRoot,
    predictions: PredictionFolders,
    out: EvaluationFolder,
    metrical: Annotated[bool, typer.Option("--metrical", help="Keep the scale of the predictions.")] = False,
    unit: Annotated[str, typer.Option(metavar="mm|cm|m", help="Of the predicted meshes.")] = "mm",
    split: Annotated[str, typer.Option(metavar="validation|test", help="Which list of pictures.")] = "validation",
    tasks: Tasks = 2,
    experiment: Experiment = None,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """The NoW benchmark: distances from scans to predicted surfaces. Submissions are checked first."""
    options = {"metrical": metrical, "unit": unit, "split": split}
    _evaluate("now", data, predictions, out, tasks, local, experiment, as_json, **options)


@evaluate_app.command("segmentation")
def evaluate_segmentation(
    data: DataRoot,
    predictions: PredictionFolders,
    out: EvaluationFolder,
    tasks: Tasks = 2,
    experiment: Experiment = None,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """Masks inside the rendered region against the visible face, on AR or CelebAMask-HQ, published or synthesized."""
    _evaluate("segmentation", data, predictions, out, tasks, local, experiment, as_json)


@evaluate_app.command("photometric")
def evaluate_photometric(
    data: DataRoot,
    predictions: PredictionFolders,
    out: EvaluationFolder,
    tasks: Tasks = 2,
    experiment: Experiment = None,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """Colour error inside the visible face, on AR or CelebAMask-HQ, published or synthesized."""
    _evaluate("photometric", data, predictions, out, tasks, local, experiment, as_json)


@evaluate_app.command("tables")
def evaluate_tables(
    out: EvaluationFolder,
    seeds: Annotated[str, typer.Option(metavar="0,1,2", help="Seeds of training.")] = "0,1,2",
    methods: Annotated[str | None, typer.Option(metavar="A,B", help="Some of the methods only.")] = None,
    steps: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of every phase of training.")] = 1.0,
    refine: Annotated[int, typer.Option(min=0, metavar="STEPS", help="Of the refined rows; 0: none.")] = 50,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of the configuration; repeatable.")
    ] = None,
    tasks: Tasks = 2,
    experiment: Experiment = None,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """The paper's tables from nothing: train every method, let it answer on synthetic data sets, and score it."""
    from focus_ray import terminal
    from focus_ray.evaluation.benchmark.config import configured
    from focus_ray.evaluation.benchmark.run import benchmark
    from focus_ray.tracking.mlflow_tracker import track_quietly
    from focus_ray.training.tasks import PoolSettings

    given = {"seeds": _numbers(seeds), "steps": steps, "refine_steps": refine}
    if methods is not None:
        given["methods"] = [name.strip() for name in methods.split(",") if name.strip()]
    resolved = configured(assignments or [], given)
    pool = None if local else PoolSettings(tasks=tasks)
    with terminal.progress() as progress:
        found = benchmark(resolved, out, pool, experiment=experiment or "focus", progress=progress.task)
        if not local:
            track_quietly(out, progress.note)
    _say_problems(found.problems)
    typer.echo((out / "tables.md").read_text())
    typer.echo(f"report: {out / 'report.html'}")
    if as_json:
        _echo_json({"results": str(out / "results.json"), "rows": len(found.rows), "problems": len(found.problems)})


def _evaluate(
    kind: str,
    data: str,
    predictions: list[str],
    out: Path,
    tasks: int,
    local: bool,
    experiment: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Score predictions, say what is missing, and where the rows are."""
    from focus_ray import terminal
    from focus_ray.evaluation.config import configured
    from focus_ray.evaluation.run import evaluate
    from focus_ray.tracking.mlflow_tracker import track_quietly
    from focus_ray.training.tasks import PoolSettings

    config = configured(kind, data, predictions, options)
    pool = None if local else PoolSettings(tasks=tasks)
    with terminal.progress() as progress:
        found = evaluate(config, out, pool, experiment=experiment or "focus", progress=progress.task)
        if not local:
            track_quietly(out, progress.note)
    _say_problems(found.problems)
    typer.echo(f"{len(found.rows)} figures: {out / 'results.json'}\nreport: {out / 'report.html'}")
    if as_json:
        _echo_json({"results": str(out / "results.json"), "rows": len(found.rows), "problems": len(found.problems)})


@app.command()
def reconstruct(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of pictures.")],
    model: ModelFolder = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("reconstructions"),
    landmarks: Landmarks = None,
    box: Annotated[
        str | None, typer.Option(metavar="x,y,w,h", help="Where the face is, in px; for a single picture.")
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(min=0, metavar="STEPS", help="Refinement steps; 0 is one forward pass as in the paper."),
    ] = None,
    prior: PriorFolder = None,
    formats: Annotated[str, typer.Option("--format", metavar="obj,ply,glb", help="Mesh files to write.")] = "obj",
    as_json: AsJson = False,
) -> None:
    """Reconstruct the faces in photographs: shape, colour, light, pose, and which pixels are not face."""
    from focus_ray import terminal
    from focus_ray.reconstruction import reconstruct_paths

    with terminal.progress() as progress:
        results = reconstruct_paths(
            paths,
            out,
            model=model,
            landmarks=landmarks,
            box=None if box is None else _box(box),
            refine=refine,
            prior=prior,
            formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
            progress=progress.task,
        )
    count = {status: sum(result.status == status for result in results) for status in ("ok", "no_face", "error")}
    faces = sum(len(result.faces) for result in results)
    typer.echo(f"{faces} faces in {len(results)} pictures ({_counted(count)}): {out / 'results.json'}")
    if as_json:
        _echo_json({"results": str(out / "results.json"), "images": len(results), "faces": faces, **count})
    if results and count["error"] == len(results):
        raise DataError(f"no picture could be read ({results[0].message}); {out / 'results.json'} has each reason")


@prior_app.command("train", help="Train R_syn: the same pipeline on renders of the fitted face, without a mask.")
@wraps(train)
def train_r_syn(**options: Any) -> None:
    """`train`, of the preset misfit unless another is given."""
    if options["resume"] is None and options["preset"] is None:
        options["preset"] = "misfit"
    train(**options)


@prior_app.command("build")
def build_prior(
    model: Annotated[
        str, typer.Option("--model", metavar="DIR", help="R_syn, which `prior train` leaves in RUN/model; s3:// too.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the build; the same command goes on there.")],
    applied_to: Annotated[
        str | None, typer.Option("--for", metavar="DIR", help="The model that it is meant for, which the gate asks.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=2, help="Faces that make the prior; 20000 unless given.")] = None,
    heldout: Annotated[int | None, typer.Option(min=2, help="Further faces that judge it; 20000 unless given.")] = None,
    shard_size: Annotated[int | None, typer.Option(min=1, help="Faces of a task; 500 unless given.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same faces.")] = None,
    refine: Annotated[
        int | None, typer.Option(min=0, metavar="STEPS", help="Measure faces refined by so many steps.")
    ] = None,
    aligned: Annotated[
        bool | None, typer.Option("--aligned", help="Subtract what is left after similarity alignment.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(metavar="MM", help="Stop when the prior's standard error is below this.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="YAML", help="Keys of the configuration, laws for instance.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of the configuration; repeatable.")
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, help="Ray tasks at a time, a core each.")] = 2,
    gpu_share: Annotated[float, typer.Option(min=0, max=1, help="Of a GPU, for each task.")] = 0.0,
    max_failures: Annotated[int, typer.Option(min=0, help="Lost workers before a shard is given up.")] = 20,
    storage: Annotated[
        str | None, typer.Option(metavar="URI", help="Keep shards and prior in a folder or s3://bucket/prefix.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="MLflow experiment; focus unless given.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="In this process, without Ray and MLflow.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the prior: render faces, fit them with R_syn, average the errors, and judge that on other faces."""
    from focus_ray import terminal
    from focus_ray.config import absolute
    from focus_ray.priors.build import build
    from focus_ray.priors.config import configured
    from focus_ray.tracking.mlflow_tracker import track_quietly
    from focus_ray.training.tasks import PoolSettings

    given = {
        "model": absolute(model),
        "applied_to": None if applied_to is None else absolute(applied_to),
        "n": n,
        "heldout": heldout,
        "shard_size": shard_size,
        "seed": seed,
        "refine_steps": refine,
        "aligned": aligned,
        "target_mm": target,
    }
    resolved = configured(config, assignments or [], given)
    pool = None if local else PoolSettings(tasks=tasks, gpu_share=gpu_share, max_retries=max_failures)
    with terminal.progress() as progress:
        info = build(resolved, out, pool, storage=storage, experiment=experiment or "focus", progress=progress.task)
        if not local:
            track_quietly(out, progress.note)
    figures = info.figures[info.applied]
    typer.echo(
        f"mean signed error, held out: {figures.rms_before_mm:.3f} mm -> {figures.rms_after_mm:.3f} mm with the prior\n"
        f"mean vertex distance: {figures.distance_before_mm:.3f} mm -> {figures.distance_after_mm:.3f} mm, "
        f"{100 * figures.improved_share:.1f} % of the faces improve\n"
        f"shards: {info.shards_computed} computed, {info.shards_kept} were there"
        + ("" if info.faces_per_s is None else f"; {info.faces_per_s:.0f} faces/s")
        + f"\napplied by default: {'yes' if info.by_default else 'no'}\n"
        f"report: {out / 'report.html'}\nprior:  {out / 'prior'}"
    )
    if as_json:
        _echo_json({"prior": str(out / "prior"), **info.model_dump(mode="json"), "by_default": info.by_default})


@prior_app.command("laws")
def fit_laws(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of pictures.")],
    out: Annotated[Path, typer.Option(metavar="YAML", help="File to write, for --config.")],
    model: ModelFolder = None,
    landmarks: Landmarks = None,
    as_json: AsJson = False,
) -> None:
    """Fit the laws of pose and light to what a model sees in real pictures."""
    from focus_ray import terminal
    from focus_ray.priors.laws import fit_to_pictures

    with terminal.progress() as progress:
        fitted = fit_to_pictures(paths, out, model=model, landmarks=landmarks, progress=progress.task)
    typer.echo(f"laws of {fitted['faces']} faces: {out}")
    if as_json:
        _echo_json({"out": str(out), **fitted})


@prior_app.command("show")
def show_prior(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A prior's folder, OUT/prior for instance.")],
    as_json: AsJson = False,
) -> None:
    """Verify every file of a prior's folder and say what is in it."""
    from focus_ray.prior import load

    info = load(folder).info
    description = {"folder": str(folder), **info.model_dump(mode="json"), "by_default": info.by_default}
    _echo_record(description, as_json)


@data_app.command("synthesize")
def synthesize(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of faces.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed gives the same faces.")] = 0,
    size: Annotated[int, typer.Option(min=16, max=MAX_PICTURE_PX, metavar="PX", help="Side of the pictures.")] = 224,
    layout: Annotated[
        Literal["folder", "now", "ar", "celebahq"],
        typer.Option(help="Our own, or that of a data set of the paper: NoW, the AR database, CelebAMask-HQ."),
    ] = "folder",
    as_json: AsJson = False,
) -> None:
    """Write synthetic faces with exact truth.

    The folder holds images/, masks/ (255 = visible face), landmarks.csv and truth.npz; in the layout of a data set what
    that has, landmarks.csv and dataset.json.
    """
    from focus_ray import terminal
    from focus_ray.data.layouts import write_layout
    from focus_ray.data.synthetic_folder import write_folder

    with terminal.progress() as progress:
        watch = partial(progress.task, "faces")
        if layout == "folder":
            write_folder(out, n=n, seed=seed, size=size, progress=watch)
        else:
            write_layout(layout, out, n=n, seed=seed, size=size, progress=watch)
    typer.echo(f"{n} faces: {out}")
    if as_json:
        _echo_json({"out": str(out), "n": n, "seed": seed, "size": size, "layout": layout})


@data_app.command("subsets")
def draw_celebahq_subsets(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="CelebAMask-HQ; the two lists are written there.")],
    occluded: Annotated[int, typer.Option(min=1, help="Occluded pictures; the paper draws 750.")] = 750,
    unoccluded: Annotated[int, typer.Option(min=1, help="Unoccluded pictures; the paper draws 558.")] = 558,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed draws the same pictures.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw the occluded and the unoccluded subset of CelebA-HQ, whose lists the paper does not publish."""
    from focus_ray.data.sources.celebahq import PICTURES, draw_subsets, read_celebahq
    from focus_ray.data.sources.subset_lists import OCCLUDED, UNOCCLUDED, write_names

    pictures = read_celebahq(folder)
    drawn = draw_subsets(pictures.names, pictures.parts, seed, occluded, unoccluded)
    for name, names in zip((OCCLUDED, UNOCCLUDED), drawn, strict=True):
        write_names(folder / name, [f"{PICTURES}/{one}" for one in names])
    typer.echo(f"{occluded} occluded, {unoccluded} unoccluded of {len(pictures)} pictures: {folder}")
    if as_json:
        _echo_json({"folder": str(folder), "occluded": occluded, "unoccluded": unoccluded, "seed": seed})


@model_app.command("info")
def model_info(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Model folder; else the shipped one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Verify every file of a model folder and say what is in it."""
    from focus_ray.storage.checkpoint import load_model

    folder = folder or _shipped_model()
    stored = load_model(folder)
    parameters = {name: sum(t.numel() for t in tensors.values()) for name, tensors in stored.networks.items()}
    size = sum(path.stat().st_size for path in folder.iterdir())
    description = {"folder": str(folder), "bytes": size, "parameters": parameters, "info": stored.info}
    _echo_record(description, as_json)


@model_app.command("export")
def model_export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Model folder, RUN/model for instance.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Model folder to write.")],
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16: half the size.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a model folder, in half the size if wanted; the copy is loaded and checked by the same code as any model."""
    from focus_ray import model
    from focus_ray.storage.checkpoint import MODEL
    from focus_ray.storage.manifest import refuse_to_replace

    refuse_to_replace(out, MODEL)
    model.save(out, model.load(folder), half=half)
    size = sum(path.stat().st_size for path in out.iterdir())
    typer.echo(f"{size / 1e6:.1f} MB: {out}")
    if as_json:
        _echo_json({"out": str(out), "bytes": size, "half": half})


@app.command()
def doctor(
    storage: Annotated[
        str | None, typer.Option(metavar="URI", help="Try this folder or s3://bucket/prefix for reading and writing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what this installation has, what is not well with it, and what to do about that.

    Versions, processors, limits, folders, the shipped model; whether MLflow, the named Ray cluster and the storage can
    be reached. The exit code is 0 if nothing is worse than a warning, else that of the first error.
    """
    from focus_ray.doctor import examine

    findings = examine(storage)
    if as_json:
        _echo_json(findings)
    else:
        _echo_findings(findings)
    raise typer.Exit(next((entry["exit_code"] for entry in findings["troubles"] if entry["exit_code"]), 0))


def _echo_findings(findings: dict[str, Any]) -> None:
    """A line for each finding, then one for each trouble."""
    for name, finding in findings.items():
        if name != "troubles":
            typer.echo(f"{name:<14}{finding if isinstance(finding, str) else json.dumps(finding)}")
    for entry in findings["troubles"]:
        typer.echo(f"{entry['level']}: {entry['about']}: {entry['message']}")
    typer.echo("nothing to mend" if not findings["troubles"] else f"{len(findings['troubles'])} to look at")


def _refuse_with_resume(**given: Any) -> None:
    """A resumed run goes on as it was begun."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"--{name} cannot change a run that is resumed; leave it away, or start a new run")


def _folder_to_resume(run: str, out: Path | None) -> Path:
    """The folder of a run that goes on; one that lies in a store is brought here first."""
    if "://" in run:
        from focus_ray.training.mirror import bring_back

        return bring_back(run, out)
    if out is not None and out.resolve() != Path(run).resolve():
        raise ConfigError(f"--out {out} is not the folder of --resume {run}; leave --out away")
    return Path(run)


def _refuse_with_local(**given: Any) -> None:
    """What only a cluster has."""
    for name, value in given.items():
        if value:
            raise ConfigError(f"--{name.replace('_', '-')} does not go with --local; leave one of them away")


def _run_config(
    preset: str,
    file: Path | None,
    assignments: list[str],
    steps: int | None,
    seed: int | None,
    data: str | None,
    landmarks: str | None,
) -> Any:
    """The resolved configuration: preset, then file, then --set, then the other options."""
    from focus_ray import presets

    if seed is not None:
        assignments = [*assignments, f"seed={seed}"]
    config = presets.load(preset, file, assignments)
    if data is not None:
        config = config.with_photos(data, landmarks)
    return config if steps is None else config.model_copy(update={"schedule": config.schedule.fitted_to(steps)})


def _box(text: str) -> tuple[float, float, float, float]:
    """x,y,w,h in px. Raises ConfigError."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--box {text!r} is not x,y,w,h; give four numbers in px, for instance 40,30,200,220"
        ) from None
    if not all(math.isfinite(number) for number in (x, y, width, height)):
        raise ConfigError(f"--box {text!r} is not finite; give four numbers in px, for instance 40,30,200,220")
    if not (width > 0 and height > 0):
        raise ConfigError(f"--box {text!r} has no area; width and height must be positive")
    return x, y, width, height


def _say_problems(problems: list[str]) -> None:
    """What is missing or wrong, a line each; of many the first ones."""
    for problem in problems[:MOST_PROBLEMS]:
        typer.echo(f"missing or wrong: {problem}", err=True)
    if len(problems) > MOST_PROBLEMS:
        typer.echo(f"and {len(problems) - MOST_PROBLEMS} more", err=True)


def _split(text: str) -> Any:
    """One of NoW's splits. Raises ConfigError for anything else."""
    if text not in ("validation", "test"):
        raise ConfigError(f"--split {text!r}: choose validation or test")
    return text


def _numbers(text: str) -> list[int]:
    """Whole numbers between commas. Raises ConfigError for anything else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{text!r} are no whole numbers; write them as 0,1,2") from None


def _shipped_model() -> Path:
    from focus_ray.model import SHIPPED

    return SHIPPED


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _echo_record(record: Any, as_json: bool) -> None:
    """A record that is all a command says: for people, or as one line."""
    if as_json:
        _echo_json(record)
    else:
        typer.echo(json.dumps(record, indent=2))


def _echo_json(record: Any) -> None:
    typer.echo(json.dumps(record, allow_nan=False))


def error_code(kind: type[FocusRayError]) -> str:
    """The short stable name of an error type: ConfigError is config, MaskCollapse is mask-collapse."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__.removesuffix("Error")).lower()


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Whatever goes wrong is one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Before torch is loaded. Threads that spin while they wait slow each other many times over as soon as anything else
    # runs on the machine; with ACTIVE, an idle one is up to a third faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with terminable():
            # typer turns typer.Exit and Ctrl-C into a return value; commands themselves return None.
            exit_code = app(arguments, prog_name="focus-ray", standalone_mode=False) or 0
        if exit_code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, arguments)
    return exit_code


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does. In another thread than the main one, somebody else answers signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _report(error: BaseException, arguments: list[str]) -> int:
    """Say what went wrong, once, and give the exit code."""
    if isinstance(error, typer.TyperException) and error.format_message().startswith("Usage: "):
        typer.echo(error.format_message(), err=True)  # a group without a command answers with its help
        return EXIT_USAGE
    if "--debug" in arguments:
        traceback.print_exception(error, file=sys.stderr)
    code, exit_code, message = _explain(error)
    message = " ".join(message.split())
    typer.echo(f"error[{code}]: {message}", err=True)
    if "--json" in arguments:
        _echo_json({"error": {"code": code, "message": message}, "exit_code": exit_code})
    return exit_code


def _explain(error: BaseException) -> tuple[str, int, str]:
    """Code, exit code and message of whatever was raised."""
    match error:
        case FocusRayError():
            return error_code(type(error)), error.exit_code, str(error)
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "focus-ray"
            return "usage", EXIT_USAGE, f"{error.format_message().rstrip('.')}; see {command} --help"
        case typer.Abort() | KeyboardInterrupt():
            return "interrupted", EXIT_INTERRUPTED, "interrupted; nothing was left half written"
        case OSError():
            return error_code(StorageError), StorageError.exit_code, f"{error}; check the disk and the permissions"
    hint = "this is a bug: run focus-ray --debug COMMAND and report what it shows"
    return "internal", EXIT_UNEXPECTED, f"{type(error).__name__}: {error}; {hint}"


if __name__ == "__main__":
    sys.exit(main())
