"""focus-ray evaluate folder, landmarks, predict, pairs, now, segmentation, photometric, tables, ablation."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from focus_ray.cli.apps import AsJson, DetectorName, DetectorWeights, ModelFolder, PriorFolder, evaluate_app
from focus_ray.cli.printing import (
    MAX_PICTURE_MESSAGES,
    echo_json,
    echo_problems,
    echo_record,
    format_count,
)
from focus_ray.errors import ConfigError
from focus_ray.model_location import find_model


@evaluate_app.command("folder")
def evaluate_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images/ masks/ landmarks.csv [truth.npz].")],
    model: ModelFolder = None,
    out: Annotated[Path | None, typer.Option(metavar="JSON", help="Also write the scores to this file.")] = None,
    refine: Annotated[int, typer.Option(min=0, metavar="STEPS", help="Refinement steps; 0 is one forward pass.")] = 0,
    prior: Annotated[
        Path | None, typer.Option("--prior", metavar="DIR", help="Also score with this misfit prior applied.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option("--detector", metavar="NAME", help="Composites: detect the faces instead of using landmarks.csv."),
    ] = None,
    detector_weights: DetectorWeights = None,
    own_mask: Annotated[
        bool, typer.Option("--own-mask", help="Composites: score the model's mask only, in a quarter of the time.")
    ] = False,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="Composites: also by skin tone and by the attributes of the photographs.")
    ] = False,
    attributes: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Attributes for --by-group and --open-faces: name,glasses,... of yes and no, a line for each "
            "photograph of both; default for the portraits: the package's.",
        ),
    ] = None,
    open_faces: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Composites: also score photographs of open faces with landmarks.csv; those that their attributes "
            "mark as open, if they have that column.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on a folder of `data synthesize`, or on composites of `data occlude`."""
    from focus_ray import terminal
    from focus_ray.data.composites.composite_folder import is_composite_folder
    from focus_ray.evaluation.composite_scoring import MASKS, OWN
    from focus_ray.evaluation.folder import evaluate_folder as evaluate

    if is_composite_folder(folder):
        if prior is not None:
            raise ConfigError("--prior corrects vertices, whose true positions composites do not have; leave it out")
        options = {
            "by_group": by_group or attributes is not None,
            "attributes": attributes,
            "open_faces": open_faces,
            "masks": (OWN,) if own_mask else MASKS,
        }
        _evaluate_composites(
            folder, model or find_model(None), out, refine, detector, detector_weights, as_json, options
        )
        return
    if own_mask or by_group or attributes is not None or open_faces is not None:
        raise ConfigError(
            "--own-mask, --by-group, --attributes and --open-faces are for composites of `focus-ray data occlude`; "
            "leave them out for other folders"
        )
    if detector is not None or detector_weights is not None:
        raise ConfigError("--detector is for composites of `focus-ray data occlude`; leave it out for other folders")
    with terminal.TerminalProgress() as progress:
        watch = partial(progress.on_progress, "scoring")
        scores = evaluate(folder, model or find_model(None), out, refine, watch, prior)
    echo_record(scores, as_json)


def _evaluate_composites(
    folder: Path,
    model: Path,
    out: Path | None,
    refine: int,
    detector: str | None,
    detector_weights: Path | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Score a model on composites; print tables."""
    from focus_ray import terminal
    from focus_ray.data.detectors.by_name import resolve_detector
    from focus_ray.evaluation.composite_report import composite_tables
    from focus_ray.evaluation.composites import evaluate_composites

    if detector is None and detector_weights is not None:
        raise ConfigError("--detector-weights without --detector: give the name of the detector too")
    spec = None if detector is None else resolve_detector(detector, detector_weights)
    with terminal.TerminalProgress() as progress:
        watch = partial(progress.on_progress, "scoring")
        result = evaluate_composites(folder, model, out, refine, watch, spec, **options)
    typer.echo("\n".join(table.to_text() for table in composite_tables(result)))
    if as_json:
        echo_json(result)


DataRoot = Annotated[str, typer.Option("--data", metavar="DIR", help="Data set: a folder or s3://bucket/prefix.")]


PredictionFolders = Annotated[
    list[str],
    typer.Option("--predictions", metavar="[NAME=]DIR", help="Folder of the predictions of a method; repeatable."),
]


EvaluationFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder of the evaluation; the same command resumes it.")
]


Tasks = Annotated[int, typer.Option("--tasks", min=1, help="Number of parallel Ray tasks, one core each.")]


InThisProcess = Annotated[bool, typer.Option("--local", help="Run in this process, without Ray and MLflow.")]


Experiment = Annotated[str | None, typer.Option(metavar="NAME", help="MLflow experiment; default: focus.")]


@evaluate_app.command("landmarks")
def evaluate_landmarks(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures with true landmarks.")],
    landmarks: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="True landmarks; default: DIR/landmarks.csv, or a .pts or .mat per picture."),
    ] = None,
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    model: ModelFolder = None,
    fit: Annotated[
        bool, typer.Option("--fit/--no-fit", help="Also score the model's fit to the detected faces.")
    ] = True,
    refine: Annotated[
        int | None, typer.Option(min=0, metavar="STEPS", help="Refinement steps; default: the model's own number.")
    ] = None,
    normalise: Annotated[
        str, typer.Option(metavar="box|interocular", help="Size of the face that errors are divided by.")
    ] = "box",
    least_overlap: Annotated[
        float, typer.Option(help="Smallest intersection over union of a detection with the true face.")
    ] = 0.3,
    out: EvaluationFolder = Path("landmark-evaluation"),
    tasks: Tasks = 2,
    experiment: Experiment = None,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """Score landmarks of a detector and of the fit on photographs with 68 true landmarks each."""
    from focus_ray import terminal
    from focus_ray.evaluation.landmarks import build_landmark_config
    from focus_ray.evaluation.landmarks import evaluate_landmarks as evaluate
    from focus_ray.runtime.tasks import PoolSettings
    from focus_ray.tracking.mlflow_tracker import track_quietly

    options = {"landmarks": landmarks, "detector": detector, "detector_weights": detector_weights, "model": model}
    options |= {"fit": fit, "refine": refine, "normalise": normalise, "least_overlap": least_overlap}
    config = build_landmark_config(folder, options)
    pool = None if local else PoolSettings(tasks=tasks)
    with terminal.TerminalProgress() as progress:
        found = evaluate(config, out, pool, experiment=experiment or "focus", progress=progress.on_progress)
        if not local:
            track_quietly(out, progress.on_message)
    echo_problems(found.problems)
    _echo_failures(found.failures, out / "pictures.csv")
    typer.echo(f"detector: {found.detector.label}\n")
    typer.echo("\n".join(table.to_text() for table in found.tables))
    if found.unknown:
        typer.echo(f"without true landmarks, not scored: {format_count(found.unknown, 'picture')}")
    typer.echo(f"{out / 'results.json'}, pictures.csv, report.html")
    if as_json:
        counts = {"failures": len(found.failures), "problems": len(found.problems), "unknown": found.unknown}
        overall = [row for row in found.rows if row.subset == "overall"]
        methods = {method: {} for method in dict.fromkeys(row.method for row in overall)}
        for row in overall:
            methods[row.method][row.metric] = row.value
        echo_json({"results": str(out / "results.json"), "methods": methods, **counts})


def _echo_failures(failures: dict[str, str], file: Path) -> None:
    """Print on stderr why faces have no landmarks: the first few, then the number of the others."""
    for name, reason in list(failures.items())[:MAX_PICTURE_MESSAGES]:
        typer.echo(f"{name}: {reason}", err=True)
    if len(failures) > MAX_PICTURE_MESSAGES:
        typer.echo(f"and {len(failures) - MAX_PICTURE_MESSAGES} more, see {file}", err=True)


@evaluate_app.command("predict")
def predict_data_set(
    data: DataRoot,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder for masks, renderings and meshes.")],
    model: ModelFolder = None,
    name: Annotated[str | None, typer.Option(help="Name of the method; default: the model's version.")] = None,
    mask: Annotated[str, typer.Option(metavar="own|all_ones", help="Which pixels count as face.")] = "own",
    prior: PriorFolder = None,
    refine: Annotated[int, typer.Option(min=0, metavar="STEPS", help="Refinement steps; 0 is one forward pass.")] = 0,
    split: Annotated[str, typer.Option(metavar="validation|test", help="Split of NoW.")] = "validation",
    detector: DetectorName = "auto",
    detector_weights: DetectorWeights = None,
    tasks: Tasks = 2,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """Predict on a data set: masks, renderings, and for NoW neutral meshes with their landmarks."""
    from focus_ray import terminal
    from focus_ray.data.detectors.by_name import resolve_detector
    from focus_ray.evaluation.evaluate import predict_dataset
    from focus_ray.runtime.tasks import PoolSettings

    if mask not in ("own", "all_ones"):
        raise ConfigError(f"--mask {mask!r}: choose own or all_ones")
    pool = None if local else PoolSettings(tasks=tasks)
    spec = resolve_detector(detector, detector_weights)
    with terminal.TerminalProgress() as progress:
        watch = partial(progress.on_progress, "predicting")
        options = {"name": name, "mask": mask, "prior": prior, "refine": refine}
        options |= {"detector": spec, "split": _parse_split(split), "progress": watch}
        done, problems = predict_dataset(data, model, out, pool, **options)
    echo_problems(problems)
    typer.echo(f"{done} pictures: {out}")
    if as_json:
        echo_json({"out": str(out), "pictures": done, "problems": len(problems)})


@evaluate_app.command("pairs")
def propose_pairs(
    data: DataRoot,
    predictions: Annotated[Path, typer.Option("--predictions", metavar="DIR", help="Output of `predict` for it.")],
    out: Annotated[Path, typer.Option("--out", metavar="TXT", help="List to write; `now` reads DATA/pairs.txt.")],
    split: Annotated[str, typer.Option(metavar="validation|test", help="Split of NoW.")] = "validation",
    as_json: AsJson = False,
) -> None:
    """Propose pairs of occluded and unoccluded NoW pictures of one person in comparable pose (Table 3)."""
    from focus_ray.evaluation.evaluate import propose_now_pairs

    pairs = propose_now_pairs(data, predictions, out, _parse_split(split))
    typer.echo(f"{len(pairs)} pairs: {out}")
    if as_json:
        echo_json({"out": str(out), "pairs": len(pairs)})


@evaluate_app.command("now")
def evaluate_now(
    data: DataRoot,
    predictions: PredictionFolders,
    out: EvaluationFolder,
    metrical: Annotated[bool, typer.Option("--metrical", help="Keep the scale of the predictions.")] = False,
    unit: Annotated[str, typer.Option(metavar="mm|cm|m", help="Unit of the predicted meshes.")] = "mm",
    split: Annotated[str, typer.Option(metavar="validation|test", help="Split of NoW.")] = "validation",
    tasks: Tasks = 2,
    experiment: Experiment = None,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """Score meshes on NoW: distances from scans to predicted surfaces. Submissions are checked first."""
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
    """Score masks against the visible face, in the rendered region: AR or CelebAMask-HQ, published or synthesized."""
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
    """Score the colour error inside the visible face, on AR or CelebAMask-HQ, published or synthesized."""
    _evaluate("photometric", data, predictions, out, tasks, local, experiment, as_json)


@evaluate_app.command("tables")
def evaluate_tables(
    out: EvaluationFolder,
    seeds: Annotated[str | None, typer.Option(metavar="N,N", help="Training seeds; default: 0,1,2.")] = None,
    methods: Annotated[str | None, typer.Option(metavar="A,B", help="Run only these methods; default: all.")] = None,
    steps: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Fraction of the steps of each training phase; default: 1.")
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(min=0, metavar="STEPS", help="Steps of the refined rows; default: 50; 0: no such rows."),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of the configuration; repeatable.")
    ] = None,
    tasks: Tasks = 2,
    experiment: Experiment = None,
    local: InThisProcess = False,
    as_json: AsJson = False,
) -> None:
    """Compute the paper's tables from scratch: train each method, predict on synthetic data sets, score."""
    from focus_ray import terminal
    from focus_ray.evaluation.benchmark.benchmark_config import build_benchmark_config
    from focus_ray.evaluation.benchmark.runner import run_benchmark
    from focus_ray.runtime.tasks import PoolSettings
    from focus_ray.tracking.mlflow_tracker import track_quietly

    given = {
        "seeds": None if seeds is None else _parse_integers(seeds),
        "methods": None if methods is None else [name.strip() for name in methods.split(",") if name.strip()],
        "steps": steps,
        "refine_steps": refine,
    }
    resolved = build_benchmark_config(assignments or [], given)
    pool = None if local else PoolSettings(tasks=tasks)
    with terminal.TerminalProgress() as progress:
        found = run_benchmark(resolved, out, pool, experiment=experiment or "focus", progress=progress.on_progress)
        if not local:
            track_quietly(out, progress.on_message)
    echo_problems(found.problems)
    typer.echo((out / "tables.md").read_text())
    typer.echo(f"report: {out / 'report.html'}")
    if as_json:
        echo_json({"results": str(out / "results.json"), "rows": len(found.rows), "problems": len(found.problems)})


@evaluate_app.command("ablation")
def evaluate_ablation(
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="PHOTOGRAPHS", help="Photographs of open faces with landmarks.csv, to train on."
        ),
    ],
    composites: Annotated[
        Path, typer.Option(metavar="COMPOSITES", help="Composites of `data occlude`, of other persons, to score on.")
    ],
    out: EvaluationFolder,
    steps: Annotated[float, typer.Option(metavar="SHARE", help="Share of the steps of each training phase.")] = 1.0,
    refine: Annotated[int, typer.Option(min=0, metavar="STEPS", help="Refinement steps; 0: one pass only.")] = 48,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Only these rows, of mofa, skin-colour, pretrained, colour-histograms, baseline, neighbor, "
            "perceptual, focus, focus-paper, planted, focus-planted; default: all.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=v", help="One key of preset `portrait_em`; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all trainings.")] = 0,
    detector: Annotated[
        str | None,
        typer.Option("--detector", metavar="NAME", help="Detect the faces of the composites instead of landmarks.csv."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train the preset `portrait_em` and the paper's baselines on photographs, and score all on composites."""
    from focus_ray import terminal
    from focus_ray.evaluation.ablation.ablation_config import build_ablation_config
    from focus_ray.evaluation.ablation.runner import run_ablation

    config = build_ablation_config(
        data,
        composites,
        rows=None if methods is None else [name.strip() for name in methods.split(",") if name.strip()],
        steps=steps,
        refine_steps=refine,
        seed=seed,
        detector=detector,
        assignments=assignments or [],
    )
    with terminal.TerminalProgress() as progress:
        result = run_ablation(config, out, progress=progress.on_progress)
    echo_problems(result["problems"])
    typer.echo((out / "ablation.txt").read_text())
    typer.echo(f"{out / 'ablation.json'}, report: {out / 'report.html'}")
    if as_json:
        echo_json(result)


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
    """Score predictions; print problems and the paths of the results."""
    from focus_ray import terminal
    from focus_ray.evaluation.evaluate import evaluate
    from focus_ray.evaluation.evaluation_config import build_evaluation_config
    from focus_ray.runtime.tasks import PoolSettings
    from focus_ray.tracking.mlflow_tracker import track_quietly

    config = build_evaluation_config(kind, data, predictions, options)
    pool = None if local else PoolSettings(tasks=tasks)
    with terminal.TerminalProgress() as progress:
        found = evaluate(config, out, pool, experiment=experiment or "focus", progress=progress.on_progress)
        if not local:
            track_quietly(out, progress.on_message)
    echo_problems(found.problems)
    typer.echo(f"{len(found.rows)} figures: {out / 'results.json'}\nreport: {out / 'report.html'}")
    if as_json:
        echo_json({"results": str(out / "results.json"), "rows": len(found.rows), "problems": len(found.problems)})


def _parse_split(text: str) -> Any:
    """Check that the text is one of NoW's splits. Raises ConfigError."""
    if text not in ("validation", "test"):
        raise ConfigError(f"--split {text!r}: choose validation or test")
    return text


def _parse_integers(text: str) -> list[int]:
    """Parse integers separated by commas. Raises ConfigError."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{text!r} is not a list of integers; write for example 0,1,2") from None
