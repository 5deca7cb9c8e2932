"""What an ablation is asked for."""

import shutil
from pathlib import Path

import pytest

from focus_ray import model as models
from focus_ray.errors import ConfigError, DataError
from focus_ray.evaluation.ablation.ablation_config import AblationConfig, build_ablation_config, comparable_tree
from focus_ray.focus.schedule import Schedule
from tests.evaluation.ablation.conftest import SHORT


@pytest.fixture
def assignments(start: Path) -> list[str]:
    return [f"start_from={start}", *SHORT]


def test_the_preset_with_options(config: AblationConfig, photographs: Path, start: Path):
    training = config.training
    assert (training.photos, training.landmarks, training.seed) == (str(photographs), None, 5)
    assert (training.batch_size, training.start_from, training.model.camera.image_size) == (2, start, 64)
    assert training.schedule == Schedule(init_steps=2, pretrain_seg_steps=0, cycles=1, seg_steps=2, face_steps=2)
    assert training.heldout.size == 0
    assert not training.heldout.unlabelled
    assert (config.start, config.refine_steps, config.detector) == (models.load(start).version, 2, None)


def test_a_share_of_the_steps(photographs: Path, composites: Path, assignments: list[str]):
    longer = [
        *assignments,
        "schedule={init_steps: 20, pretrain_seg_steps: 0, cycles: 4, seg_steps: 30, face_steps: 10}",
    ]
    config = build_ablation_config(photographs, composites, steps=0.5, assignments=longer)
    expected = Schedule(init_steps=10, pretrain_seg_steps=0, cycles=4, seg_steps=15, face_steps=5)
    assert config.training.schedule == expected
    with pytest.raises(ConfigError, match="not a share"):
        build_ablation_config(photographs, composites, steps=0.0, assignments=longer)


def test_rows_are_in_the_order_of_the_table(photographs: Path, composites: Path, assignments: list[str]):
    rows = ["focus-planted", "mofa"]
    assert build_ablation_config(photographs, composites, rows=rows, assignments=assignments).rows == (
        "mofa",
        "focus-planted",
    )
    with pytest.raises(ConfigError, match="there is no method focsu; choose from mofa"):
        build_ablation_config(photographs, composites, rows=["focsu"], assignments=assignments)
    with pytest.raises(ConfigError, match="there is no method"):
        build_ablation_config(photographs, composites, rows=[], assignments=assignments)


def test_the_digest_tells_ablations_apart(photographs: Path, composites: Path, assignments: list[str], tmp_path: Path):
    first = build_ablation_config(photographs, composites, assignments=assignments)
    assert build_ablation_config(photographs, composites, assignments=assignments).digest == first.digest
    assert build_ablation_config(photographs, composites, seed=1, assignments=assignments).digest != first.digest
    other = shutil.copytree(composites, tmp_path / "composites")
    lines = (other / "composites.csv").read_text().splitlines(keepends=True)
    (other / "composites.csv").write_text("".join(lines[:-1]))
    changed = build_ablation_config(photographs, other, assignments=assignments)
    assert changed.composites_digest != first.composites_digest


@pytest.mark.parametrize("name", ["images/000000.png", "occluders/000001.png"])
def test_the_digest_tells_pictures_and_masks_apart(
    photographs: Path, composites: Path, assignments: list[str], tmp_path: Path, name: str
):
    def digest_of(folder: Path) -> str:
        return build_ablation_config(photographs, folder, assignments=assignments).composites_digest

    other = shutil.copytree(composites, tmp_path / "composites")
    assert digest_of(other) == digest_of(composites)
    (other / name).write_bytes((composites / name).read_bytes() + b"more")
    assert digest_of(other) != digest_of(composites)
    (other / name).unlink()
    with pytest.raises(DataError, match="is missing; write the composites again"):
        digest_of(other)


def test_an_ablation_of_an_earlier_version_is_the_same_if_later_keys_change_nothing(config: AblationConfig):
    now, earlier = config.model_dump(mode="json"), config.model_dump(mode="json")
    now["training"]["em"]["reconstruction"]["lambda_teacher"] = 0.0
    del earlier["training"]["em"]["reconstruction"]["lambda_teacher"]
    assert comparable_tree(now) == comparable_tree(earlier)
    assert comparable_tree(config.model_dump(mode="json")) != comparable_tree(earlier)
    assert comparable_tree({"training": None}) == {"training": None}


def test_what_cannot_be_used_is_refused_before_anything_starts(
    photographs: Path, composites: Path, assignments: list[str], tmp_path: Path
):
    with pytest.raises(ConfigError, match="leave them as they are"):
        build_ablation_config(photographs, composites, assignments=[*assignments, "data.planted=null"])
    bare = shutil.copytree(photographs, tmp_path / "bare")
    (bare / "landmarks.csv").unlink()
    with pytest.raises(DataError, match=r"no landmarks\.csv"):
        build_ablation_config(bare, composites, assignments=assignments)
    with pytest.raises(DataError):
        build_ablation_config(photographs, photographs, assignments=assignments)
