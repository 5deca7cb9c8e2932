"""The commands from photographs to tables of composites, also by group and with open faces."""

import json
from pathlib import Path

import pytest

from focus_ray import cli
from focus_ray.data.synthetic_folder import write_folder
from focus_ray.errors import DataError
from focus_ray.evaluation import composite_scoring
from focus_ray.evaluation.composites import evaluate_composites
from tests.data.composites.photographs import write_photographs


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_from_photographs_to_tables_by_the_commands(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(composite_scoring, "_SKIN_PICTURES", 20)
    photos, out = write_photographs(tmp_path / "photos"), tmp_path / "out"
    options = ("--n", 4, "--seed", 1, "--families", "cup,polygon", "--persons", "pictures", "--out", out)
    code, printed, _ = run(capsys, "data", "occlude", photos, *options, "--json")
    assert code == 0
    assert json.loads(printed.splitlines()[-1]) == {"out": str(out), "n": 4, "open": 1, "persons": 4, "seed": 1}
    (tmp_path / "attributes.csv").write_text(
        "name,glasses,open\nanna_1.png,no,yes\nanna_2.png,yes,no\nanna_3.png,no,no\nbert.png,no,yes\n"
    )
    groups = ("--attributes", tmp_path / "attributes.csv", "--open-faces", photos)
    code, printed, error = run(capsys, "evaluate", "folder", out, "--json", "--out", tmp_path / "figures.json", *groups)
    assert (code, "error" in error) == (0, False)
    figures = json.loads(printed.splitlines()[-1])
    assert figures == json.loads((tmp_path / "figures.json").read_text())
    assert figures["persons"] == 4
    own, nothing = (figures["figures"]["one_pass"][mask] for mask in ("own", "all_ones"))
    assert own["occluded"]["outlier_iou"]["value"] > 0.15
    assert nothing["occluded"]["outlier_iou"]["value"] == 0
    assert own["all"]["nme"]["value"] < 12
    assert figures["detection"] is None
    assert list(figures["groups"]) == ["skin tone", "glasses"]
    assert {name: one["persons"] for name, one in figures["groups"]["glasses"].items()} == {"yes": 1, "no": 3}
    assert sum(one["persons"] for one in figures["groups"]["skin tone"].values()) == 4
    assert [figures["open_faces"][name] for name in ("pictures", "found", "marked", "left_out")] == [2, 2, 2, 2]
    assert figures["open_faces"]["figures"]["one_pass"]["all_ones"]["occlusion_auc"]["value"] == 0.5
    assert "glasses: yes" in printed
    assert "Open faces: 2 of 2" in printed
    assert "2 are marked as open, 2 left out" in printed
    assert "skin colour" in printed
    assert "surgical mask" not in printed
    assert "Detected faces" not in printed
    code, printed, _ = run(capsys, "evaluate", "folder", out, "--own-mask", "--json")
    alone = json.loads(printed.splitlines()[-1])["figures"]["one_pass"]
    assert (code, alone) == (0, {"own": figures["figures"]["one_pass"]["own"]})


def test_options_that_do_not_fit_the_folder_are_errors(tmp_path: Path, capsys, ellipsoid_face):
    write_folder(tmp_path / "synthetic", n=1, size=32, world=ellipsoid_face)
    code, _, error = run(capsys, "evaluate", "folder", tmp_path / "synthetic", "--detector", "haar")
    assert (code, "--detector is for composites" in error) == (2, True)
    code, _, error = run(capsys, "evaluate", "folder", tmp_path / "synthetic", "--by-group")
    assert (code, "are for composites" in error) == (2, True)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "composites.json").write_text("{}")
    code, _, error = run(capsys, "evaluate", "folder", tmp_path / "unfinished", "--prior", tmp_path)
    assert (code, "leave it out" in error) == (2, True)
    code, _, error = run(capsys, "evaluate", "folder", tmp_path / "unfinished")
    assert (code, "unfinished" in error) == (3, True)


def test_photographs_without_attributes_are_an_error_before_anything_is_scored(tmp_path: Path, capsys):
    photos, out = write_photographs(tmp_path / "photos"), tmp_path / "out"
    assert run(capsys, "data", "occlude", photos, "--n", 2, "--families", "bar", "--out", out)[0] == 0
    (tmp_path / "attributes.csv").write_text("name,glasses\nnobody.png,no\n")
    with pytest.raises(DataError, match="2 of 2 photographs have no line"):
        evaluate_composites(out, tmp_path / "no model", attributes=tmp_path / "attributes.csv", by_group=True)


def test_open_faces_without_attributes_are_an_error_before_anything_is_scored(tmp_path: Path, capsys):
    photos, out = write_photographs(tmp_path / "photos"), tmp_path / "out"
    others = write_photographs(tmp_path / "others")
    (others / "landmarks.csv").write_text((others / "landmarks.csv").read_text().replace("bert", "cleo"))
    assert run(capsys, "data", "occlude", photos, "--n", 2, "--families", "bar", "--out", out)[0] == 0
    lines = [f"{name}.png,yes" for name in ("anna_1", "anna_2", "anna_3", "bert")]
    (tmp_path / "attributes.csv").write_text("\n".join(["name,open", *lines]))
    with pytest.raises(DataError, match=r"1 of 4 photographs have no line \(first: cleo.png\)"):
        evaluate_composites(out, tmp_path / "no model", attributes=tmp_path / "attributes.csv", open_faces=others)
