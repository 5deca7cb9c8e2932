"""The paper's tables, with ours below."""

import pytest

from focus_ray.evaluation import published, tables
from focus_ray.evaluation.rows import ResultRow

NOTE = "Ours: synthetic."


def row(method: str, value: float, **other) -> ResultRow:
    about = {"table": "photometric", "dataset": "celebahq", "subset": "occluded", "metric": "rmse_255", "std": 0.5}
    return ResultRow(method=method, value=value, **(about | other))


def lines(rows: list[ResultRow], name: str = "table-1") -> dict[tuple[str, str], tuple[str, ...]]:
    (found,) = [one for one in tables.build_tables(rows, NOTE) if one.name == name]
    return {(line.method, line.source): line.cells for line in found.lines}


def test_the_printed_figures_stand_above_ours():
    found = lines([row("FOCUS", 9.0, seed=0), row("FOCUS", 10.0, seed=1), row("FOCUS, refined", 5.0, seed=0)])
    assert found["FOCUS", "paper"] == ("8.38 ± 0.42", "8.71 ± 0.48", "8.55 ± 0.48", "8.93 ± 0.35")
    assert found["FOCUS", "ours, one pass, 2 seeds"] == ("–", "9.50 ± 0.50", "–", "–")
    assert found["FOCUS", "ours, refined"] == ("–", "5.00 ± 0.50", "–", "–")
    assert ("MoFA", "paper") in found
    assert not any(method == "MoFA" and source != "paper" for method, source in found)


def test_a_method_of_somebody_else_has_a_line_too():
    assert lines([row("Mine", 3.0)])["Mine", "ours, one pass"][1] == "3.00 ± 0.50"


def test_partial_figures_are_marked():
    (first, *_) = tables.build_tables([row("FOCUS", 9.0, partial=True)], NOTE)
    assert "9.00 ± 0.50*" in first.to_markdown()
    assert "partial" in first.caption


def test_text_has_aligned_columns():
    lines = (tables.TableRow("a", "", ("1.00", "–")), tables.TableRow("longer", "x", ("10.00", "2")))
    text = tables.Table("name", "Caption.", ("mean", "rate %"), lines).to_text()
    assert text.splitlines() == [
        "Caption.",
        "            mean  rate %",
        "a           1.00       –",
        "longer  x  10.00       2",
    ]


def test_every_caption_says_what_ours_were_measured_on():
    assert len(tables.build_tables([], NOTE)) == 5
    assert all(NOTE in one.caption and published.SOURCE in one.caption for one in tables.build_tables([], NOTE))


def test_markdown_and_latex_have_as_many_cells_as_columns():
    for one in tables.build_tables([row("FOCUS", 9.0)], NOTE):
        rows = [line for line in one.to_markdown().splitlines() if line.startswith("|")]
        assert {line.count("|") for line in rows} == {len(one.columns) + 3}
        body = one.to_latex().split(r"\toprule")[1].split(r"\bottomrule")[0]
        assert {line.count("&") for line in body.splitlines() if line.endswith(r"\\")} == {len(one.columns) + 1}
        assert r"\pm" in one.to_latex() or "±" not in one.to_markdown()


def test_the_published_figures_fill_their_columns():
    for spec in tables.TABLE_SPECS:
        assert {len(cells) for cells in spec.published.values()} == {len(spec.columns)}


def test_a_spread_between_seeds_needs_two():
    assert tables.aggregate_seeds([row("FOCUS", 9.0)])[1] == (9.0, None)
    assert tables.aggregate_seeds([row("FOCUS", 9.0), row("FOCUS", 11.0)])[1] == (10.0, pytest.approx(2**0.5))


def exact(subset: str, value: float, seed: int) -> ResultRow:
    return row("FOCUS", value, table="exact", dataset="now", subset=subset, metric="vertex_mm", seed=seed)


def test_the_gap_is_what_occlusions_cost():
    rows = [
        exact("occluded", 3.0, 0),
        exact("unoccluded", 2.5, 0),
        exact("occluded", 3.5, 1),
        exact("unoccluded", 2.6, 1),
    ]
    found = tables.occlusion_gap_rows([*rows, exact("occluded", 9.0, 2)])
    assert [(one.subset, one.seed, pytest.approx(one.value)) for one in found] == [("gap", 0, 0.5), ("gap", 1, 0.9)]
    (line,) = tables.seed_table([*rows, *found], NOTE).lines
    assert line.source == "ours, one pass, 2 seeds"
    assert line.cells == ("–", "–", "–", "2.550 ± 0.071", "3.250 ± 0.354", "0.700 ± 0.283")
