"""A run on photographs, scored on others: at its checkpoints and at its end, once."""

from pathlib import Path

import pytest
import torch

from focus_ray.errors import DataError
from focus_ray.training import in_process
from focus_ray.tuning.photographs import PhotographDigests, PhotographSettings, compute_digests
from focus_ray.tuning.run_scorer import (
    PLANTED,
    REFINED,
    SCORES,
    JudgingPictures,
    RunScorer,
    copy_scores,
    read_scores,
)
from focus_ray.tuning.search import SearchConfig
from tests.tuning.portrait_search import POINT, tiny_portrait_search, write_folders


@pytest.fixture(scope="module")
def search(tmp_path_factory, project_root: Path, untrained) -> SearchConfig:
    folder = tmp_path_factory.mktemp("portrait")
    tree = tiny_portrait_search(project_root, folder, untrained)
    return SearchConfig.model_validate(tree | {"photographs": write_folders(folder)})


def settings_of(search: SearchConfig) -> PhotographSettings:
    assert search.photographs is not None
    return search.photographs


@pytest.fixture(scope="module")
def digests(search: SearchConfig) -> PhotographDigests:
    return compute_digests(settings_of(search), 32)


@pytest.fixture(scope="module")
def pictures(search: SearchConfig, digests: PhotographDigests) -> JudgingPictures:
    return JudgingPictures(settings_of(search), digests, "search", 32, count=3, seed=1)


@pytest.fixture(scope="module")
def run(search: SearchConfig, tmp_path_factory) -> Path:
    assert search.start is not None
    folder = tmp_path_factory.mktemp("runs") / "run"
    in_process.train(search.trial_config(POINT, Path(search.start)), folder)
    return folder


def test_a_checkpoint_gets_the_figures_of_its_model_and_leaves_the_random_numbers(run, pictures):
    before = torch.get_rng_state()
    checkpoint = RunScorer(run, pictures).score_checkpoint(6)
    assert torch.equal(torch.get_rng_state(), before)
    (run / SCORES).unlink()
    finished = RunScorer(run, pictures).score_model(6)
    assert finished == checkpoint
    assert finished["step"] == 6
    assert set(finished[PLANTED]) == {"score", "outlier_iou", "false_alarms", "landmark_px"}
    assert finished["unlabelled"]["planted"] is not None
    assert REFINED not in finished


def test_a_model_is_scored_once_and_again_for_refined_fits(run, pictures, monkeypatch: pytest.MonkeyPatch):
    first = RunScorer(run, pictures).score_model(6)
    monkeypatch.setattr(JudgingPictures, "score", lambda *_, refine: {PLANTED: {}, REFINED: {"score": float(refine)}})
    assert RunScorer(run, pictures).score_model(6) == first
    refined = RunScorer(run, pictures, refine=True).score_model(6)
    assert refined == {"step": 6, PLANTED: {}, REFINED: {"score": 1.0}}
    assert read_scores(run) == {6: refined}
    (run / SCORES).unlink()


def test_a_run_or_judge_with_other_photographs_is_refused(run, search, digests, pictures, monkeypatch):
    other = digests.model_copy(update={"judge": "other"})
    with pytest.raises(DataError, match="other photographs than when the sweep began"):
        JudgingPictures(settings_of(search), other, "search", 32, count=3, seed=1)
    monkeypatch.setattr(pictures, "digests", digests.model_copy(update={"train": "other"}))
    with pytest.raises(DataError, match="other photographs or landmarks than when the sweep began"):
        RunScorer(run, pictures).score_checkpoint(6)


def test_scores_of_another_run_are_copied_up_to_a_step(tmp_path: Path):
    for name, steps in (("donor", (2, 4, 6)), ("taker", (2, 3))):
        (tmp_path / name).mkdir()
        lines = (f'{{"step": {step}, "of": "{name}"}}\n' for step in steps)
        (tmp_path / name / SCORES).write_text("".join(lines))
    copy_scores(tmp_path / "donor", tmp_path / "taker", 4)
    assert read_scores(tmp_path / "taker") == {step: {"step": step, "of": "donor"} for step in (2, 4)}
    assert read_scores(tmp_path / "nobody") == {}
