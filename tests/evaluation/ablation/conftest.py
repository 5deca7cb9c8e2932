"""Photographs, composites and a small start model: an ablation of seconds."""

from pathlib import Path

import pytest

from focus_ray.data.composites.compose import write_composites
from focus_ray.data.composites.composite_config import CompositeConfig
from focus_ray.evaluation.ablation.ablation_config import AblationConfig, build_ablation_config
from focus_ray.model_location import SHIPPED_MODELS
from tests.data.composites.photographs import write_photographs

SHORT = (
    "batch_size=2",
    "data.size=4",
    "data.heldout_share=0.0",
    "schedule={init_steps: 2, pretrain_seg_steps: 0, cycles: 1, seg_steps: 2, face_steps: 2}",
    "em.refined_comparison.steps=1",
    "em.teacher.refine.steps=1",
    "cadence.checkpoint=1",
    *(f"optimizers.{phase}.lr=1.0e-5" for phase in ("init", "pretrain_seg", "em_seg", "em_face")),  # faces stay faces
)


@pytest.fixture(scope="session")
def start() -> Path:
    """Model folder that all rows start from: small, and its fits show faces."""
    return SHIPPED_MODELS["embedded"]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with landmarks, to train on."""
    return write_photographs(tmp_path_factory.mktemp("photographs") / "photos")


@pytest.fixture(scope="session")
def composites(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three occluded composites and an open one, of four persons by name."""
    out = tmp_path_factory.mktemp("composites") / "out"
    write_composites(photographs, out, CompositeConfig(n=4, families=("polygon", "cup"), persons="pictures"))
    return out


@pytest.fixture(scope="session")
def config(start: Path, photographs: Path, composites: Path) -> AblationConfig:
    """All rows, a few steps each."""
    assignments = [f"start_from={start}", *SHORT]
    return build_ablation_config(photographs, composites, refine_steps=2, seed=5, assignments=assignments)
