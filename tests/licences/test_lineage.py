"""The lineage of a model: what it says of earlier versions, and how it grows with training."""

import pytest

from focus_ray.errors import CheckpointError
from focus_ray.licences.lineage import NEW, Lineage, read_lineage


def test_an_earlier_version_recorded_nothing():
    assert read_lineage({}) == Lineage(training=("unknown",), appearance=None)
    assert read_lineage({"photo": {}}) == Lineage(training=("unknown",), appearance="unknown")


def test_it_is_read_as_it_was_written():
    lineage = Lineage(training=("synthetic", "portraits"), appearance="photographs")
    assert read_lineage({"lineage": lineage.model_dump(mode="json")}) == lineage


@pytest.mark.parametrize("entry", [None, [], {"training": "synthetic"}, {"training": ["stolen"]}, {"owner": "me"}])
def test_a_malformed_entry_is_refused(entry):
    with pytest.raises(CheckpointError, match=r"entry `lineage` is malformed .*; use another copy"):
        read_lineage({"lineage": entry})


def test_training_adds_its_pictures_once_and_drops_the_prior():
    first = NEW.train_on("synthetic")
    assert first == Lineage(training=("synthetic",))
    prior = first.model_copy(update={"appearance": "portraits"})
    assert prior.train_on("photographs") == Lineage(training=("synthetic", "photographs"))
    assert first.train_on("synthetic") == first
    assert Lineage().train_on("portraits").training == ("unknown", "portraits")
