"""The NoW layout as it is written, and read by the reader of the challenge."""

import numpy as np
import torch
import trimesh

from focus_ray.data.dataset_writers.now_writer import KINDS, file_name, format_picked_points
from focus_ray.data.dataset_writers.picture_kinds import faces_by_kind
from focus_ray.data.dataset_writers.scan_simulation import NOISE_MM
from focus_ray.data.picked_points import read_picked_points
from focus_ray.data.sources.now import CHALLENGES, NOW_LANDMARK_INDICES, NowDataset
from focus_ray.data.sources.now_pictures import NowPictures
from tests.data.dataset_writers.sets import SEED, SIZE, N, world


def truth_of(now):
    with np.load(now / "truth.npz", allow_pickle=False) as truth:
        return dict(truth)


def test_the_reader_finds_everything(now):
    dataset = NowDataset(now)
    assert dataset.missing == []
    assert [one.name for one in dataset.pictures] == [file_name(index)[:-4] for index in range(N["now"])]
    assert dataset.subjects == ["subject_000", "subject_001"]
    assert {one.challenge for one in dataset.pictures} == set(CHALLENGES)
    assert dataset.measurable == dataset.pictures


def test_scans_lie_on_the_true_neutral_face_in_a_frame_of_their_own(now):
    dataset, truth, model = NowDataset(now), truth_of(now), world()
    for row, subject in enumerate(truth["subjects"]):
        scanned, true = dataset.scan(str(subject)), truth["neutral"][row].astype(np.float64)
        turn, shift = truth["scan_rotation"][row], truth["scan_translation"][row]
        home = (scanned.vertices[::50] - shift) @ turn
        mesh = trimesh.Trimesh(true, truth["faces"], process=False)
        assert trimesh.proximity.closest_point_naive(mesh, home)[1].max() < 5 * NOISE_MM
        points = model.landmarks(torch.from_numpy(true).float()[None])[0, list(NOW_LANDMARK_INDICES)].numpy()
        np.testing.assert_allclose((scanned.landmarks - shift) @ turn, points, atol=1e-3)
        assert np.abs(scanned.vertices - home.mean(0)).max() > 50, "the frame is not the model's"


def test_the_truth_is_that_of_the_pictures(now):
    truth, faces = truth_of(now), faces_by_kind(KINDS, world(), SEED, SIZE)
    assert truth["names"].tolist() == [file_name(index)[:-4] for index in range(N["now"])]
    assert truth["subject"].tolist() == [0] * 8 + [1] * 4
    for index in range(N["now"]):
        made = faces[index % 8].batch([index])
        assert np.array_equal(truth["theta"][index], made.theta[0])
        assert np.array_equal(truth["vertices"][index], made.vertices[0])
        assert np.array_equal(truth["neutral"][truth["subject"][index]], faces[index % 8].neutral_vertices([index])[0])
        assert [truth["families"][index]] == made.families
    occlusions = [KINDS[index % 8].name == "multiview_occlusions" for index in range(N["now"])]
    assert truth["occluded"].tolist() == occlusions
    neutral = [index for index in range(N["now"]) if KINDS[index % 8].name == "multiview_neutral"]
    for index in neutral:
        assert np.array_equal(truth["vertices"][index], truth["neutral"][truth["subject"][index]])


def test_pairs_are_an_occluded_and_an_unoccluded_picture_of_a_person(now):
    pairs = NowPictures(NowDataset(now)).pairs()
    names = {one.name: one for one in NowDataset(now).pictures}
    assert pairs
    for occluded, unoccluded in pairs:
        assert names[occluded].subject == names[unoccluded].subject
        assert names[occluded].challenge == "multiview_occlusions" != names[unoccluded].challenge


def test_the_first_point_stands_where_the_public_evaluation_looks(tmp_path):
    points = np.arange(21.0).reshape(7, 3) / 7
    (tmp_path / "a.pp").write_text(format_picked_points(points, 'a "b".obj'))
    lines = (tmp_path / "a.pp").read_text().splitlines()
    assert [line.lstrip().startswith("<point ") for line in lines] == [8 <= place < 15 for place in range(len(lines))]
    np.testing.assert_allclose(read_picked_points(tmp_path / "a.pp"), points, atol=1e-4)
