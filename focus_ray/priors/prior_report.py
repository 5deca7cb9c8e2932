"""Pictures and HTML report of a prior."""

import json
from pathlib import Path

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.misfit import READINGS
from focus_ray.prior import Prior, PriorInfo
from focus_ray.storage import atomic
from focus_ray.tracking.misfit_pictures import misfit_mesh, misfit_sheet
from focus_ray.tracking.run_report import png_data_uri, render_page

TITLES = {
    "posed": "Faces with expression",
    "neutral": "Neutral faces",
    "posed_aligned": "Faces with expression, after similarity alignment to the truth",
    "neutral_aligned": "Neutral faces, after similarity alignment to the truth",
}


def write_pictures(folder: Path, prior: Prior, face: MorphableModel) -> None:
    """Write sheets/misfit-READING.png for each reading, and misfit.glb for the reading that is subtracted.

    Raises:
        StorageError: the disk refuses.
    """
    for reading in READINGS:
        picture = misfit_sheet(face, prior.errors[reading], prior.standard_errors[reading], TITLES[reading])
        atomic.write_file(folder / "sheets" / f"misfit-{reading}.png", picture)
    atomic.write_file(folder / "misfit.glb", misfit_mesh(face, prior.error))


def write_prior_report(folder: Path, info: PriorInfo) -> None:
    """Write report.html from the files of the folder.

    Raises:
        StorageError: the disk refuses.
    """
    pictures = [
        (TITLES[reading], png_data_uri((folder / "sheets" / f"misfit-{reading}.png").read_bytes()))
        for reading in READINGS
    ]
    figures = info.figures[info.applied]
    facts = {
        "faces": str(info.n),
        "held out": str(info.heldout_n),
        "R_syn": info.model_version,
        "face model": info.face_model,
        "faces per second": "–" if info.faces_per_s is None else f"{info.faces_per_s:.0f}",
    }
    cards = [
        {
            "title": "RMS of the mean signed error, held out, mm",
            "value": f"{figures.rms_after_mm:.3f}",
            "other": f"without the prior: {figures.rms_before_mm:.3f}",
        },
        {
            "title": "mean distance of a face's vertices, held out, mm",
            "value": f"{figures.distance_after_mm:.3f}",
            "other": f"without the prior: {figures.distance_before_mm:.3f}",
        },
        {"title": "faces that improve, held out", "value": f"{100 * figures.improved_share:.1f} %", "other": ""},
    ]
    html = render_page(
        "misfit.html.jinja",
        name=folder.resolve().name,
        facts=facts,
        headline=cards,
        info=info,
        gate=info.gate,
        passes=info.by_default,
        pictures=pictures,
        config=json.dumps(json.loads((folder / "config.json").read_bytes()), indent=2),
    )
    atomic.write_file(folder / "report.html", html)
