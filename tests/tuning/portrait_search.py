"""The shipped search of the portrait preset in miniature: a start model of 32 px, photographs of one public picture."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from focus_ray import model
from focus_ray.config import read_yaml
from focus_ray.model import Model
from tests.data.composites.photographs import write_photographs

POINT = {"em.segmentation.eta_planted": 8.0, "em.reconstruction.lambda_teacher": 1.0}


def write_folders(folder: Path) -> dict[str, str]:
    """Photographs to train on, and darker ones to judge on."""
    train, judge = write_photographs(folder / "train"), write_photographs(folder / "judge")
    for path in judge.glob("*.png"):
        darken(path)
    return {"train": str(train), "judge": str(judge)}


def darken(path: Path) -> None:
    """Make a photograph another one."""
    picture = cv2.imread(str(path))
    assert picture is not None
    cv2.imwrite(str(path), (picture * 0.75).astype(np.uint8))


def tiny_portrait_search(project_root: Path, folder: Path, start: Model) -> dict[str, Any]:
    """The content of a search file; the start model is written into the folder."""
    model.save(folder / "start-model", start)
    search = read_yaml(project_root / "tune_configs/portrait.yaml")
    search |= {
        "set": {
            "batch_size": 2,
            "model": start.settings.model_dump(mode="json"),
            "data": {"size": 8},
            "schedule": {"init_steps": 2, "cycles": 2, "seg_steps": 2, "face_steps": 1},
            "em": {"refined_comparison": None, "teacher": {"refine": {"steps": 1}}},
            "refine": {"steps": 2},
        },
        "steps": 1.0,
        "start": str(folder / "start-model"),
        "space": {
            "em.segmentation.eta_planted": {"values": [8.0, 40.0]},
            "em.reconstruction.lambda_teacher": {"values": [1.0]},
        },
        "searcher": "grid",
        "scheduler": {"kind": "none"},
        "reports": 2,
        "heldout": {"size": 3, "seed": 1},
        "judging": {"seeds": [1], "heldout": {"size": 3, "seed": 2}, "refine": True},
    }
    return search
