"""A model that says something of every picture, and synthetic pictures for it."""

import pytest

from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.model import Model
from tests.priors.conftest import stand_in


@pytest.fixture(scope="session")
def model(small_face) -> Model:
    return stand_in(small_face)


@pytest.fixture(scope="session")
def faces(world_face) -> Batch:
    """Four pictures with their truth."""
    return SyntheticFaces(world_face, SyntheticConfig(image_size=32), "heldout").batch(range(4))
