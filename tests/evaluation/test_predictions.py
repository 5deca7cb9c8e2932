"""Predictions as files: ours, and what others may hand in."""

import cv2
import numpy as np
import pytest

from focus_ray.errors import ConfigError, DataError, ImageError
from focus_ray.evaluation.predictions import MethodOutput, PredictionFolder

SIZE = (6, 8)


@pytest.fixture
def answer() -> MethodOutput:
    rng = np.random.default_rng(0)
    return MethodOutput(
        mask=rng.integers(0, 256, SIZE, dtype=np.uint8),
        rendering=rng.integers(0, 256, (*SIZE, 4), dtype=np.uint8),
        face={"rotation": [0.1, 0.2, 0.3], "translation": [0.0, 1.0, 2.0], "occlusion_fraction": 0.25},
        vertices=np.zeros((4, 3)),
        landmarks=np.zeros((7, 3)),
    )


def test_an_answer_is_read_as_it_was_written(tmp_path, answer):
    predictions = PredictionFolder(tmp_path)
    assert not predictions.is_complete("someone/neutral/IMG_1")
    predictions.write("someone/neutral/IMG_1", answer)
    assert predictions.is_complete("someone/neutral/IMG_1")
    assert np.array_equal(predictions.mask("someone/neutral/IMG_1", SIZE), answer.mask / np.float32(255))
    colours, region = predictions.rendering("someone/neutral/IMG_1", SIZE)
    assert np.array_equal(colours, answer.rendering[..., :3])
    assert np.array_equal(region, answer.rendering[..., 3] > 127)
    assert predictions.face("someone/neutral/IMG_1") == answer.face


def test_others_may_give_regions_instead_of_alpha(tmp_path, answer):
    predictions = PredictionFolder(tmp_path)
    predictions.write("a", answer)
    cv2.imwrite(str(tmp_path / "renderings" / "a.png"), answer.rendering[..., 2::-1])
    with pytest.raises(ImageError, match="no alpha channel"):
        predictions.region("a", SIZE)
    (tmp_path / "regions").mkdir()
    cv2.imwrite(str(tmp_path / "regions" / "a.png"), np.full(SIZE, 255, np.uint8))
    assert predictions.region("a", SIZE).all()
    colours, region = predictions.rendering("a", SIZE)
    assert region.all()
    assert np.array_equal(colours, answer.rendering[..., :3])


def test_what_cannot_be_scored_says_why(tmp_path, answer):
    predictions = PredictionFolder(tmp_path)
    predictions.write("a", answer)
    with pytest.raises(ImageError, match="8 x 6 px, the picture 9 x 6"):
        predictions.mask("a", (6, 9))
    with pytest.raises(ImageError, match="no such file"):
        predictions.mask("b", SIZE)
    (tmp_path / "masks" / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match="not a picture in an accepted format"):
        predictions.mask("a", SIZE)
    (tmp_path / "faces" / "a.json").write_text("[]")
    with pytest.raises(DataError, match="predict again"):
        predictions.face("a")


@pytest.mark.parametrize("kind", ["masks", "regions", "renderings"])
def test_masks_of_0_and_1_are_refused_and_all_0_is_not(tmp_path, answer, kind):
    predictions = PredictionFolder(tmp_path)
    predictions.write("a", answer)
    ones = (np.arange(48).reshape(SIZE) % 2).astype(np.uint8)
    read = predictions.mask if kind == "masks" else predictions.region
    for mask in (ones, np.zeros(SIZE, np.uint8)):
        content = np.dstack([answer.rendering[..., :3], mask]) if kind == "renderings" else mask
        predictions.path("a", kind).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(predictions.path("a", kind)), content)
        if mask.any():
            with pytest.raises(ImageError, match="holds 0 and 1 only; write 0 and 255"):
                read("a", SIZE)
        else:
            assert not read("a", SIZE).any()


def test_two_methods_do_not_share_a_folder(tmp_path):
    predictions = PredictionFolder(tmp_path)
    predictions.record_method({"method": "FOCUS", "digests": ["1"]})
    predictions.record_method({"method": "FOCUS", "digests": ["1"]})
    with pytest.raises(ConfigError, match="another method"):
        predictions.record_method({"method": "FOCUS", "digests": ["2"]})
    (tmp_path / "method.json").write_text("{")
    with pytest.raises(ConfigError, match="another method"):
        predictions.record_method({"method": "FOCUS", "digests": ["1"]})
