"""The mask figures of Tables 4 and 5."""

import numpy as np
import pytest
import torch

from focus_ray.evaluation import segmentation
from focus_ray.evaluation.segmentation import PixelCounts, binarise, count_pixels, segmentation_metrics
from focus_ray.focus import metrics


def pictures(number: int = 6, size: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = rng.random((number, size, size)).astype(np.float32)
    return mask, rng.random((number, size, size)) > 0.4, rng.random((number, size, size)) > 0.3


def test_a_hand_counted_picture():
    mask = np.array([[1.0, 1.0, 0.0, 0.0]], dtype=np.float32)
    visible = np.array([[True, False, True, False]])
    region = np.array([[True, True, True, False]])
    assert count_pixels(mask, region, visible) == PixelCounts(
        true_face=1, true_outlier=0, missed_face=1, missed_outlier=1
    )
    found = segmentation_metrics([count_pixels(mask, region, visible)])
    assert found["accuracy"].value == pytest.approx(1 / 3)
    assert found["ppv"].value == found["tpr"].value == found["f1"].value == 0.5
    assert found["outlier_iou"].value == 0.0


def test_a_perfect_mask_is_perfect():
    _, region, visible = pictures()
    found = segmentation_metrics(
        [count_pixels(v.astype(np.float32), r, v) for r, v in zip(region, visible, strict=True)]
    )
    assert all(figure.value == 1.0 for figure in found.values())
    assert found["f1"].std == 0.0


def test_soft_masks_count_by_their_values():
    mask = np.full((2, 2), 0.25, dtype=np.float32)
    visible = np.array([[True, True], [False, False]])
    assert count_pixels(mask, np.ones((2, 2), bool), visible) == PixelCounts(0.5, 1.5, 1.5, 0.5)


def test_the_same_figures_as_training_has():
    mask, region, visible = pictures()
    ours = segmentation_metrics(
        [count_pixels(binarise(m), r, v) for m, r, v in zip(mask, region, visible, strict=True)]
    )
    blank = torch.zeros(len(mask), 3, *mask.shape[1:])
    points = torch.zeros(len(mask), 68, 2)
    scores = metrics.score(
        target=blank,
        rendering=blank,
        region=torch.from_numpy(region)[:, None].float(),
        mask=torch.from_numpy(mask)[:, None],
        true_mask=torch.from_numpy(visible)[:, None].float(),
        landmarks=points,
    )
    theirs = metrics.summarise(scores)
    for name, other in {"ppv": "precision", "tpr": "recall"}.items():
        assert ours[name].value == pytest.approx(theirs[other])
    for name in ("accuracy", "f1", "outlier_precision", "outlier_recall", "outlier_iou", "balanced_accuracy"):
        assert ours[name].value == pytest.approx(theirs[name])


def test_what_says_nothing_is_left_out():
    everywhere = np.ones((2, 2), bool)
    no_face = count_pixels(np.zeros((2, 2), np.float32), everywhere, ~everywhere)
    whole = count_pixels(np.ones((2, 2), np.float32), everywhere, everywhere)
    assert segmentation_metrics([no_face, whole])["tpr"].value == 1.0  # of the one picture that has a face
    assert segmentation_metrics([])["f1"].value is None
    assert segmentation_metrics([whole])["outlier_recall"].value is None
    assert segmentation.mean_and_std(np.array([1.0, np.nan, 3.0])) == (2.0, 1.0)
