"""The weighted sums L_S and L_R and their defaults."""

import pytest
import torch
from pydantic import ValidationError

from focus_ray.focus.losses import (
    ReconstructionWeights,
    SegmentationWeights,
    reconstruction_total,
    segmentation_total,
)


def terms(*symbols: str) -> dict[str, torch.Tensor]:
    return {symbol: torch.tensor(10.0**i) for i, symbol in enumerate(symbols)}


def test_the_defaults_are_the_papers_weights():
    total = segmentation_total(terms("nbr", "dist", "area", "presv", "bin"), SegmentationWeights())
    assert total.item() == pytest.approx(15 + 30 + 50 + 2500 + 100000)
    total = reconstruction_total(terms("pixel", "per", "lm", "reg", "area"), ReconstructionWeights())
    assert total.item() == pytest.approx(0.5 + 2.5 + 0.05 + 100)


def test_missing_terms_are_left_out_and_unknown_ones_refused():
    assert segmentation_total({"bin": torch.tensor(2.0)}, SegmentationWeights(eta_bin=1)).item() == 2
    with pytest.raises(ValueError, match="photo"):
        reconstruction_total(terms("photo"), ReconstructionWeights())
    with pytest.raises(ValueError, match="none"):
        segmentation_total({}, SegmentationWeights())


def test_a_negative_weight_is_refused():
    with pytest.raises(ValidationError, match="eta_area"):
        SegmentationWeights(eta_area=-1)
