"""The digest by which checkpoints are matched with a configuration."""

from focus_ray.storage.config_digest import config_digest

OLD = {"seed": 3, "data": {"size": 10}, "em": {"weights": {}}}


def test_a_key_that_was_added_later_changes_nothing_at_its_neutral_value():
    new = {**OLD, "data": {"size": 10, "heldout_share": 0.0, "cache_mb": 1000}}
    assert config_digest(new) == config_digest(OLD)
    assert new["data"]["cache_mb"] == 1000  # the configuration itself stays as it is
    assert config_digest({**OLD, "data": {"size": 10, "heldout_share": 0.1}}) != config_digest(OLD)


def test_every_other_key_counts_and_the_order_does_not():
    assert config_digest({**OLD, "seed": 4}) != config_digest(OLD)
    assert config_digest({**OLD, "more": None}) != config_digest(OLD)
    assert config_digest(dict(reversed(OLD.items()))) == config_digest(OLD)
    assert config_digest({"data": None}) != config_digest({})
