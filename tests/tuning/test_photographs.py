"""Photographs of a sweep: their parts, and that none is used for both, or exchanged later."""

import os
from pathlib import Path

import pytest

from focus_ray.data.photos import PhotoFolder
from focus_ray.errors import ConfigError, DataError
from focus_ray.runtime.run_folder import RunFolder
from focus_ray.tuning.photographs import (
    DIGESTS,
    PhotographDigests,
    PhotographSettings,
    compute_digests,
    record_digests,
    select_part,
)
from tests.data.composites.photographs import write_photographs
from tests.tuning.portrait_search import darken, write_folders

DIGEST = PhotographDigests(train="a", judge="b")


def test_local_folders_become_absolute_and_stores_stay():
    settings = PhotographSettings(train="faces", judge="s3://bucket/faces", judge_landmarks="points.csv")
    assert settings.train == f"{os.getcwd()}/faces"
    assert (settings.judge, settings.train_landmarks) == ("s3://bucket/faces", None)
    assert settings.judge_landmarks == f"{os.getcwd()}/points.csv"


def test_search_and_comparison_share_no_photograph_unless_asked_to(tmp_path: Path):
    photos = PhotoFolder(write_photographs(tmp_path / "set"), image_size=32)
    search, comparison = (select_part(photos, 0.5, part).numbers for part in ("search", "comparison"))
    assert sorted([*search, *comparison]) == [0, 1, 2, 3]
    assert comparison == [3], "bert is a person of his own; the three photographs of anna do not fit into a half"
    assert select_part(photos, 0.0, "search").numbers == select_part(photos, 0.0, "comparison").numbers == [0, 1, 2, 3]


def test_a_judging_photograph_is_not_trained_on(tmp_path: Path):
    folders = write_folders(tmp_path)
    found = compute_digests(PhotographSettings(**folders), 32)
    assert found.train != found.judge
    write_photographs(tmp_path / "same")
    with pytest.raises(DataError, match=r"4 of 4 judging photographs are also trained on \(anna_1.png"):
        compute_digests(PhotographSettings(train=folders["train"], judge=str(tmp_path / "same")), 32)
    darken(Path(folders["judge"]) / "bert.png")
    changed = compute_digests(PhotographSettings(**folders), 32)
    assert (changed.train == found.train, changed.judge == found.judge) == (True, False)


def test_other_photographs_than_before_are_refused(tmp_path: Path):
    folder = RunFolder(tmp_path)
    record_digests(folder, DIGEST)
    record_digests(folder, DIGEST)
    with pytest.raises(ConfigError, match=r"other photographs or landmarks \(judge\)"):
        record_digests(folder, PhotographDigests(train="a", judge="c"))
    for content in ("{", '{"train": "a"}'):
        (tmp_path / DIGESTS).write_text(content)
        with pytest.raises(ConfigError, match="damaged"):
            record_digests(folder, DIGEST)
