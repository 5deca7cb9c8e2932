"""The page of a sweep: everything that was found stands in it."""

from pathlib import Path

from focus_ray.runtime.job_folder import acquire_run_dir
from focus_ray.tuning.results import RetrainedRun, SweepResults
from focus_ray.tuning.search import SearchConfig
from focus_ray.tuning.sweep_report import describe_comparison, judged_table, write_sweep_report


def test_the_page(tiny: SearchConfig, results: SweepResults, tmp_path: Path):
    with acquire_run_dir(tmp_path / "sweep", tiny, "focus", label="sweep") as folder:
        write_sweep_report(folder, tiny, results)
    html = (tmp_path / "sweep" / "report.html").read_text()
    for one in results.trials:
        assert one.id in html
    for said in ("em.segmentation.eta_bin", "no finite loss", "pruned", "90 %", "Influence of the hyper-parameters"):
        assert said in html
    assert html.count("data:image/png") == 5
    assert 'src="http' not in html


def test_judged_runs_without_figures_are_named(tiny: SearchConfig, results: SweepResults, tmp_path: Path):
    stopped = RetrainedRun(which="best", seed=3, figures={}, cause="the masks collapsed")
    results = results.model_copy(update={"judged": (*results.judged, stopped)})
    with acquire_run_dir(tmp_path / "sweep", tiny, "focus", label="sweep") as folder:
        write_sweep_report(folder, tiny, results)
    assert "No figures of best, seed 3: the masks collapsed" in (tmp_path / "sweep" / "report.html").read_text()


def test_the_page_of_a_sweep_on_photographs(tiny: SearchConfig, results: SweepResults, tmp_path: Path):
    folders = {"train": "/faces", "judge": "/others"}
    tree = tiny.model_dump(mode="json") | {"objective": "planted_photos"}
    search = SearchConfig.model_validate(tree | {"photographs": folders})
    with acquire_run_dir(tmp_path / "sweep", search, "focus", label="sweep") as folder:
        write_sweep_report(folder, search, results)
    html = (tmp_path / "sweep" / "report.html").read_text()
    assert "judging photographs that the search did not use" in html
    assert "false_alarms" in html
    assert "that need labels" not in html, "photographs have none"
    all_used = SearchConfig.model_validate(tree | {"photographs": folders | {"comparison_share": 0}})
    assert "favours the best" in describe_comparison(all_used)
    assert "faces that the search did not use" in describe_comparison(tiny)


def test_mean_and_spread_of_what_was_judged(results: SweepResults):
    assert judged_table(results) == [
        {"figure": "f1", "default": "0.8150 ± 0.0071", "best": "0.8150 ± 0.0071"},
        {"figure": "refined f1", "default": "–", "best": "–"},
    ]
    assert judged_table(results.model_copy(update={"judged": ()})) == []
