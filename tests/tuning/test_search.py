"""Search files: what they stand for, and what is refused before anything starts."""

from pathlib import Path

import pytest
import yaml

from focus_ray import model
from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.tracking.history import look_up
from focus_ray.tuning.alternation import PARAMETERS
from focus_ray.tuning.search import SearchConfig, deep_merge, read_search
from tests.tuning.conftest import TINY

FOLDERS = {"train": "/faces", "judge": "/others"}


def written(folder: Path, **changes) -> Path:
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


def test_the_files_that_ship_can_run(project_root: Path):
    files = sorted((project_root / "tune_configs").glob("*.yaml"))
    assert [path.stem for path in files] == ["em_schedule", "loss_weights", "portrait", "smoke", "threshold"]
    for path in files:
        search = read_search(path, (), FOLDERS if path.stem == "portrait" else None)
        default = search.parameters.default_point(search.trial_config({}, None))
        assert None not in default.values()
        assert search.trial_count >= 4
    assert read_search(files[-1]).trial_count >= 8
    assert read_search(files[1]).trial_count >= 20
    assert len(read_search(files[1]).space) == 9


def test_the_ranges_of_the_files_that_ship_hold_the_presets_own_values(project_root: Path):
    compared = 0
    for path in sorted((project_root / "tune_configs").glob("*.yaml")):
        search = read_search(path, (), FOLDERS if path.stem == "portrait" else None)
        tree = search.base_config().model_dump(mode="json")
        for name, parameter in search.space.items():
            for key in [] if name in PARAMETERS else parameter.paths(name):
                value, (low, *_, high) = look_up(tree, key), sorted(parameter.ends())
                assert low <= value <= high, f"{path.name}: {key} is {value} in the preset {search.preset}"
                compared += 1
    assert compared > 20


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"space": {"initialise.ix": {"values": [1]}}}, "initialise.ix"),
        ({"space": {"initialise.xi": {"low": -2, "high": 1}}}, "initialise.xi"),
        ({"space": {}}, "space"),
        ({"scheduler": {"kind": "hyperband"}}, "scheduler.kind"),
        ({"searcher": "bayes"}, "searcher"),
        ({"objective": "beauty"}, "no objective 'beauty'; choose from"),
        ({"preset": "emebdded"}, "no preset"),
        ({"searcher": "grid"}, "searcher grid needs `values`"),
        ({"scheduler": {"kind": "pbt"}, "searcher": "tpe"}, "searcher: random"),
        ({"resources": {"gpus": 0.25}}, "gpu_gigabytes"),
        ({"heldout": {"size": 4, "seed": 2}}, "equals heldout.seed"),
        ({"trails": 3}, "trails"),
        ({"shared": "warmup", "space": {"warmup.batch_size": {"values": [4, 8]}}}, "all trials share"),
        ({"shared": "pretrained", "space": {"initialise.xi": {"values": [0.1]}}}, "all trials share"),
        ({"set": {"batch_sise": 4}}, "batch_sise"),
        ({"shared": "warmup", "space": {"optimizers.warmup.lr": {"low": 0.1, "high": 0.2}}}, "all trials share"),
        ({"shared": "pretrained", "space": {"optimizers.init.lr": {"low": 0.1, "high": 0.2}}}, "all trials share"),
        ({"space": {"schedule.cycles": {"values": [1, 2]}}}, "alternation.period"),
        ({"space": {"seed": {"values": [1, 2]}}}, "space: seed is set by"),
        ({"space": {"faces": {"keys": ["heldout.seed"], "values": [3, 4]}}}, "space: heldout.seed is set by"),
        ({"space": {"cadence.evaluate": {"values": [3, 4]}}}, "space: cadence.evaluate is set by"),
        ({"space": {"start_from": {"values": ["/a", "/b"]}}}, "space: start_from is set by"),
        ({"space": {"model.camera.image_size": {"values": [32, 64]}}}, "different networks"),
        ({"set": TINY["set"] | {"seed": 4}}, "set: seed is set by"),
        ({"set": TINY["set"] | {"heldout": {"size": 4}}}, "set: heldout.size is set by"),
        ({"set": TINY["set"] | {"cadence": {"best": "heldout.all.vertex_mm"}}}, "set: cadence.best is set by"),
        ({"set": TINY["set"] | {"photos": "/pictures"}, "objective": "f1"}, "needs true masks"),
        ({"objective": "planted_photos"}, "is measured on photographs"),
        ({"photographs": FOLDERS, "objective": "f1"}, "needs true masks"),
        ({"photographs": {"train": "/faces"}}, "photographs.judge"),
        ({"photographs": FOLDERS, "set": TINY["set"] | {"photos": "/pictures"}}, "set: photos is set by"),
        ({"space": {"photos": {"values": ["/a", "/b"]}}}, "space: photos is set by"),
        ({"preset": "portrait", "set": {}}, "preset portrait is trained on photographs"),
        ({"resources": {"gpus": 1.5}}, "resources.gpus"),
        ({"searcher": "tpe", "space": {"initialise.xi": {"values": [0.1, 0.2]}}}, "grid or random"),
        ({"searcher": "tpe", "space": {"batch_size": {"low": 2, "high": 4, "integer": True}}}, "grid or random"),
    ],
)
def test_what_is_refused(changes, wrong: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=wrong):
        read_search(written(tmp_path, **changes))


def test_what_is_no_key_of_the_search_may_be_set(tmp_path: Path):
    read_search(written(tmp_path, set=TINY["set"] | {"heldout": {"batch_size": 2}, "cadence": {"log": 5}}))


def test_the_best_must_fit_the_whole_preset(tmp_path: Path):
    """81 divides the 324 steps of EM that trials have, and not the 1080 that `best.yaml` is laid over."""
    space = {"alternation.period": {"values": [81]}}
    with pytest.raises(ConfigError, match="81 does not divide the 1080 steps of EM"):
        read_search(written(tmp_path, set={}, steps=0.3, shared="pretrained", space=space))


def test_a_start_that_does_not_fit_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="such"):
        read_search(written(tmp_path, start=str(tmp_path / "such")))
    with pytest.raises(ConfigError, match="other networks"):
        read_search(written(tmp_path, start=str(SHIPPED_MODELS["embedded"])))


def test_assignments_are_laid_over_the_file(tmp_path: Path):
    search = read_search(written(tmp_path), ("trials=3", "scheduler.kind=asha", "scheduler.grace=0.5"))
    assert (search.trials, search.scheduler.kind, search.scheduler.grace) == (3, "asha", 0.5)
    with pytest.raises(ConfigError, match="scheduler"):
        read_search(written(tmp_path), ("scheduler=5",))
    assert deep_merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}


@pytest.mark.parametrize("assignments", [("heldout.size=50",), ("judging.heldout.size=60", "judging.heldout.seed=7")])
def test_one_key_of_a_part_leaves_its_other_keys(assignments, project_root: Path):
    before = read_search(project_root / "tune_configs" / "threshold.yaml")
    after = read_search(project_root / "tune_configs" / "threshold.yaml", assignments)
    assert (after.heldout.seed, after.judging.seeds) == (before.heldout.seed, before.judging.seeds)
    assert {after.heldout.size, after.judging.heldout.size} & {50, 60}


def test_one_key_of_a_part_in_the_file_leaves_its_other_keys(tmp_path: Path):
    search = read_search(written(tmp_path, heldout={"size": 6}, judging={"heldout": {"size": 5}}))
    assert (search.heldout.size, search.heldout.seed) == (6, 1)
    assert (search.judging.heldout.size, search.judging.heldout.seed, search.judging.seeds) == (5, 2, (1, 2, 3))


def test_a_trial_is_a_run_of_its_own(tiny: SearchConfig, tmp_path: Path):
    config = tiny.trial_config({"initialise.xi": 0.05, "em.segmentation.eta_bin": 2.0}, tmp_path)
    assert (config.initialise.xi, config.em.segmentation.eta_bin, config.start_from) == (0.05, 2.0, tmp_path)
    assert (config.heldout.seed, config.heldout.refine, config.heldout.unlabelled) == (1, False, True)
    assert config.cadence.checkpoint == config.cadence.evaluate == config.schedule.total_steps // 2
    judged = tiny.retrain_config({}, None, 7)
    assert (judged.seed, judged.heldout.seed, judged.heldout.refine) == (7, 2, True)
    assert judged.schedule == config.schedule


def test_what_is_shared_is_not_trained_again():
    for shared, left in (("nothing", 14), ("warmup", 12), ("pretrained", 8)):
        search = SearchConfig.model_validate(
            TINY | {"shared": shared, "space": {"em.segmentation.eta_bin": {"values": [1.0, 4.0]}}}
        )
        assert search.trial_config({}, None).schedule.total_steps == left
        if shared != "nothing":
            assert search.shared_config().schedule.total_steps == 14 - left


def test_shorter_trials():
    search = SearchConfig.model_validate(TINY | {"steps": 0.5})
    assert search.trial_config({}, None).schedule.total_steps == 7


def test_trials_on_photographs_train_on_one_folder_and_leave_the_figures_to_the_judging_one(tmp_path: Path):
    search = read_search(written(tmp_path), ("objective=planted_photos",), FOLDERS)
    for config in (search.trial_config({}, None), search.retrain_config({}, None, 3)):
        assert (config.photos, config.landmarks) == ("/faces", None)
        assert (config.heldout.size, config.heldout.refine, config.heldout.unlabelled) == (0, False, False)
        assert config.heldout.seed == search.base_config().heldout.seed, "the photographs are split as in the preset"


def test_a_search_from_before_there_were_photographs_is_the_same(tiny: SearchConfig):
    assert "photographs" not in tiny.model_dump(mode="json")
    assert SearchConfig.model_validate(tiny.model_dump(mode="json")) == tiny


def test_the_portrait_preset_starts_from_its_model_and_shares_its_initialisation(project_root: Path, tmp_path: Path):
    search_file = project_root / "tune_configs/portrait.yaml"
    search = read_search(search_file, (), FOLDERS)
    shared = search.shared_config()
    base = search.base_config()
    assert (shared.start_from, shared.photos) == (base.start_from, "/faces")
    assert shared.schedule.total_steps == base.schedule.init_steps > 0
    assert search.trial_config({}, tmp_path).start_from == tmp_path
    model.save(tmp_path / "other", model.load(base.start_from))
    changed = read_search(search_file, (f"set.start_from={tmp_path / 'other'}",), FOLDERS)
    assert changed.shared_config().start_from == tmp_path / "other"
    alone = search.model_copy(update={"shared": "nothing"})
    assert alone.trial_config({}, None).start_from == base.start_from is not None
