"""Folders of composites: the layout, the truth of the masks, resumption, and what is refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from focus_ray.data.composites import compose
from focus_ray.data.composites.compose import write_composites
from focus_ray.data.composites.composite_config import CompositeConfig
from focus_ray.data.composites.composite_folder import CompositeFolder, is_composite_folder
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks, write_landmarks
from focus_ray.errors import ConfigError, DataError, ImageError, LandmarkError
from tests.data.composites.photographs import write_photographs

CONFIG = CompositeConfig(n=4, seed=1, families=("cup", "polygon"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs") / "photos")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Stopped(Exception):
    """Ends a call in the middle."""


def stop_at(number: int):
    def progress(done: int, total: int) -> None:
        if done == number:
            raise Stopped

    return progress


def test_the_folder_has_the_layout_and_exact_masks(tmp_path: Path, photos: Path):
    rows = write_composites(photos, tmp_path / "out", CONFIG)
    folder = CompositeFolder(tmp_path / "out")
    assert folder.rows == rows
    assert [row.family for row in rows].count("none") == 1
    assert {row.training for row in rows} == {"seen", "unseen", "none"}
    assert {row.source for row in rows} == {"anna_1.png", "anna_2.png", "anna_3.png", "bert.png"}
    assert {row.person for row in rows} == {"anna_1.png", "bert.png"}
    given = read_landmarks(photos / "landmarks.csv")
    for row in rows:
        picture, photo = folder.picture(row), read_image(photos / row.source)
        occluder = folder.occluder(row, *picture.shape[:2])
        mask = read_image(tmp_path / "out" / "masks" / Path(row.picture).name)[..., 0] > 0
        changed = (picture != photo).any(axis=2)
        assert folder.landmarks(row) == pytest.approx(given[row.source], abs=0.011)
        assert not (mask & occluder).any()
        if row.is_open:
            assert not changed.any()
            assert not occluder.any()
        else:
            assert changed[occluder].mean() > 0.9
            hidden = occluder.sum() / (occluder.sum() + mask.sum())
            assert row.covered >= 0.1
            assert hidden > row.covered * 0.9
    settings = json.loads((tmp_path / "out" / "composites.json").read_text())
    assert settings["unseen_families"] == ["cup"]


def test_an_interrupted_call_is_continued_with_the_same_bits(tmp_path: Path, photos: Path):
    write_composites(photos, tmp_path / "straight", CONFIG)
    with pytest.raises(Stopped):
        write_composites(photos, tmp_path / "resumed", CONFIG, progress=stop_at(2))
    assert is_composite_folder(tmp_path / "resumed")
    with pytest.raises(DataError, match="unfinished"):
        CompositeFolder(tmp_path / "resumed")
    progress = []
    write_composites(photos, tmp_path / "resumed", CONFIG, progress=lambda done, total: progress.append(done))
    assert progress == [2, 3, 4]
    assert contents(tmp_path / "resumed") == contents(tmp_path / "straight")
    again = []
    rows = write_composites(photos, tmp_path / "resumed", CONFIG, progress=lambda *numbers: again.append(numbers))
    assert (len(rows), again) == (4, [])


def test_a_composite_does_not_depend_on_how_many_there_are(tmp_path: Path, photos: Path):
    write_composites(photos, tmp_path / "few", CONFIG.model_copy(update={"n": 2}))
    write_composites(photos, tmp_path / "more", CONFIG.model_copy(update={"n": 3}))
    few, more = contents(tmp_path / "few"), contents(tmp_path / "more")
    pictures = [name for name in few if name.endswith(".png")]
    assert len(pictures) == 6
    assert [few[name] for name in pictures] == [more[name] for name in pictures]


def test_large_photographs_and_their_landmarks_are_scaled_down(tmp_path: Path, photos: Path):
    write_composites(photos, tmp_path / "out", CONFIG.model_copy(update={"n": 1, "open_share": 1.0, "max_side": 130}))
    folder = CompositeFolder(tmp_path / "out")
    picture = folder.picture(folder.rows[0])
    original = read_image(photos / folder.rows[0].source)
    assert picture.shape[0] == 130
    expected = cv2.resize(original, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.array_equal(picture, expected)
    given = read_landmarks(photos / "landmarks.csv")[folder.rows[0].source]
    assert folder.landmarks(folder.rows[0]) == pytest.approx((given + 0.5) / 2 - 0.5, abs=0.3)


def test_cutouts_are_one_more_family(tmp_path: Path, photos: Path):
    (tmp_path / "cutouts").mkdir()
    cv2.imwrite(str(tmp_path / "cutouts" / "red.png"), np.tile(np.uint8([0, 0, 255, 255]), (50, 60, 1)))
    config = CompositeConfig(n=2, seed=0, families=("cutout",), open_share=0)
    rows = write_composites(photos, tmp_path / "out", config, cutouts=tmp_path / "cutouts")
    assert {(row.family, row.training) for row in rows} == {("cutout", "unseen")}
    folder = CompositeFolder(tmp_path / "out")
    picture = folder.picture(rows[0])
    seen = picture[folder.occluder(rows[0], *picture.shape[:2])].mean(axis=0)
    assert seen[0] > 3 * seen[1]
    cv2.imwrite(str(tmp_path / "cutouts" / "red.png"), np.tile(np.uint8([0, 0, 250, 255]), (50, 60, 1)))
    with pytest.raises(ConfigError, match=r"other composites \(cutouts differ\)"):
        write_composites(photos, tmp_path / "out", config, cutouts=tmp_path / "cutouts")


def test_other_arguments_are_refused_in_a_folder_that_is_in_use(tmp_path: Path, photos: Path):
    with pytest.raises(Stopped):
        write_composites(photos, tmp_path / "out", CONFIG, progress=stop_at(1))
    before = contents(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"holds other composites \(n, seed differ\)"):
        write_composites(photos, tmp_path / "out", CONFIG.model_copy(update={"n": 5, "seed": 2}))
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / "composites.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        write_composites(photos, tmp_path / "out", CONFIG)


def test_a_folder_with_other_files_is_refused(tmp_path: Path, photos: Path):
    with pytest.raises(DataError, match="not empty and holds no composites"):
        write_composites(photos, photos, CONFIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not empty and holds no composites"):
        write_composites(photos, tmp_path / "file", CONFIG)


def test_missing_inputs_are_errors_before_anything_is_written(tmp_path: Path, photos: Path):
    out, empty = tmp_path / "out", tmp_path / "empty"
    with pytest.raises(DataError, match="no such folder of photographs"):
        write_composites(tmp_path / "gone", out, CONFIG)
    empty.mkdir()
    with pytest.raises(LandmarkError, match="no such landmark file"):
        write_composites(empty, out, CONFIG)
    with pytest.raises(ImageError, match="no such file"):
        write_composites(empty, out, CONFIG, landmarks=photos / "landmarks.csv")
    points = read_landmarks(photos / "landmarks.csv")
    write_landmarks(tmp_path / "mirrored.csv", {name: one * [-1, 1] + [230, 0] for name, one in points.items()})
    with pytest.raises(LandmarkError, match=r"png: .* mirrored face"):
        write_composites(photos, out, CONFIG, landmarks=tmp_path / "mirrored.csv")
    assert not out.exists()


@pytest.mark.parametrize("families", [(), ("cup", "elephant"), ("cutout",)])
def test_unknown_families_are_errors(tmp_path: Path, photos: Path, families: tuple[str, ...]):
    with pytest.raises(ConfigError, match="families are empty or unknown"):
        write_composites(photos, tmp_path / "out", CONFIG.model_copy(update={"families": families}))


def test_a_share_that_no_drawing_covers_is_an_error(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compose, "_ATTEMPTS", 4)
    config = CompositeConfig(n=1, families=("microphone",), open_share=0, min_covered=0.55)
    with pytest.raises(DataError, match="none of 4 drawings of microphone covers 55% to 60%"):
        write_composites(photos, tmp_path / "out", config)
