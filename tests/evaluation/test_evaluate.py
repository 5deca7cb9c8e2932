"""Evaluations as users start them, in this process; by Ray's tasks they are seen in tests/system."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from focus_ray import cli
from focus_ray import model as models
from focus_ray.data.dataset_writers import write_dataset
from focus_ray.data.sources import open_labelled
from focus_ray.errors import ConfigError, DataError
from focus_ray.evaluation.evaluate import evaluate, predict_dataset, propose_now_pairs
from focus_ray.evaluation.evaluation_config import build_evaluation_config
from focus_ray.evaluation.rows import read_rows
from focus_ray.storage.open_store import open_store
from tests.system.servers import new_bucket, use_s3


@pytest.fixture(scope="module")
def sets(world_face, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for layout, n in (("now", 16), ("celebahq", 12)):
        write_dataset(layout, folder / layout, n, size=32, world=world_face)
    return folder


@pytest.fixture(scope="module")
def predictions(model, sets, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predictions")
    models.save(folder / "model", model)
    for layout in ("now", "celebahq"):
        done, problems = predict_dataset(str(sets / layout), folder / "model", folder / layout, None)
        assert (done, problems) == (16 if layout == "now" else 12, [])
    return folder


def test_masks_and_colours_of_several_methods(sets, predictions, tmp_path):
    for kind, metric in (("segmentation", "f1"), ("photometric", "rmse_255")):
        asked = build_evaluation_config(
            kind, str(sets / "celebahq"), [f"A={predictions / 'celebahq'}", f"B={predictions / 'celebahq'}"], {}
        )
        found = evaluate(asked, tmp_path / kind, None)
        rows = read_rows(tmp_path / kind)
        assert rows == found.rows
        values = {row.method: row.value for row in rows if (row.subset, row.metric) == ("occluded", metric)}
        assert values["A"] == values["B"] is not None
        assert (tmp_path / kind / "sheets" / "celebahq-occluded.png").is_file()
        figures = json.loads((tmp_path / kind / "metrics.json").read_text())["figures"]
        assert figures[kind]["A"]["celebahq"]["occluded"][metric] == values["A"]
        assert "celebahq" in (tmp_path / kind / "report.html").read_text()


def test_now_with_its_checks_and_curves(sets, predictions, tmp_path):
    found = evaluate(
        build_evaluation_config("now", str(sets / "now"), [f"A={predictions / 'now'}"], {}), tmp_path / "now", None
    )
    overall = {row.metric: row.value for row in found.rows if row.subset == "overall"}
    assert all(value is not None and 0 < value < 20 for value in overall.values())
    assert not any("error" in problem for problem in found.problems)
    assert (tmp_path / "now" / "sheets" / "cumulative.png").is_file()


def test_another_evaluation_is_not_mixed_in(sets, predictions, tmp_path):
    asked = build_evaluation_config("photometric", str(sets / "celebahq"), [f"A={predictions / 'celebahq'}"], {})
    before = evaluate(asked, tmp_path / "out", None)
    assert evaluate(asked, tmp_path / "out", None) == before
    with pytest.raises(ConfigError, match="another evaluation \\(kind differ"):
        evaluate(
            build_evaluation_config("segmentation", asked.data, [f"A={predictions / 'celebahq'}"], {}),
            tmp_path / "out",
            None,
        )


def test_from_a_bucket_the_same_rows(sets, predictions, tmp_path, s3_url, monkeypatch):
    use_s3(monkeypatch, s3_url)
    bucket = f"s3://{new_bucket(s3_url)}"
    for layout, kind in (("celebahq", "segmentation"), ("now", "now")):
        store = open_store(f"{bucket}/{layout}")
        for path in (sets / layout).rglob("*"):
            if path.is_file():
                store.upload(path, path.relative_to(sets / layout).as_posix())
        given = [f"A={predictions / layout}"]
        here = evaluate(build_evaluation_config(kind, str(sets / layout), given, {}), tmp_path / f"{kind}-here", None)
        there = evaluate(
            build_evaluation_config(kind, f"{bucket}/{layout}", given, {}), tmp_path / f"{kind}-there", None
        )
        assert there.rows == here.rows
    pairs = propose_now_pairs(f"{bucket}/now", predictions / "now", tmp_path / "pairs.txt")
    assert pairs == propose_now_pairs(str(sets / "now"), predictions / "now", tmp_path / "pairs-here.txt")
    assert pairs


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["now", "--data", "{sets}/now", "--predictions", "A={gone}"], "no such folder of predictions"),
        (["now", "--data", "{gone}", "--predictions", "A={gone}"], "there is no such folder"),
        (["segmentation", "--data", "{gone}", "--predictions", "A={gone}"], "there is no such folder"),
        (["segmentation", "--data", "{sets}/now", "--predictions", "A={gone}"], "NoW has no masks"),
        (["now", "--data", "{sets}/now", "--predictions", "A={gone}", "--predictions", "A={gone}"], "each name once"),
        (["now", "--data", "{sets}/now", "--predictions", "A={gone}", "--unit", "inch"], "'mm', 'cm' or 'm'"),
        (["predict", "--data", "{sets}/now", "--mask", "mine"], "choose own or all_ones"),
        (["predict", "--data", "{sets}/now", "--split", "train"], "choose validation or test"),
        (["tables", "--seeds", "one"], "not a list of integers"),
    ],
)
def test_what_cannot_be_evaluated_says_why_in_one_line(options, says, sets, tmp_path, capsys):
    places = {"sets": sets, "gone": tmp_path / "gone"}
    arguments = [option.format(**places) for option in options]
    assert cli.main(["evaluate", *arguments, "--out", str(tmp_path / "out"), "--local"]) != 0
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("error[")
    assert says in told[-1]


def test_a_set_without_pictures_for_a_method_is_told(sets, tmp_path):
    (tmp_path / "empty").mkdir()
    asked = build_evaluation_config("segmentation", str(sets / "celebahq"), [f"A={tmp_path / 'empty'}"], {})
    found = evaluate(asked, tmp_path / "out", None)
    assert len(found.problems) == 12
    assert all(row.partial and row.value is None for row in found.rows)
    with pytest.raises(DataError, match="no such folder"):
        evaluate(
            build_evaluation_config("segmentation", str(sets / "celebahq"), [str(tmp_path / "gone")], {}),
            tmp_path / "o",
            None,
        )


def test_the_command_line_says_what_is_missing_and_where_the_rows_are(sets, predictions, tmp_path):
    arguments = [
        "evaluate",
        "photometric",
        "--data",
        str(sets / "celebahq"),
        "--predictions",
        str(predictions / "celebahq"),
    ]
    result = CliRunner().invoke(cli.app, [*arguments, "--out", str(tmp_path / "out"), "--local", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout.splitlines()[-1])
    assert said == {"results": str(tmp_path / "out" / "results.json"), "rows": 3, "problems": 0}


def test_pairs_of_comparable_pose_are_proposed(sets, predictions, tmp_path, capsys):
    places = [
        "--data",
        str(sets / "now"),
        "--predictions",
        str(predictions / "now"),
        "--out",
        str(tmp_path / "pairs.txt"),
    ]
    assert cli.main(["evaluate", "pairs", *places]) == 0
    lines = (tmp_path / "pairs.txt").read_text().splitlines()
    assert f"{len(lines)} pairs" in capsys.readouterr().out
    assert lines
    for line in lines:
        occluded, unoccluded = (name.split("/") for name in line.split())
        assert occluded[:2] == [unoccluded[0], "multiview_occlusions"]
        assert unoccluded[1] != "multiview_occlusions"
    with pytest.raises(DataError, match="evaluate predict"):
        propose_now_pairs(str(sets / "now"), tmp_path, tmp_path / "none.txt")


def test_subsets_of_celebahq_are_drawn_by_seed(world_face, tmp_path, capsys):
    write_dataset("celebahq", tmp_path / "set", 12, size=32, world=world_face)
    drawn = []
    for seed in ("0", "0", "1"):
        options = ["--occluded", "2", "--unoccluded", "2", "--seed", seed]
        assert cli.main(["data", "subsets", str(tmp_path / "set"), *options]) == 0
        pictures = open_labelled(tmp_path / "set")
        drawn.append((pictures.subsets["occluded"], pictures.subsets["unoccluded"]))
    assert drawn[0] == drawn[1]
    assert [len(names) for names in drawn[0]] == [2, 2]
    assert not set(drawn[0][0]) & set(drawn[0][1])
    assert cli.main(["data", "subsets", str(tmp_path / "set"), "--occluded", "100"]) == 3
    assert "request fewer" in capsys.readouterr().err
