"""A folder of predictions against a NoW data set."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.dataset_writers import write_dataset
from focus_ray.data.sources import open_now
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.evaluation.now import now_scoring
from focus_ray.evaluation.now.export import select_now_landmarks, write_prediction
from focus_ray.evaluation.now.now_scoring import collect_subsets, now_rows, score_now
from focus_ray.evaluation.now.submission import Submission
from focus_ray.evaluation.vertex_error import vertex_errors
from tests.conftest import quick_runs


@pytest.fixture(scope="module")
def place(world_face, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "now"
    with quick_runs():
        write_dataset("now", folder, 16, size=32, world=world_face)
    return folder


@pytest.fixture
def predictions(place, world_face, tmp_path) -> Path:
    """The truth, each picture in a frame and at a scale of its own, and half a millimetre off."""
    import torch

    faces = NowPictures(open_now(place))
    rng = np.random.default_rng(0)
    for name in faces.names:
        true = faces.true_neutral(name)
        assert true is not None
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        vertices = 1.1 * (true + 0.5 * rng.standard_normal(true.shape)) @ turn + 7.0
        landmarks = world_face.landmarks(torch.from_numpy(vertices)[None].float())[0].double().numpy()
        write_prediction(tmp_path / "meshes", name, vertices, world_face.faces.numpy(), select_now_landmarks(landmarks))
    return tmp_path / "meshes"


def test_rows_of_all_subsets(place, predictions, tmp_path):
    data = open_now(place)
    pairs = NowPictures(data).pairs()
    assert pairs
    chosen = collect_subsets(data, pairs)
    scored = score_now(data, Submission(predictions), tmp_path, None)
    rows = now_rows("ours", "now", data, scored, chosen, metrical=False, seed=None)
    assert scored.problems == []
    assert {row.subset for row in rows} >= {"overall", "occluded", "unoccluded", "pairs_occluded", "pairs_unoccluded"}
    assert not any(row.partial for row in rows)
    means = [row.value for row in rows if row.metric == "mean"]
    assert all(0.05 < mean < 1.0 for mean in means if mean is not None)  # the noise of scan and prediction
    assert len(scored.means()) == 16
    metrical = score_now(data, Submission(predictions), tmp_path, None, metrical=True)
    assert metrical.errors.summary().mean > 2 * scored.errors.summary().mean  # a tenth too large


def test_the_truth_is_told_for_the_same_faces(place, predictions):
    faces = NowPictures(open_now(place))
    for name in faces.names[:3]:
        mesh = Submission(predictions).read(name).mesh
        true = faces.true_neutral(name)
        assert true is not None
        assert 0.3 < vertex_errors(mesh.vertices, true).mean() < 1.2


def test_a_missing_prediction_is_told_and_what_is_there_is_not_measured_again(
    place, predictions, tmp_path, monkeypatch
):
    data = open_now(place)
    name = data.pictures[0].name
    (predictions / f"{name}.npy").rename(predictions / f"{name}.hidden")
    scored = score_now(data, Submission(predictions), tmp_path, None)
    assert len(scored.problems) == 1
    assert name in scored.problems[0]
    rows = now_rows("ours", "now", data, scored, collect_subsets(data), metrical=False, seed=None)
    assert {row.partial for row in rows if row.subset == "overall"} == {True}
    measured: list[int] = []
    true_piece = now_scoring.NowScoringJob.piece

    def piece(self, number):
        measured.append(number)
        return true_piece(self, number)

    monkeypatch.setattr(now_scoring.NowScoringJob, "piece", piece)
    again = score_now(data, Submission(predictions), tmp_path, None)
    assert measured == [0]  # the one that is missing
    assert all(np.array_equal(again.errors.distances[key], one) for key, one in scored.errors.distances.items())
