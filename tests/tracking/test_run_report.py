"""The report page: complete, partial and empty runs, nothing fetched from anywhere, every figure where it belongs."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from focus_ray.errors import StorageError
from focus_ray.tracking import run_report
from focus_ray.tracking.contact_sheet import contact_sheet
from focus_ray.tracking.run_report import write_report

FIGURES = {name: 0.5 for name in run_report.FIGURES}
PHASES = (("warmup", 30, ("shape",)), ("init", 20, ("pixel", "lm")), ("pretrain_seg", 10, ("bce",)))
EM = (("em_seg", 5, ("nbr", "area")), ("em_face", 15, ("pixel", "lm"))) * 3


def history() -> list[dict]:
    lines = []
    for phase, count, symbols in (*PHASES, *EM):
        for _ in range(count):
            step = len(lines)
            losses = {symbol: 1.0 / (1 + step) for symbol in (*symbols, "total")}
            mask = None if phase == "warmup" else 0.8
            lines.append({"step": step, "phase": phase, "loss": losses, "mask_mean": mask, "skipped": step == 7})
            lines[-1] |= {"seconds": 0.1, "images_per_s": 320.0}
    lines[7]["loss"] = {"shape": None, "total": None}
    return lines


def metrics() -> dict:
    subsets = ("all", "unoccluded", "occluded", "occluded_seen", "occluded_unseen")
    heldout = {name: {subset: {"n": 400, **FIGURES} for subset in subsets} for name in run_report.VARIANTS}
    heldout["focus"]["occluded"] = {"n": 203, **FIGURES, "f1": 0.9123, "outlier_iou": 0.4567}
    heldout["mean_face"]["all"]["vertex_mm"] = None
    return {
        "schema": 1,
        "preset": "embedded",
        "seed": 3,
        "steps": 120,
        "model_version": "embedded-0123456789ab",
        "train_seconds": 90.0,
        "seconds": {"warmup": 30.0, "em_face": 45.0, "waiting for data": 15.0},
        "nonfinite_steps": 1,
        "guard_events": [{"step": 61, "mask_mean": 0.013, "kind": "all_outlier", "action": "recalibrate"}],
        "heldout": heldout,
        "evaluations": [{"step": step, "after": "em_face", "heldout": heldout["focus"]} for step in (60, 80, 100)],
    }


def write_run(folder: Path, *, complete: bool) -> Path:
    (folder / "sheets").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"preset": "embedded", "seed": 3, "note": "<script>x</script>"}))
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history()))
    for step in (10, 20, 30, 60, 80, 90, 100, 120):
        contact_sheet({"target": torch.rand(2, 3, 16, 16)}).save(folder / "sheets" / f"step-{step:08d}.png")
    if complete:
        (folder / "metrics.json").write_text(json.dumps(metrics()))
    return folder


def write_evaluations(run: Path, evaluations: list[dict], torn: str = "") -> None:
    """What a run leaves of its scores while it is under way."""
    lines = [json.dumps(evaluation) + "\n" for evaluation in evaluations]
    (run / "evaluations.jsonl").write_text("".join(lines) + torn)


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> Path:
    """The report of a complete run."""
    return write_report(write_run(tmp_path_factory.mktemp("runs") / "demo", complete=True))


class Page(HTMLParser):
    """Collects what a test asks about."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(" ".join(data.split()))

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_complete_run(complete):
    page = Page(complete)
    assert page.open == []
    text = " ".join(page.text)
    assert "complete, 120 steps" in text
    assert "0.912" in page.text
    assert "0.457" in page.text
    assert "all-ones mask: 0.500" in text
    assert "Occluded (n = 203)" not in text  # n is that of the last row, the same in each
    assert "all outlier" in text
    assert "1 steps without a finite loss" in text
    assert "37.5 %" not in text
    assert "50.0 %" in page.text
    assert [title for title in run_report.SUBSETS.values() if title not in text] == []


def test_the_page_needs_nothing_beside_it(complete):
    page = Page(complete)
    sources = [image["src"] for image in page.attributes("img")]
    assert len(sources) == 3 + run_report.MAX_SHEETS
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert page.attributes("link") == page.attributes("script") == page.attributes("iframe") == []
    assert not re.search(r"https?://|@import|url\(", complete.read_text())


def test_the_page_can_be_read_without_seeing_it(complete):
    page = Page(complete)
    assert page.attributes("html") == [{"lang": "en"}]
    assert all(image.get("alt") for image in page.attributes("img"))
    assert {cell.get("scope") for cell in page.attributes("th")} == {"row", "col"}
    headings = [tag for tag, _ in page.tags if tag in ("h1", "h2")]
    assert headings == ["h1", "h2", "h2", "h2", "h2", "h2", "h2"]


def test_a_run_that_was_killed(tmp_path):
    run = write_run(tmp_path / "demo", complete=False)
    with (run / "history.jsonl").open("a") as file:
        file.write('{"step": 120, "phase": "em_f')
    write_evaluations(run, metrics()["evaluations"], torn='{"step": 120, "aft')
    page = Page(write_report(run))
    text = " ".join(page.text)
    assert "not finished: 120 steps so far" in text
    assert "they are computed when the run ends" in text
    assert any("against training steps" in image["alt"] for image in page.attributes("img"))
    assert "em face" in text


def test_scores_are_those_of_evaluations_jsonl_as_far_as_it_is_whole(tmp_path):
    run = write_run(tmp_path / "run", complete=True)
    assert (
        run_report.read_run(run).evaluations == metrics()["evaluations"]
    )  # an older run has them in metrics.json only
    later = [{"step": 110, "after": "em_seg", "heldout": {}}]
    write_evaluations(run, later, torn='{"step": 120')
    assert run_report.read_run(run).evaluations == later


@pytest.mark.parametrize(
    ("told", "expected"), [({}, "the photographs trained on"), ({"heldout": True}, "photographs held out of training")]
)
def test_a_run_on_photographs(tmp_path, told, expected):
    run = write_run(tmp_path / "photos", complete=False)
    (run / "config.json").write_text(json.dumps({"preset": "adapt", "seed": 0, "photos": "pictures"}))
    photos = [
        {"step": step, "after": "em_face", "photos": {"landmark_px": 3.0, "rmse_255": 20.0} | told} for step in (0, 50)
    ]
    (run / "metrics.json").write_text(json.dumps(metrics() | {"heldout": {}, "evaluations": photos}))
    page = Page(write_report(run))
    assert f"measured on {expected}" in " ".join(" ".join(page.text).split())
    assert any("against training steps" in image["alt"] for image in page.attributes("img"))


def test_a_run_that_has_only_begun(tmp_path):
    (tmp_path / "demo").mkdir()
    text = " ".join(Page(write_report(tmp_path / "demo")).text)
    assert "No contact sheet yet." in text
    assert "No training step yet." in text


def test_what_a_config_says_cannot_become_markup(complete):
    page = Page(complete)
    assert page.attributes("script") == []
    assert "<script>x</script>" in "".join(page.text)


def test_a_refused_report_is_a_storage_error(tmp_path):
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.html" / "x").touch()
    with pytest.raises(StorageError, match=r"report\.html"):
        write_report(tmp_path)


@pytest.mark.parametrize(("n", "count"), [(0, 3), (1, 3), (3, 3), (10, 3), (7, 6)])
def test_a_spread_keeps_both_ends(n, count):
    items = list(range(n))
    chosen = run_report.pick_evenly(items, count)
    assert len(chosen) == min(n, count)
    assert chosen == sorted(set(chosen))
    if n:
        assert (chosen[0], chosen[-1]) == (0, n - 1)


def test_shares_add_up_and_fall():
    rows = run_report.time_shares({"a": 1.0, "b": 3.0, "c": 0.0})
    assert [(row["name"], row["share"]) for row in rows] == [("b", 0.75), ("a", 0.25)]


def test_a_run_that_a_guard_ended_is_not_called_complete(tmp_path):
    run = write_run(tmp_path / "run", complete=True)
    (run / "metrics.json").write_text(json.dumps(metrics() | {"model_version": None}))
    assert "ended by a guard after 120 steps" in write_report(run).read_text()
