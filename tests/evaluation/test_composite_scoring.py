"""What is scored on composites is what `reconstruct` does, against the pasted pixels."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.composites.compose import write_composites
from focus_ray.data.composites.composite_config import CompositeConfig
from focus_ray.data.composites.composite_folder import CompositeFolder
from focus_ray.data.detectors.detection import Detection, bounding_box
from focus_ray.data.mask import THRESHOLD
from focus_ray.evaluation import composite_scoring
from focus_ray.evaluation.baselines.colour_histograms import ColourHistogramSegmenter
from focus_ray.evaluation.composite_scoring import CompositeScorer, PictureScores, mask_functions, score_composites
from focus_ray.evaluation.methods import all_ones_mask
from focus_ray.evaluation.skin_tone import typology_angle
from focus_ray.focus.render.renderer import Renderer
from focus_ray.inference.face_result import Face, FaceArrays
from focus_ray.inference.learn_appearance import skin_triangles
from focus_ray.inference.reconstructor import Reconstructor, face_to_theta
from focus_ray.model import Model
from tests.data.composites.photographs import write_photographs


@pytest.fixture(scope="module")
def composites(tmp_path_factory: pytest.TempPathFactory) -> CompositeFolder:
    place = tmp_path_factory.mktemp("composites")
    config = CompositeConfig(n=3, families=("polygon",), open_share=0.34)
    write_composites(write_photographs(place / "photos"), place / "out", config)
    return CompositeFolder(place / "out")


@pytest.fixture(autouse=True)
def without_skin_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitting skin colours takes longer than these tests."""
    masks = {"own": None, "all_ones": all_ones_mask, "colour_histograms": ColourHistogramSegmenter()}
    monkeypatch.setattr(composite_scoring, "mask_functions", lambda names: masks)


class Nothing:
    def detect(self, image: np.ndarray) -> list[Detection]:
        return []


class Elsewhere:
    """Finds a face in the corner of the first picture and the given face in all others."""

    def __init__(self, composites: CompositeFolder) -> None:
        self.faces = [Detection((0.0, 0.0, 20.0, 20.0))]
        for row in composites.rows[1:]:
            points = composites.landmarks(row) + 1.0
            self.faces.append(Detection(bounding_box(points), landmarks=points))

    def detect(self, image: np.ndarray) -> list[Detection]:
        return [self.faces.pop(0)]


def tone_of(model: Model, face: Face, arrays: FaceArrays) -> float:
    """Typology angle of the exported albedo where skin is rendered."""
    face_model = model.focus.face_model
    camera = model.focus.renderer.camera.model_copy(update={"image_size": len(arrays.region)})
    ids = Renderer(face_model, camera)(face_to_theta(face)).triangle_ids[0]
    shown = ids[skin_triangles(face_model)[ids.clamp_min(0)] & (ids >= 0)]
    colours = arrays.mesh.colours[face_model.faces[shown].numpy()].mean(axis=1)
    return typology_angle(np.sort(colours, axis=0)[(len(colours) - 1) // 2])  # the median as torch takes it


@pytest.mark.parametrize("steps", [0, 2])
def test_the_scores_are_those_of_reconstruct(composites: CompositeFolder, model: Model, steps: int):
    scores = score_composites(CompositeScorer(model, steps), composites)
    reconstructor = Reconstructor(model, Nothing())
    table = scores.scores["refined" if steps else "one_pass", "own"]
    for row, values in zip(composites.rows, table, strict=True):
        image, points = composites.picture(row), composites.landmarks(row)
        (result,) = reconstructor.reconstruct(image, landmarks=points, refine=steps)
        face, arrays = result
        found = PictureScores(*values)
        crop = composite_scoring.Crop(arrays.transform, len(arrays.region))
        pasted = crop.warp(composites.occluder(row, *image.shape[:2]).astype(np.uint8) * np.uint8(255)) > THRESHOLD
        assert found.occlusion == pytest.approx(face.occlusion_fraction, abs=1e-6)
        assert found.true_outlier == (arrays.region & pasted & ~arrays.mask).sum()
        assert found.missed_outlier == (arrays.region & pasted & arrays.mask).sum()
        visible = arrays.region & ~pasted
        assert found.false_outlier + found.true_face == visible.sum()
        error = np.linalg.norm(np.array(face.landmarks) - points, axis=1).mean()
        assert found.nme == pytest.approx(error / np.sqrt(np.prod(np.ptp(points, axis=0))), rel=1e-4)
        difference = arrays.target[visible].astype(float) - arrays.rendering[visible]
        assert found.rmse_255 == pytest.approx(np.sqrt(np.square(difference).mean()), abs=0.5)
        assert found.albedo_tone == pytest.approx(tone_of(model, face, arrays), abs=0.01)


def test_an_all_ones_mask_finds_no_outliers(composites: CompositeFolder, model: Model):
    table = score_composites(CompositeScorer(model, 0), composites).scores["one_pass", "all_ones"]
    scores = PictureScores(*table.T)
    assert not np.any(scores.true_outlier)
    assert not np.any(scores.false_outlier)
    assert not np.any(scores.occlusion)
    is_occluded = np.array([not row.is_open for row in composites.rows])
    assert (np.asarray(scores.missed_outlier) > 0).tolist() == is_occluded.tolist()


def test_each_mask_guides_its_own_refinement(composites: CompositeFolder, model: Model):
    scores = score_composites(CompositeScorer(model, 2), composites).scores
    nme = {variant: table[:, PictureScores._fields.index("nme")] for variant, table in scores.items()}
    assert np.array_equal(nme["one_pass", "own"], nme["one_pass", "all_ones"])
    assert not np.array_equal(nme["refined", "own"], nme["refined", "all_ones"])


def test_faces_that_are_not_detected_are_left_out(composites: CompositeFolder, model: Model):
    scores = score_composites(CompositeScorer(model, 0, Elsewhere(composites)), composites)
    assert scores.found.tolist() == [False, True, True]
    table = scores.scores["one_pass", "own"]
    assert np.isnan(table[0]).all()
    assert np.isfinite(table[1:]).all()
    nobody = score_composites(CompositeScorer(model, 0, Nothing()), composites)
    assert not nobody.found.any()
    assert np.isnan(nobody.scores["one_pass", "own"]).all()


def test_pixels_outside_the_picture_do_not_count(tmp_path: Path, composites: CompositeFolder, model: Model):
    row = composites.rows[0]
    whole = CompositeScorer(model, 0)
    ((full),) = whole.score(composites, [row])
    cut = CompositeFolder(composites.folder)
    height = int(composites.landmarks(row)[30, 1])  # the picture ends at the nose tip
    cut.picture = lambda row: composites.picture(row)[:height]
    cut.occluder = lambda row, *size: composites.occluder(row, *composites.picture(row).shape[:2])[:height]
    ((half),) = whole.score(cut, [row])
    assert full is not None
    assert half is not None
    sizes = [sum(one["one_pass", "all_ones"][:4]) for one in (full, half)]
    assert 0.2 * sizes[0] < sizes[1] < 0.8 * sizes[0]


@pytest.mark.slow
def test_the_masks_of_an_evaluation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    monkeypatch.setattr(composite_scoring, "_SKIN_PICTURES", 20)
    assert list(mask_functions()) == ["own", "all_ones", "skin_colour", "colour_histograms"]
