"""`evaluate landmarks` as users start it, in this process."""

import json
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from focus_ray import cli
from focus_ray import model as models
from focus_ray.evaluation.rows import read_rows
from tests.data.sources.test_pts_file import pts_text
from tests.evaluation.test_landmark_scoring import FACE


@pytest.fixture(scope="module")
def model_folder(untrained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("landmarks") / "model"
    models.save(folder, untrained)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The astronaut, a grey picture and a damaged one with landmarks, and a picture without any."""
    (tmp_path / "set").mkdir()
    face, points = skimage.data.astronaut()[50:200, 150:300], FACE - [150, 50]
    Image.fromarray(face).save(tmp_path / "set/astronaut.png")
    for name in ("grey.png", "other.png"):
        Image.new("RGB", (150, 150), "grey").save(tmp_path / "set" / name)
    (tmp_path / "set/damaged.png").write_text("no picture")
    for name in ("astronaut", "grey", "damaged"):
        (tmp_path / f"set/{name}.pts").write_text(pts_text(points + 1))
    return tmp_path / "set"


def run(capsys, folder: Path, *options: str) -> tuple[int, str, str]:
    code = cli.main(["evaluate", "landmarks", str(folder), "--local", *options])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_detector_and_the_fit_are_scored_and_everything_is_written(folder, model_folder, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--detector", "haar", "--model", str(model_folder), "--refine", "1", "--out", str(out), "--json")
    code, text, err = run(capsys, folder, *options)
    assert code == 0, err
    assert "missing or wrong: damaged.png" in err
    assert "grey.png: no face was detected" in err
    assert "detector: haar (opencv" in text
    assert "without true landmarks, not scored: 1 picture" in text
    answer = json.loads(text.splitlines()[-1])
    assert (answer["failures"], answer["problems"], answer["unknown"]) == (1, 1, 1)
    assert list(answer["methods"]) == ["one pass", "refined"]
    assert answer["methods"]["refined"]["not_found"] == 50
    assert 0 < answer["methods"]["refined"]["nme"] < 50
    rows = read_rows(out)
    assert all(row.partial and row.dataset == "set" for row in rows)
    assert {row.metric: row.value for row in rows if (row.method, row.subset) == ("refined", "overall")} == (
        answer["methods"]["refined"]
    )
    assert (out / "pictures.csv").read_text().count("\n") == 4
    assert all((out / name).is_file() for name in ("report.html", "metrics.json", "sheets/cumulative.png"))
    assert "damaged.png" in (out / "problems.txt").read_text()


def test_the_same_command_again_reads_finished_pieces(folder, model_folder, tmp_path, capsys, monkeypatch):
    (folder / "damaged.png").unlink()
    options = ("--detector", "haar", "--model", str(model_folder), "--refine", "0", "--out", str(tmp_path / "out"))
    first = run(capsys, folder, *options)
    monkeypatch.setattr("focus_ray.evaluation.landmark_scoring.read_image", None)
    again = run(capsys, folder, *options)
    assert (first[0], first[1]) == (again[0], again[1])
    assert first[0] == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--detector", "nose"], "there is no detector 'nose'"),
        (["--detector", "haar", "--no-fit"], "the detector haar gives no landmarks"),
        (["--normalise", "eyes"], "'box' or 'interocular'"),
        (["--least-overlap", "0"], "least_overlap"),
        (["--landmarks", "{folder}/none.csv"], "there is no such landmark file"),
        (["--model", "{folder}"], "no manifest.json"),
    ],
)
def test_wrong_options_are_errors_before_anything_is_written(options, says, folder, tmp_path, capsys):
    given = [option.format(folder=folder) for option in options]
    code, _, err = run(capsys, folder, "--out", str(tmp_path / "out"), *given)
    assert code in (2, 3, 4)
    assert says in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_no_picture_that_can_be_scored_is_an_error(folder, model_folder, tmp_path, capsys):
    for name in ("astronaut", "grey"):
        (folder / f"{name}.pts").unlink()
    code, _, err = run(
        capsys, folder, "--detector", "haar", "--model", str(model_folder), "--out", str(tmp_path / "out")
    )
    assert code == 3
    assert "no picture can be scored; first reason: damaged.png" in err.splitlines()[-1]
