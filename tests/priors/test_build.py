"""A whole build in this process: planted errors are found, what is finished is not computed again."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from focus_ray import prior as priors
from focus_ray.data.rendered import RenderedConfig, RenderedFaces
from focus_ray.errors import ConfigError, Interrupted
from focus_ray.focus.misfit import READINGS
from focus_ray.focus.networks.encoder import SmallEncoder
from focus_ray.model import Model
from focus_ray.priors import build as building
from focus_ray.priors.build import PriorBuilder, compute_prior
from focus_ray.priors.prior_config import PriorConfig, build_prior_config
from focus_ray.storage.object_store import LocalStore
from tests.conftest import quick_runs
from tests.priors.conftest import stand_in


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Many whole builds are made here."""
    with quick_runs():
        yield


class Informed(SmallEncoder):
    """An encoder that is told the truth, and says it with a constant error."""

    wrong_by: torch.Tensor
    truths: list[torch.Tensor]
    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.truths[-1] + self.wrong_by


@pytest.fixture
def informed(r_syn: Model, monkeypatch: pytest.MonkeyPatch) -> Model:
    """R_syn's encoder is off by two sigmas in the first identity mode."""
    truths: list[torch.Tensor] = []
    honest = RenderedFaces.batch

    def told(self, indices):
        batch = honest(self, indices)
        truths.append(batch.theta)
        return batch

    monkeypatch.setattr(RenderedFaces, "batch", told)
    wrong = torch.zeros(257)
    wrong[0] = 2.0
    model = copy.deepcopy(r_syn)
    encoder: Any = model.focus.encoder
    encoder.__class__, encoder.wrong_by, encoder.truths = Informed, wrong, truths
    return model


def run(config: PriorConfig, model: Model, out: Path) -> priors.Prior:
    """The reduction and its judgement, without folders and reports."""
    build = PriorBuilder(config, model, LocalStore(out), None, lambda: False, lambda *_: None)
    return build.build()[0]


def test_a_planted_error_is_found_and_taken_out(config, informed, tmp_path):
    prior = run(config, informed, tmp_path)
    planted = 2 * informed.focus.face_model.shape_basis[0]
    for reading in ("posed", "neutral"):
        torch.testing.assert_close(prior.errors[reading], planted, rtol=0, atol=1e-4)
        figures = prior.info.figures[reading]
        assert figures.rms_before_mm > 0.5
        assert figures.rms_after_mm < 1e-4
        assert figures.improved_share == 1
        assert figures.distance_after_mm < 1e-3 < figures.distance_before_mm
    assert prior.info.n == 90
    assert prior.info.heldout_n == 40
    assert informed.focus.encoder.calls == 7  # 5 shards make it, 2 judge it; each is one batch


def test_finished_shards_are_not_computed_again(config, informed, tmp_path):
    first = run(config, informed, tmp_path)
    again = run(config, informed, tmp_path)
    assert (first.info.shards_computed, first.info.shards_kept) == (7, 0)
    assert (again.info.shards_computed, again.info.shards_kept) == (0, 7)
    assert torch.equal(first.error, again.error)
    more = run(config.model_copy(update={"n": 120}), informed, tmp_path)  # the first 80 are there
    assert (more.info.shards_computed, more.info.shards_kept) == (4, 4)  # another prior is judged anew


def test_the_shard_size_does_not_matter(config, r_syn, tmp_path):
    sizes = [
        run(config.model_copy(update={"shard_size": size, "n": 100}), r_syn, tmp_path / str(size)) for size in (25, 50)
    ]
    for reading in READINGS:
        torch.testing.assert_close(sizes[0].errors[reading], sizes[1].errors[reading], rtol=0, atol=1e-5)


def test_it_stops_when_the_mean_is_known_well_enough(config, informed, tmp_path):
    enough = config.model_copy(update={"n": 2000, "shard_size": 10, "target_mm": 1e-3})
    prior = run(enough, informed, tmp_path)
    assert prior.info.n == 80  # a branch of eight shards: the error is constant
    assert prior.info.stopped_early


def test_a_build_leaves_its_folder_and_goes_on_there(config, r_syn_folder, tmp_path):
    out = tmp_path / "prior"
    said: list[tuple[str, int, int]] = []
    info = compute_prior(config, out, None, progress=lambda *told: said.append(told))
    assert {path.name for path in out.iterdir()} >= {
        "config.json",
        "run.json",
        "metrics.json",
        "report.html",
        "misfit.glb",
        "prior",
        "sheets",
        "shards",
    }
    assert {path.name for path in (out / "sheets").iterdir()} == {f"misfit-{reading}.png" for reading in READINGS}
    loaded = priors.load(out / "prior")
    assert loaded.info == info
    written = json.loads((out / "prior" / "prior.json").read_text())
    assert {"n", "face_model_digest", "pipeline", "rms_before_mm", "rms_after_mm", "improved_share"} <= set(written)
    assert ("faces", 90, 90) in said
    assert compute_prior(config, out, None).shards_computed == 0
    with pytest.raises(ConfigError, match="holds another prior \\(seed differ"):
        compute_prior(config.model_copy(update={"seed": 1}), out, None)
    with pytest.raises(ConfigError, match="keeps its results in its own folder"):
        compute_prior(config, out, None, storage=str(tmp_path / "elsewhere"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not empty and holds no prior"):
        compute_prior(config, tmp_path / "other", None)


def test_an_interrupted_build_keeps_what_it_has(config, tmp_path, monkeypatch):
    asked = iter([False, False, True])
    monkeypatch.setattr(building, "graceful_shutdown", lambda: _Answers(asked))
    with pytest.raises(Interrupted, match="run the same command to resume"):
        compute_prior(config, tmp_path / "prior", None)
    monkeypatch.undo()
    info = compute_prior(config, tmp_path / "prior", None)
    assert (info.shards_computed, info.shards_kept) == (5, 2)


class _Answers:
    def __init__(self, answers):
        self.answers = answers

    def __enter__(self):
        return lambda: next(self.answers)

    def __exit__(self, *_: object) -> None:
        pass


def test_the_storage_holds_shards_and_prior(config, tmp_path):
    compute_prior(config, tmp_path / "run", None, storage=str(tmp_path / "store"))
    assert (tmp_path / "store" / "run" / "shards").is_dir()
    assert not (tmp_path / "run" / "shards").exists()
    assert priors.load(tmp_path / "run" / "prior").info.n == 90


def test_a_model_of_another_pipeline_or_face_is_refused(config, r_syn, tmp_path):
    from focus_ray import model as models

    wider = r_syn.settings.encoder.model_copy(update={"width": 8})
    other = models.Model(r_syn.focus, r_syn.settings.model_copy(update={"encoder": wider}), r_syn.refine, "other")
    with pytest.raises(ConfigError, match="another pipeline"):
        building.check_same_pipeline(r_syn, other, 0)


def test_a_face_model_without_a_world_is_refused_before_anything_is_measured(config, ellipsoid_face, tmp_path):
    from focus_ray import model as models

    folder = tmp_path / "model"
    models.save(folder, stand_in(ellipsoid_face))
    gated = config.model_copy(update={"model": str(folder), "applied_to": str(folder)})
    with pytest.raises(ConfigError, match="there is no synthetic world for face model"):
        compute_prior(gated, tmp_path / "prior", None)
    assert not (tmp_path / "prior").exists()


def test_refined_faces_can_be_measured(config, r_syn, tmp_path):
    refined = run(config.model_copy(update={"n": 20, "heldout": 20, "refine_steps": 2}), r_syn, tmp_path / "refined")
    plain = run(config.model_copy(update={"n": 20, "heldout": 20}), r_syn, tmp_path / "plain")
    assert refined.info.pipeline.refine_steps == 2
    assert not torch.equal(refined.error, plain.error)


def test_the_configuration_takes_files_and_assignments(tmp_path, r_syn_folder):
    laws = tmp_path / "laws.yaml"
    laws.write_text("data: {rendered: {laws: {yaw: 0.5}}}\nn: 1000\n")
    given = {"model": str(r_syn_folder), "n": 2000, "seed": None}
    config = build_prior_config(laws, ["data.rendered.noise=0.1"], given)
    assert config.data.rendered == RenderedConfig(laws=RenderedConfig().laws.model_copy(update={"yaw": 0.5}), noise=0.1)
    assert (config.n, config.seed) == (2000, 0)
    with pytest.raises(ConfigError, match=r"there is no key 'data\.rendered\.laws\.jaw'"):
        build_prior_config(None, ["data.rendered.laws.jaw=1"], given)
    with pytest.raises(ConfigError, match="multiple of 50"):
        build_prior_config(None, [], given | {"shard_size": 60})
