"""The parts of a run; those of R_syn: the embedded pipeline on renders of its own face, without a mask."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from focus_ray import model as models
from focus_ray import presets
from focus_ray.data.composites.planted import PlantedConfig
from focus_ray.data.dataset_writers import write_dataset
from focus_ray.errors import ConfigError
from focus_ray.focus.replica_group import ReplicaGroup
from focus_ray.focus.schedule import Phase
from focus_ray.licences.lineage import Lineage
from focus_ray.model_location import SHIPPED_MODELS
from focus_ray.preparation.prepare_set import PrepareSettings, prepare_set
from focus_ray.training import assemble, in_process
from focus_ray.training.missing_landmarks import lacks_landmarks
from tests.ellipsoid_face import ellipsoid_face

TINY = [
    "model.camera.image_size=32",
    "batch_size=4",
    "warmup.batch_size=4",
    "schedule={warmup_steps: 2, init_steps: 3, pretrain_seg_steps: 0, cycles: 0, seg_steps: 0, face_steps: 0}",
    "data.size=8",
    "heldout={size: 6, batch_size: 6, refine: false}",
]


def test_it_has_the_budget_of_r():
    r, r_syn = presets.embedded(), presets.misfit()
    schedule, other = r_syn.schedule, r.schedule
    assert schedule.warmup_steps == other.warmup_steps
    assert schedule.init_steps == other.init_steps + other.cycles * other.face_steps
    assert schedule.total_steps == schedule.warmup_steps + schedule.init_steps
    assert r_syn.model == r.model
    assert r_syn.initialise == r.initialise.model_copy(update={"mask": "none"})


@pytest.mark.parametrize("kept", ["../../start/model", "/old/s/start/model"])
def test_a_model_inside_a_folder_that_was_moved_is_found(kept, tmp_path):
    run, model = tmp_path / "t" / "trials" / "one", tmp_path / "t" / "start" / "model"
    shutil.copytree(SHIPPED_MODELS["embedded"], model)
    assert assemble.resolve_start_model(Path(kept), run) == model  # also before the run has a folder
    config = presets.load("adapt", assignments=[f"start_from={model}"]).model_copy(update={"start_from": Path(kept)})
    face = assemble.fitted_face(config, run)
    assert models.weights_digest(assemble.build_focus(config, face, run)) == models.weights_digest(
        models.load(SHIPPED_MODELS["embedded"]).focus
    )


def test_a_model_outside_is_taken_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a/demo/model", "b/demo/model"):
        (tmp_path / folder).mkdir(parents=True)
    assert (
        assemble.resolve_start_model(tmp_path / "a" / "demo" / "model", tmp_path / "b" / "run")
        == tmp_path / "a/demo/model"
    )
    assert assemble.resolve_start_model(Path("a/demo/model"), tmp_path / "b" / "run") == Path("a/demo/model")
    (tmp_path / "b" / "run" / "a" / "demo" / "model").mkdir(parents=True)
    assert assemble.resolve_start_model(Path("a/demo/model"), tmp_path / "b" / "run") == Path("a/demo/model")
    assert assemble.resolve_start_model(Path("/nowhere/model"), tmp_path / "b" / "run") == Path("/nowhere/model")


def test_it_learns_renders_of_the_fitted_face():
    config = presets.load("misfit", assignments=TINY)
    batch = assemble.training_data(config).batch_of(0)
    assert batch.theta is not None
    fitted = assemble.fitted_face(config)
    assert fitted.n_identity == 80
    assert batch.families == ["none"] * 4


def test_it_trains_without_a_mask_and_leaves_a_model(tmp_path):
    metrics = in_process.train(presets.load("misfit", assignments=TINY), tmp_path / "run")
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    learned = [line for line in history if line["phase"] == Phase.INIT]
    assert [line["mask_mean"] for line in learned] == [1.0] * 3  # the whole region
    assert metrics["heldout"]["focus"]["all"]["vertex_mm"] > 0
    assert metrics["heldout"]["focus"]["occluded"]["vertex_mm"] is None
    made = models.load(tmp_path / "run" / "model")
    assert made.version.startswith("misfit-")
    assert made.lineage == Lineage(training=("rendered",))


def test_the_lineage_begins_with_that_of_the_start_model():
    config = presets.load("adapt", assignments=["start_from=" + str(SHIPPED_MODELS["embedded"])])
    data = assemble.TrainingData(lambda step: None, None, frozenset())
    assert models.load(SHIPPED_MODELS["embedded"]).lineage == Lineage(training=("synthetic",), appearance="portraits")
    assert assemble.training_lineage(config, data) == Lineage(training=("synthetic",))


def test_the_lineage_names_the_synthetic_faces_among_planted_pictures():
    config = presets.load("embedded")
    data = assemble.TrainingData(lambda step: None, None, frozenset())
    for share, kinds in ((0.2, ("synthetic", "rendered")), (0.0, ("rendered",))):
        planted = config.data.model_copy(update={"source": "rendered", "planted": PlantedConfig(synthetic_share=share)})
        made = assemble.training_lineage(config.model_copy(update={"data": planted, "start_from": None}), data)
        assert made.training == kinds


@pytest.mark.shared
def test_the_lineage_tells_public_domain_portraits_from_other_photographs(shared_data):
    config = presets.load("embedded")
    portraits = assemble.photo_data(config, shared_data / "portraits", shared_data / "portraits" / "landmarks.csv")
    assert assemble.training_lineage(config, portraits).training == ("portraits",)
    photos = assemble.photo_data(config, shared_data / "photos", shared_data / "photos" / "landmarks68.csv")
    assert assemble.training_lineage(config, photos).training == ("photographs",)


def test_families_that_are_left_out_are_left_out_of_the_synthetic_faces_too(config):
    changed = assemble.without_families(config, ("glasses", "skin_piece"))
    unseen = config.data.synthetic.occlusion.unseen
    assert changed.data.synthetic.occlusion.unseen == tuple(sorted({*unseen, "glasses"}))
    assert "glasses" not in changed.data.synthetic.seen_families


def test_batches_of_a_prepared_store_do_not_depend_on_the_number_of_workers(tmp_path):
    write_dataset("celebahq", tmp_path / "set", 10, seed=1, size=48, world=ellipsoid_face(90, 64, 80))
    prepare_set("celebahq", str(tmp_path / "set"), str(tmp_path / "store"), PrepareSettings(size=32, per_shard=2))
    config = presets.load("adapt", assignments=TINY[:2]).with_photos(str(tmp_path / "store"), None)
    assert not lacks_landmarks(config)
    whole = assemble.photo_data(config, config.photos, None)
    halves = [assemble.photo_data(config, config.photos, None, ReplicaGroup(rank, 2)) for rank in range(2)]
    for step in range(6):
        alone, parts = whole.batch_of(step), [half.batch_of(step) for half in halves]
        assert torch.equal(alone.images, torch.cat([part.images for part in parts]))
        assert torch.equal(alone.landmarks, torch.cat([part.landmarks for part in parts]))
        assert alone.names == [name for part in parts for name in part.names]
    assert len(whole.photos.heldout) == 2
    assert whole.digest == halves[1].digest
    assert assemble.training_lineage(config, whole).training[-1] == "photographs"
    with pytest.raises(ConfigError, match="has its own landmarks"):
        assemble.photo_data(config, config.photos, "landmarks.csv")
