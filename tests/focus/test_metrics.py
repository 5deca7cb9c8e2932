"""Known values of the figures, and that scores merge."""

import math

import pytest
import torch

from focus_ray.focus.metrics import ImageScores, score, similarity_align, summarise


def masks(*rows: str) -> torch.Tensor:
    """One image a row, one pixel a character: 1 = face."""
    return torch.tensor([[float(c) for c in row] for row in rows])[:, None, None, :]


def scores_of(mask: torch.Tensor, truth: torch.Tensor, region: torch.Tensor | None = None) -> ImageScores:
    count, _, height, width = mask.shape
    return score(
        target=torch.zeros(count, 3, height, width),
        rendering=torch.zeros(count, 3, height, width),
        region=torch.ones_like(mask) if region is None else region,
        mask=mask,
        true_mask=truth,
        landmarks=torch.zeros(count, 68, 2),
    )


def test_a_perfect_mask_scores_one():
    figures = summarise(scores_of(masks("1100", "1000"), masks("1100", "1000")))
    names = ("f1", "accuracy", "precision", "recall", "outlier_precision", "outlier_recall", "outlier_iou")
    assert [figures[name] for name in (*names, "balanced_accuracy")] == [1.0] * 8


def test_face_figures_are_means_over_images_and_outlier_figures_pool_pixels():
    # image 1: tp 1, missed outlier 1, lost 0, outlier 2; image 2: tp 2, lost 1, outlier 1
    figures = summarise(scores_of(masks("1100", "1100"), masks("1000", "1110")))
    assert figures["precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert figures["recall"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert figures["outlier_precision"] == pytest.approx(3 / 4)
    assert figures["outlier_recall"] == pytest.approx(3 / 4)
    assert figures["outlier_iou"] == pytest.approx(3 / 5)
    assert figures["mask_coverage"] == pytest.approx(1 / 2)


def test_only_the_rendered_region_counts():
    figures = summarise(scores_of(masks("1111"), masks("1100"), region=masks("1100")))
    assert figures["f1"] == 1.0
    assert figures["outlier_recall"] is None  # there is no outlier inside


def test_an_empty_region_says_nothing_rather_than_zero():
    figures = summarise(scores_of(masks("00", "11"), masks("00", "11"), region=masks("00", "11")))
    assert figures["f1"] == 1.0
    assert figures["n"] == 2


def test_unknown_truth_is_none():
    figures = summarise(scores_of(masks("1"), masks("1")))
    assert figures["landmark_px"] is None
    assert figures["vertex_mm"] is None


def test_landmarks_are_scaled_to_224_and_colours_to_255():
    size = 56
    figures = summarise(
        score(
            target=torch.zeros(1, 3, size, size),
            rendering=torch.full((1, 3, size, size), 0.1),
            region=torch.ones(1, 1, size, size),
            mask=torch.ones(1, 1, size, size),
            true_mask=torch.ones(1, 1, size, size),
            landmarks=torch.zeros(1, 68, 2),
            true_landmarks=torch.tensor([3.0, 4.0]).expand(1, 68, 2),
        )
    )
    assert figures["landmark_px"] == pytest.approx(20.0)
    assert figures["rmse_255"] == pytest.approx(25.5)


def test_merged_scores_are_the_scores_of_the_whole():
    mask, truth = (torch.rand(6, 1, 4, 4) > 0.4).float(), (torch.rand(6, 1, 4, 4) > 0.4).float()
    whole = summarise(scores_of(mask, truth))
    parts = ImageScores.merge([scores_of(mask[:2], truth[:2]), scores_of(mask[2:], truth[2:])])
    assert summarise(parts) == pytest.approx(whole, nan_ok=True)


def test_similarity_alignment_undoes_a_similarity_and_nothing_else():
    points = torch.randn(2, 50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    angle = 0.7
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]], dtype=torch.float64
    )
    moved = 1.3 * points @ turn.T + torch.tensor([5.0, -2.0, 7.0], dtype=torch.float64)
    assert torch.allclose(similarity_align(moved, points), points, atol=1e-10)
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert (similarity_align(mirrored, points) - points).norm(dim=-1).mean() > 0.3
