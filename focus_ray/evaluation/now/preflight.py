"""Checks a submission, before it is scored or sent in, for problems that make its result wrong or invalid."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from focus_ray.data.sources.now import NowDataset
from focus_ray.errors import DataError, printable
from focus_ray.evaluation.now.expression_check import expression_findings
from focus_ray.evaluation.now.findings import Finding, finding_from_error
from focus_ray.evaluation.now.landmark_checks import order_findings, surface_findings, unit_findings
from focus_ray.evaluation.now.mesh_checks import colour_findings, orientation_findings, triangle_findings
from focus_ray.evaluation.now.submission import Submission, SubmittedFace
from focus_ray.evaluation.now.surface import Surface

_MAX_EXTRA_SHOWN = 20
_SUBMISSION_ITEM = "submission"


def check_submission(submission: Submission, dataset: NowDataset, metrical: bool = False) -> list[Finding]:
    """Check all predictions of a submission and the files of its folder.

    Order and units of landmarks cannot be checked for subjects without a scan (those of the test split are not
    published); one warning says how many there are.

    Args:
        submission: folder of predictions.
        dataset: NoW data set.
        metrical: whether the predictions' scale is kept.

    Returns:
        Findings subject by subject, then those of the folder; empty if nothing was found.
    """
    findings: list[Finding] = []
    turn = {subject: place for place, subject in enumerate(dataset.subjects)}
    by_subject = sorted(dataset.pictures, key=lambda picture: turn[picture.subject])
    unseen = 0
    for subject, pictures in groupby(by_subject, key=lambda picture: picture.subject):
        scan = _landmarks(dataset, subject)
        unseen += scan is None
        predictions: dict[str, SubmittedFace] = {}
        for picture in pictures:
            found, prediction = _picture_findings(submission, picture.name, scan, metrical)
            findings += found
            if prediction is not None:
                predictions[picture.name] = prediction
        findings += expression_findings(predictions)
    if unseen:
        what = f"{unseen} subjects have no scan landmarks: order and units of their predictions were not checked"
        findings.append(Finding("warning", _SUBMISSION_ITEM, what, "check predictions of the validation split"))
    return findings + list(_extra_findings(submission, {picture.name for picture in dataset.pictures}))


def _landmarks(dataset: NowDataset, subject: str) -> np.ndarray | None:
    try:
        return dataset.landmarks(subject)
    except DataError:
        return None  # the reason is in dataset.missing


def _picture_findings(
    submission: Submission, name: str, scan: np.ndarray | None, metrical: bool
) -> tuple[list[Finding], SubmittedFace | None]:
    meshes = submission.mesh_files(name)
    findings = list(_duplicate_findings(name, meshes)) + list(
        _duplicate_findings(name, submission.landmark_files(name))
    )
    if meshes:
        findings += colour_findings(name, meshes[0])
    try:
        prediction = submission.read(name)
    except DataError as error:
        return [*findings, finding_from_error(name, error)], None
    surface = Surface(prediction.mesh)
    findings += triangle_findings(name, prediction)
    findings += surface_findings(name, prediction, surface)
    if not np.ptp(prediction.landmarks, axis=0).any():
        what = "all landmarks lie at one point"
        return [*findings, Finding("error", name, what, "write the seven landmarks of the face")], None
    disorder = [] if scan is None else list(order_findings(name, prediction.landmarks, scan))
    findings += disorder
    if scan is not None:
        findings += unit_findings(name, prediction.landmarks, scan, metrical)
    if not disorder:
        findings += orientation_findings(name, prediction, surface)
    return findings, prediction


def _duplicate_findings(name: str, paths: list[Path]) -> Iterator[Finding]:
    if len(paths) > 1:
        what = f"both {' and '.join(path.name for path in paths)} exist: {paths[0].name} is read"
        yield Finding("warning", name, what, f"remove {paths[1].name}")


def _extra_findings(submission: Submission, names: set[str]) -> Iterator[Finding]:
    """Yield warnings for files that do not belong to a listed picture."""
    extra = []
    for path in sorted(submission.folder.rglob("*")):
        place = path.relative_to(submission.folder)
        if path.is_file() and not (place.with_suffix("").as_posix() in names and _is_expected(submission, place)):
            extra.append(printable(place.as_posix()))
    for place in extra[:_MAX_EXTRA_SHOWN]:
        yield Finding("warning", place, "the file does not belong to a listed picture", "remove or rename it")
    if len(extra) > _MAX_EXTRA_SHOWN:
        what = f"{len(extra) - _MAX_EXTRA_SHOWN} more files do not belong to a listed picture"
        yield Finding("warning", _SUBMISSION_ITEM, what, "remove or rename them")


def _is_expected(submission: Submission, path: Path) -> bool:
    """Return whether a file has a suffix of a mesh or of landmarks."""
    name = path.with_suffix("").as_posix()
    return submission.folder / path in [*submission.mesh_files(name), *submission.landmark_files(name)]
