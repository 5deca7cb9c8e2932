"""What the installation has, the shipped model among it."""

from focus_ray import doctor, model


def test_the_shipped_model_is_verified():
    assert doctor.examine()["model"] == {"verified": True, "version": model.load().version}


def test_a_damaged_shipped_model_is_a_finding_and_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "SHIPPED", tmp_path)
    finding = doctor.examine()["model"]
    assert finding["verified"] is False
    assert "has no manifest.json" in finding["error"]
